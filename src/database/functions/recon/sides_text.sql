-- What each side says, for people; a side that says nothing is left out.
create or replace function recon.sides_text(p_rgs text, p_operator text, p_hub text) returns text
language sql immutable parallel safe as $$
  select concat_ws(', ', 'RGS ' || p_rgs, 'operator ' || p_operator, 'hub ' || p_hub)
$$;
