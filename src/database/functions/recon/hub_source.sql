-- The source of a row of the hub: a movement of the run's own partners, or with others. See recon.has_rgs.
create or replace function recon.hub_source(p_is_own boolean) returns smallint
language sql immutable parallel safe as $$
  select (case when p_is_own then 4 else 16 end)::smallint
$$;
