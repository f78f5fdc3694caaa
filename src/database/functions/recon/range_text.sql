-- One value where the sides agree, else both with a slash between them.
create or replace function recon.range_text(p_lowest text, p_highest text) returns text
language sql immutable parallel safe as $$
  select case when p_lowest = p_highest then p_lowest else concat_ws('/', nullif(p_lowest, ''), p_highest) end
$$;
