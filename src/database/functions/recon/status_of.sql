-- The status in `attrs` of a staged row. See recon.pack_attributes.
create or replace function recon.status_of(p_attributes bigint) returns text
language sql immutable parallel safe as $$
  select case p_attributes & 3 when 0 then 'unknown' when 1 then 'pending' when 2 then 'settled' else 'refused' end
$$;
