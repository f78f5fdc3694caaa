-- `flags` of a staged row of the hub: what is odd about it; 0 for a row without any of it. See FLAG in
-- src/reconciliation/run/codes.ts.
create or replace function recon.pack_flags(p_unknown_status boolean, p_odd_currency boolean, p_looked_up boolean)
returns smallint language sql immutable parallel safe as $$
  select (case when p_unknown_status then 1 else 0 end + case when p_odd_currency then 4 else 0 end
    + case when p_looked_up then 8 else 0 end)::smallint
$$;
