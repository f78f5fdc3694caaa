-- Second half of settling; the caller holds the locks of outbox_lock. Outcomes: sent and dead advance the lane, blocked
-- stops it until a person replays the message, retry counts an attempt, released gives the lease back. What of the
-- message may still be booked is what was known before this lease (had_*), and until lands_ms from now if a call of it
-- was lost; without "lost" what the lease wrote stays.
create or replace function outbox_settle(p_results json, p_replica text)
 RETURNS void
 LANGUAGE sql
 SET enable_seqscan TO 'off'
AS $function$
  with result as materialized (
    select r.*, h.destination_id, h.lane_key, h.lane_seq, h.attempts,
      case when r.lost is null or r.lost or r.answered then h.first_sent_at
        else r.had_first_sent_at end as first_sent_at,
      case when r.lost is null then h.may_land_until
        else greatest(r.had_may_land_until,
          case when r.lost then clock_timestamp() + r.lands_ms * interval '1 millisecond' end) end as may_land_until
    from json_to_recordset(p_results) as r (
      id uuid, outcome text, class text, status integer, error text, duration_ms integer, delay_ms double precision,
      open boolean, lost boolean, answered boolean, lands_ms double precision, had_first_sent_at timestamptz,
      had_may_land_until timestamptz)
    join outbox_head h on h.message_id = r.id
  ), advanced as (
    update outbox_lane l set head_seq = l.head_seq + 1, blocked_by = null
    from result r
    where r.outcome in ('sent', 'dead') and l.destination_id = r.destination_id and l.lane_key = r.lane_key
      and l.head_seq = r.lane_seq
    returning r.id as settled_id, l.destination_id, l.lane_key, l.head_seq, l.last_seq
  ), following as materialized (
    select a.settled_id, m.id, m.destination_id, m.lane_key, m.lane_seq,
      outbox_share_of(m.destination_id, m.operator_id, m.rgs_id, m.event_type) as share
    from advanced a join outbox_message m
      on m.destination_id = a.destination_id and m.lane_key = a.lane_key and m.lane_seq = a.head_seq
    where a.head_seq <= a.last_seq
      -- The next message of a lane was made after this one, and by now: so only the partitions of that time are read.
      -- Clocks of processes differ by seconds; beyond a day outbox_repair_lanes finds it.
      and m.id >= uuid_v7_floor(coalesce(uuid_extract_timestamp(a.settled_id), 'epoch') - interval '1 day')
      and m.id < uuid_v7_floor(now() + interval '1 day')
  ), moved as (
    -- In place: deleting this head and inserting the next in one statement would race with itself on the unique index.
    update outbox_head h
    set message_id = f.id, lane_seq = f.lane_seq, share = f.share, visible_at = clock_timestamp(), leased = false,
      attempts = 0, claims = 0, releases = 0, lost_leases = 0, token = h.token + 1, owner = null,
      first_sent_at = null, may_land_until = null
    from following f where h.destination_id = f.destination_id and h.lane_key = f.lane_key
  ), removed as (
    delete from outbox_head h using result r
    where h.message_id = r.id and r.outcome in ('sent', 'dead')
      and h.message_id not in (select f.settled_id from following f)
  ), again as (
    update outbox_head h
    set visible_at = case r.outcome when 'blocked' then 'infinity'::timestamptz
        else clock_timestamp() + r.delay_ms * interval '1 millisecond' end,
      leased = false, owner = null, attempts = h.attempts + case r.outcome when 'released' then 0 else 1 end,
      claims = h.claims - case r.outcome when 'released' then 1 else 0 end,
      releases = h.releases + case r.outcome when 'released' then 1 else 0 end,
      first_sent_at = r.first_sent_at, may_land_until = r.may_land_until
    from result r where h.message_id = r.id and r.outcome in ('retry', 'released', 'blocked')
  ), blocked as (
    update outbox_lane l set blocked_by = r.id from result r
    where r.outcome = 'blocked' and l.destination_id = r.destination_id and l.lane_key = r.lane_key
  ), revived as (
    -- A blocked message that a callback settled needs no person any more.
    delete from outbox_dead d using result r where r.outcome = 'sent' and d.message_id = r.id
  ), dead as (
    insert into outbox_dead (message_id, destination_id, class, error, attempts, open, first_sent_at, may_land_until)
    select id, destination_id, class, error, attempts + 1, coalesce(open, true), first_sent_at, may_land_until
    from result where outcome in ('dead', 'blocked')
    on conflict (message_id) do update
      set class = excluded.class, error = excluded.error, attempts = excluded.attempts, open = excluded.open,
        at = clock_timestamp(), first_sent_at = excluded.first_sent_at, may_land_until = excluded.may_land_until
  )
  insert into outbox_attempt (message_id, n, outcome, class, status, error, duration_ms, replica)
  select id, attempts + 1, outcome, class, status, error, duration_ms, p_replica from result
$function$;
