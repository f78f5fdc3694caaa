-- Health of a destination after a flush: circuit breaker, Retry-After and the last error. Answers the breaker before
-- and after, and for how long it is open. Statistics, so it runs outside the settling transaction.
create or replace function outbox_report_call(p_destination integer, p_ok integer, p_failed integer,
  p_not_before_ms double precision, p_error text)
 RETURNS TABLE(was text, breaker text, open_seconds double precision)
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
  d outbox_destination; v_now timestamptz; v_was text;
begin
  select * into d from outbox_destination where id = p_destination for no key update;
  v_now := clock_timestamp();
  v_was := d.breaker;
  if p_error is not null then
    d.last_error := p_error; d.last_error_at := v_now;
  end if;
  if p_not_before_ms is not null then
    d.not_before := greatest(d.not_before, v_now + p_not_before_ms * interval '1 millisecond');
  end if;
  if d.breaker = 'closed' then
    if d.window_start is null or d.window_start < v_now - interval '30 seconds' then
      d.window_start := v_now; d.window_ok := 0; d.window_failed := 0;
    end if;
    d.window_ok := d.window_ok + p_ok;
    d.window_failed := d.window_failed + p_failed;
    -- A report ends with its failure, if it has one: the successes it brings along came before.
    d.consecutive_failures := case when p_ok > 0 then 0 else d.consecutive_failures end + p_failed;
    if d.consecutive_failures >= d.breaker_failures
       or (d.window_failed >= 2 * d.breaker_failures and d.window_failed >= d.window_ok) then
      d.breaker := 'open';
    end if;
  elsif p_failed > 0 then
    if d.breaker = 'half_open' then
      d.breaker := 'open'; d.open_until := null;
    end if;
  elsif p_ok > 0 then
    d.breaker := 'closed'; d.closed_at := v_now; d.trips := 0; d.open_until := null;
    d.consecutive_failures := 0; d.window_start := v_now; d.window_ok := 0; d.window_failed := 0;
  end if;
  if d.breaker = 'open' and d.open_until is null then
    d.open_until := v_now + least(300, d.breaker_open_seconds * power(2, least(d.trips, 10)))
      * (0.8 + random() * 0.4) * interval '1 second';
    d.trips := d.trips + 1;
  end if;
  update outbox_destination
  set not_before = d.not_before, breaker = d.breaker, closed_at = d.closed_at, open_until = d.open_until,
    trips = d.trips, last_error = d.last_error, last_error_at = d.last_error_at,
    consecutive_failures = d.consecutive_failures, window_start = d.window_start, window_ok = d.window_ok,
    window_failed = d.window_failed
  where id = p_destination;
  return query select v_was, d.breaker,
    case when d.breaker <> 'closed' then extract(epoch from d.open_until - v_now)::double precision end;
end $function$;
