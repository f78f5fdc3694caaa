-- From `flags` of a staged row: its direction word is not a known one. See recon.pack_flags.
create or replace function recon.has_unknown_direction(p_flags smallint) returns boolean
language sql immutable parallel safe as $$
  select p_flags & 2 <> 0
$$;
