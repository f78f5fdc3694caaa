-- A movement of the hub with other partners than the run's. See recon.has_rgs.
create or replace function recon.is_foreign(p_source smallint) returns boolean
language sql immutable parallel safe as $$
  select p_source = 16
$$;
