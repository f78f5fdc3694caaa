-- ISO 8601 in UTC, to the millisecond.
create or replace function recon.instant_text(p_at timestamp with time zone) returns text
language sql stable parallel safe as $$
  select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;
