-- Whether the status in `attrs` of a staged row is refused. See recon.pack_attributes.
create or replace function recon.is_refused(p_attributes bigint) returns boolean
language sql immutable parallel safe as $$
  select p_attributes & 3 = 3
$$;
