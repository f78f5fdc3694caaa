-- Whether the operator is among sources. See recon.has_rgs.
create or replace function recon.has_operator(p_sources smallint) returns boolean
language sql immutable parallel safe as $$
  select p_sources & 2 <> 0
$$;
