-- Adds messages inside the caller's transaction. The lane row is locked until commit, so numbers within a lane are free
-- of gaps and in commit order. Lanes are taken in sorted order: two batches cannot wait for each other.
create or replace function outbox_enqueue(p_messages outbox_new_message[])
 RETURNS void
 LANGUAGE sql
AS $function$
  with input as materialized (
    select m.*, row_number() over (partition by m.destination_id, m.lane_key order by m.id) as place
    from unnest(p_messages) m
  ), lane as (
    insert into outbox_lane as l (destination_id, lane_key, last_seq)
    select destination_id, lane_key, count(*) from input where lane_key is not null
    group by destination_id, lane_key order by destination_id, lane_key
    on conflict (destination_id, lane_key) do update set last_seq = l.last_seq + excluded.last_seq
    returning l.destination_id, l.lane_key, l.last_seq, l.head_seq
  ), sized as (
    select i.*, l.head_seq, l.last_seq - count(*) over (partition by i.destination_id, i.lane_key) + i.place as lane_seq
    from input i left join lane l on l.destination_id = i.destination_id and l.lane_key = i.lane_key
  ), message as (
    insert into outbox_message (id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, transaction_id,
      path, body, expires_at)
    select id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, transaction_id, path, body,
      expires_at
    from sized
  ), share as (
    -- A claim looks only where it knows of a share, so a message and its share are stored together.
    insert into outbox_share (destination_id, share)
    select distinct destination_id, outbox_share_of(destination_id, operator_id, rgs_id, event_type) from input i
    where not exists (
      select 1 from outbox_share s
      where s.destination_id = i.destination_id
        and s.share = outbox_share_of(i.destination_id, i.operator_id, i.rgs_id, i.event_type))
    order by 1, 2
    on conflict do nothing
  )
  insert into outbox_head (message_id, destination_id, lane_key, lane_seq, share)
  select id, destination_id, lane_key, lane_seq, outbox_share_of(destination_id, operator_id, rgs_id, event_type)
  from sized where lane_seq is null or lane_seq = head_seq
$function$;
