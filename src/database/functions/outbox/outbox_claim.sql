-- As outbox_lease, for processes of the release before, which do not say how long a call may still be booked: until a minute after the lease.
-- Goes with the next release.
create or replace function outbox_claim(p_destination integer, p_want integer, p_lease_ms double precision, p_owner text, p_floor timestamp with time zone)
 RETURNS TABLE(id uuid, token bigint, attempts integer, claims integer, releases integer, lane_key text, event_type text, transaction_id uuid, path text, body text, expires_in_ms double precision, probe boolean, wait_ms double precision)
 LANGUAGE plpgsql
AS $function$
begin
  return query
  select l.id, l.token, l.attempts, l.claims, l.releases, l.lane_key, l.event_type, l.transaction_id, l.path, l.body, l.expires_in_ms, l.probe, l.wait_ms
  from outbox_lease(p_destination, p_want, p_lease_ms, case (select d.queue from outbox_destination d where d.id = p_destination) when 'operator' then p_lease_ms + 60000 end, p_owner, p_floor)
    with ordinality l (id, token, attempts, claims, releases, lane_key, event_type, transaction_id, path, body, expires_in_ms, first_sent_at, may_land_until, lands_in_ms, probe, wait_ms, place)
  order by l.place;
end $function$;
