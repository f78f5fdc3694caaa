-- Whether the hub is among sources, with movements of the run's own partners. See recon.has_rgs.
create or replace function recon.has_hub(p_sources smallint) returns boolean
language sql immutable parallel safe as $$
  select p_sources & 4 <> 0
$$;
