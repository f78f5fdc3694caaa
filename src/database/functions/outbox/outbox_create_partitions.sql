-- Makes the weekly partitions from this week up to p_weeks_ahead, and returns how many it made. Runs as the owner of
-- the tables, since the hub's own role may make none; it can do nothing but make the weeks that come.
create or replace function outbox_create_partitions(p_weeks_ahead integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
 SET TimeZone TO 'UTC'
 SET DateStyle TO 'ISO, MDY'
AS $function$
declare
  v_week timestamp; v_name text; v_made integer := 0;
begin
  if p_weeks_ahead is null or p_weeks_ahead not between 0 and 53 then
    raise exception 'weeks are made up to 53 ahead, not %', p_weeks_ahead using errcode = 'invalid_parameter_value';
  end if;
  perform pg_advisory_xact_lock(hashtext('outbox_create_partitions'));
  for n in 0 .. p_weeks_ahead loop
    v_week := date_trunc('week', now() at time zone 'UTC') + n * interval '1 week';
    v_name := 'outbox_message_' || to_char(v_week, 'YYYYMMDD');
    if to_regclass('public.' || v_name) is null then
      execute format('create table public.%I partition of public.outbox_message for values from (%L) to (%L)', v_name,
        public.uuid_v7_floor(v_week at time zone 'UTC'),
        public.uuid_v7_floor((v_week + interval '1 week') at time zone 'UTC'));
      v_made := v_made + 1;
    end if;
    v_name := 'outbox_attempt_' || to_char(v_week, 'YYYYMMDD');
    if to_regclass('public.' || v_name) is null then
      execute format('create table public.%I partition of public.outbox_attempt for values from (%L) to (%L)', v_name,
        v_week at time zone 'UTC', (v_week + interval '1 week') at time zone 'UTC');
      v_made := v_made + 1;
    end if;
  end loop;
  return v_made;
end $function$;
revoke all on function outbox_create_partitions(integer) from public;
