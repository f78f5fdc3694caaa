-- Which sides, as recon.item and recon.matched_0 keep it. See recon.has_rgs.
create or replace function recon.sides(p_rgs boolean, p_operator boolean, p_hub boolean) returns smallint
language sql immutable parallel safe as $$
  select (case when p_rgs then 1 else 0 end + case when p_operator then 2 else 0 end
    + case when p_hub then 4 else 0 end)::smallint
$$;
