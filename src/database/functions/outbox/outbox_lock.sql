-- First half of settling: locks the lanes, then the heads whose lease is still ours. 'busy': another transaction holds
-- the lane, come back; 'stale': the lease was lost. The second half must be a later statement: it looks for the next
-- message of the lane, and only a snapshot taken after the lane lock sees what was enqueued while we waited for it.
create or replace function outbox_lock(p_ids uuid[], p_tokens bigint[])
 RETURNS TABLE(place integer, verdict text)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_free uuid[];
begin
  with mine as materialized (
    select h.message_id, h.destination_id, h.lane_key
    from unnest(p_ids, p_tokens) x (id, token) join outbox_head h on h.message_id = x.id and h.token = x.token
  ), locked as materialized (
    select mine.message_id
    from outbox_lane l join mine on mine.destination_id = l.destination_id and mine.lane_key = l.lane_key
    order by l.destination_id, l.lane_key for no key update of l skip locked
  )
  select array_agg(message_id) into v_free
  from (select message_id from locked union all select message_id from mine where lane_key is null) free;

  return query
  with held as materialized (
    select x.place from unnest(p_ids, p_tokens) with ordinality x (id, token, place)
    join outbox_head h on h.message_id = x.id and h.token = x.token
    where x.id = any (v_free) order by h.message_id for update of h
  )
  select x.place::integer - 1,
    case when x.place in (select place from held) then 'ok'
      when still.message_id is not null then 'busy' else 'stale' end
  from unnest(p_ids, p_tokens) with ordinality x (id, token, place)
  left join outbox_head still on still.message_id = x.id and still.token = x.token;
end $function$;
