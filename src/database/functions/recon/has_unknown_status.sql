-- From `flags` of a staged row: its status word is not a declared one. See recon.pack_flags.
create or replace function recon.has_unknown_status(p_flags smallint) returns boolean
language sql immutable parallel safe as $$
  select p_flags & 1 <> 0
$$;
