-- Messages that the outbox still owns or has given up; what is in neither was sent. `is_pending`: it will be sent,
-- now or behind others of its lane. A replay puts a dead letter back at its head, so a message may be here twice.
-- Reconciliation reads this and not the tables.
create or replace view outbox_unfinished as
select h.message_id, h.visible_at < 'infinity' as is_pending from outbox_head h
union all
select d.message_id, false from outbox_dead d
union all
select m.id, true
from outbox_lane l
join outbox_message m
  on m.destination_id = l.destination_id and m.lane_key = l.lane_key and m.lane_seq > l.head_seq
where l.head_seq <= l.last_seq;
