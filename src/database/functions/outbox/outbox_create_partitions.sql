create or replace function outbox_create_partitions(p_weeks_ahead integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_week timestamp; v_name text; v_made integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('outbox_create_partitions'));
  for n in 0 .. p_weeks_ahead loop
    v_week := date_trunc('week', now() at time zone 'UTC') + n * interval '1 week';
    v_name := 'outbox_message_' || to_char(v_week, 'YYYYMMDD');
    if to_regclass(v_name) is null then
      execute format('create table %I partition of outbox_message for values from (%L) to (%L)', v_name,
        uuid_v7_floor(v_week at time zone 'UTC'), uuid_v7_floor((v_week + interval '1 week') at time zone 'UTC'));
      v_made := v_made + 1;
    end if;
    v_name := 'outbox_attempt_' || to_char(v_week, 'YYYYMMDD');
    if to_regclass(v_name) is null then
      execute format('create table %I partition of outbox_attempt for values from (%L) to (%L)', v_name,
        v_week at time zone 'UTC', (v_week + interval '1 week') at time zone 'UTC');
      v_made := v_made + 1;
    end if;
  end loop;
  return v_made;
end $function$;
