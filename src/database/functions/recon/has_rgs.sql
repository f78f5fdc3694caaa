-- Whether the RGS is among sources. `src` of a staged row is one source; the bits of several, as in
-- recon.item.presence, say which sides list a key. The codes of reconciliation's tables are known to the functions of
-- this folder and to src/reconciliation/run/codes.ts. These are plain SQL and immutable: the planner puts the
-- expression in the place of the call, so a name costs nothing.
create or replace function recon.has_rgs(p_sources smallint) returns boolean
language sql immutable parallel safe as $$
  select p_sources & 1 <> 0
$$;
