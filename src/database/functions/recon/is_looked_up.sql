-- From `flags` of a staged row: a row of the hub from outside the window, fetched since a list names it. See
-- recon.pack_flags.
create or replace function recon.is_looked_up(p_flags smallint) returns boolean
language sql immutable parallel safe as $$
  select p_flags & 8 <> 0
$$;
