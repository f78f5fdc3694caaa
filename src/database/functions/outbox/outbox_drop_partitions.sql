-- Drops at most one week per call, so that its locks are short; answers its name. Runs as the owner of the tables,
-- since the hub's own role may drop none; so it is here that a week which is not yet two weeks old stays, whatever the
-- caller asks for.
create or replace function outbox_drop_partitions(p_message_days integer, p_attempt_days integer)
 RETURNS text[]
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
 SET TimeZone TO 'UTC'
AS $function$
declare
  v_part record; v_week timestamptz; v_needed boolean;
begin
  if least(p_message_days, p_attempt_days) < 14 or p_message_days is null or p_attempt_days is null then
    raise exception 'messages and attempts are kept for 14 days at least, not % and %', p_message_days, p_attempt_days
      using errcode = 'invalid_parameter_value';
  end if;
  perform pg_advisory_xact_lock(hashtext('outbox_create_partitions'));
  for v_part in
    select c.relname::text as name, p.relname::text as parent
    from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
    where p.oid in ('public.outbox_message'::regclass, 'public.outbox_attempt'::regclass)
      and c.relnamespace = 'public'::regnamespace and c.relname ~ '_[0-9]{8}$'
    order by 1
  loop
    v_week := to_timestamp(right(v_part.name, 8), 'YYYYMMDD') + interval '1 week';
    if v_part.parent = 'outbox_attempt' then
      continue when v_week > now() - make_interval(days => p_attempt_days);
    else
      continue when v_week > now() - make_interval(days => p_message_days);
      -- A message that may still be sent, queued behind a head, or that no person has dealt with keeps its whole week.
      execute format('select exists (select 1 from public.%I m join public.outbox_head h on h.message_id = m.id)
        or exists (select 1 from public.%I m join public.outbox_dead d on d.message_id = m.id and d.open)
        or exists (select 1 from public.%I m join public.outbox_lane l
          on l.destination_id = m.destination_id and l.lane_key = m.lane_key where m.lane_seq >= l.head_seq)',
        v_part.name, v_part.name, v_part.name) into v_needed;
      continue when v_needed;
    end if;
    begin
      if v_part.parent = 'outbox_message' then
        execute format('delete from public.outbox_dead d using public.%I m where d.message_id = m.id', v_part.name);
      end if;
      -- The drop needs the parent table to itself. While it waits for a long report, all others would wait behind it.
      perform set_config('lock_timeout', '300ms', true);
      execute format('drop table public.%I', v_part.name);
    exception when lock_not_available then
      -- The next hour tries again.
      continue;
    end;
    -- One at a time: the lock is held until the caller commits, and the look at the next week may take a while.
    return array[v_part.name];
  end loop;
  return '{}';
end $function$;
revoke all on function outbox_drop_partitions(integer, integer) from public;
