-- The direction in `attrs` of a staged row. See recon.pack_attributes.
create or replace function recon.direction_of(p_attributes bigint) returns text
language sql immutable parallel safe as $$
  select case p_attributes >> 2 & 3 when 1 then 'debit' when 2 then 'credit' else 'unknown' end
$$;
