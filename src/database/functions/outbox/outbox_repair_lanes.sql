-- Lanes that hold messages but no head. None should ever exist; one that does is given its head back and counted.
create or replace function outbox_repair_lanes()
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_repaired integer;
begin
  perform 1 from outbox_lane l
  where l.head_seq <= l.last_seq
    and not exists (select 1 from outbox_head h where h.destination_id = l.destination_id and h.lane_key = l.lane_key)
  order by l.destination_id, l.lane_key for no key update of l skip locked;
  -- A new statement, for a snapshot taken after the locks.
  insert into outbox_head (message_id, destination_id, lane_key, lane_seq, share)
  select m.id, m.destination_id, m.lane_key, m.lane_seq,
    outbox_share_of(m.destination_id, m.operator_id, m.rgs_id, m.event_type)
  from outbox_lane l join outbox_message m
    on m.destination_id = l.destination_id and m.lane_key = l.lane_key and m.lane_seq = l.head_seq
  where l.head_seq <= l.last_seq
    and not exists (select 1 from outbox_head h where h.destination_id = l.destination_id and h.lane_key = l.lane_key)
  on conflict do nothing;
  get diagnostics v_repaired = row_count;
  return v_repaired;
end $function$;
