-- An RGS was notified of ROLLED_BACK under the name of the debit: it knows of the debit, and lists no row of it. See
-- recon.has_rgs.
create or replace function recon.is_implied(p_source smallint) returns boolean
language sql immutable parallel safe as $$
  select p_source = 8
$$;
