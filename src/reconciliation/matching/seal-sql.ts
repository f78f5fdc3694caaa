import { CLASS_RULES, PRESENCE_CLASSES } from './classes';
import { FLAG, SOURCE, STATUS_CODE } from './stage-lines';

/** The second pass, over the keys that the first one could not prove to be alike. Temporary tables, analysed: see docs/decisions/0031. */

const side = (source: number) => `filter (where src = ${source})`;
/** What an RGS says of a bet, if only by saying that it is undone. */
const TOLD = `filter (where src in (${SOURCE.rgs}, ${SOURCE.implied}))`;
const [RGS, OPERATOR, HUB] = [side(SOURCE.rgs), side(SOURCE.operator), side(SOURCE.hub)];
const REFUSED = STATUS_CODE.rejected;

/** Keys that no side of the hub's was staged for, with a correlation id of theirs. */
export const lacksHubSql = (slot: number): string => `
  create temp table lacks_hub on commit drop as
  select k, min(corr)::uuid as id from recon.stage_${slot} join recon.broken_${slot} using (k)
  group by k having bit_or(src) & ${SOURCE.hub | SOURCE.foreign} = 0 and min(corr) ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'`;

/** Rows of the keys to look at: three passes need them, and a million rows are not worth three scans to find a few thousand. */
export const lookedSql = (slot: number): string =>
  `create temp table looked on commit drop as select s.* from recon.stage_${slot} s join recon.broken_${slot} using (k)`;
/** The same where most keys are to be looked at, and a copy would cost more than it saves. */
export const lookedJoin = (slot: number): string =>
  `(select s.* from recon.stage_${slot} s join recon.broken_${slot} using (k)) looked`;

const isStray = `s.src in (${SOURCE.rgs}, ${SOURCE.operator}) and coalesce(s.ts < t.reach_lo or s.ts > t.reach_hi, false)`;
const inWindow = 's.ts >= t.from_at and s.ts < t.to_at';
/** Whether a row s is of this run, t being the entry of its key among the strays, if it has one. */
const HERE = `(t.k is null or case when ${isStray} then ${inWindow} else t.is_own end)`;

/**
 * Keys of which some rows lie further from the time that owns the key than a window is padded. The window of that time may not have read
 * such rows, so each of them belongs to the window in which it lies itself: a second booking hours after the first, on the next day, is
 * matched by nobody and must not be nobody's. $1 from, $2 to (null: all time, in which there are none), $3 padding in seconds.
 */
export const straySql = (looked: string): string => `
  create temp table stray on commit drop as
  with keys as (
    select k, at, at - $3 * interval '1 second' as reach_lo, at + $3 * interval '1 second' as reach_hi, at >= $1::timestamptz and at < $2::timestamptz as is_own, $1::timestamptz as from_at, $2::timestamptz as to_at, lo, hi
    from (select k, coalesce(min(ts) ${HUB}, min(ts) ${OPERATOR}, min(ts) ${RGS}) as at, min(ts) filter (where src in (${SOURCE.rgs}, ${SOURCE.operator})) as lo, max(ts) filter (where src in (${SOURCE.rgs}, ${SOURCE.operator})) as hi
          from ${looked} where $1::timestamptz is not null group by k) times
  )
  select k, reach_lo, reach_hi, is_own, from_at, to_at from keys t
  where (lo < reach_lo or hi > reach_hi) and (is_own or exists (select from (select * from ${looked}) s where s.k = t.k and ${isStray} and ${inWindow}))`;

/** What one side leaves out, another may know. */
const named = (column: string) => `coalesce(min(nullif(${column}, '')), '')`;

/**
 * One row per key; of several copies of a side the smallest value stands for it, so that the order of the lists decides nothing. `is_late`: only
 * strays of it are of this run, and the hub's row, of another window, is there to be compared with.
 */
export const pivotSql = (looked: string): string => `
  create temp table pivot on commit drop as
  select k, bool_or(undo) as undo, bit_or(src) & ${SOURCE.foreign} <> 0 as of_others, bool_or(is_elsewhere) and bit_or(src) & ${SOURCE.hub} <> 0 as is_late,
    (bit_or(src) & 7 | (bit_or(src) >> 3 & 1))::smallint as presence,
    coalesce(bit_or(case src when ${SOURCE.implied} then ${SOURCE.rgs} else src end) filter (where attrs & 3 <> ${REFUSED}), 0)::smallint & 7::smallint as booked,
    (count(*) ${RGS})::integer as n_rgs, (count(*) ${OPERATOR})::integer as n_op, (count(*) ${HUB})::integer as n_hub,
    ${named('ref_id')} as ref_id, min(corr) as corr, ${named('player')} as player, min(corr) ${HUB} as hub_id,
    coalesce(min(ts) filter (where src = ${SOURCE.hub} and not is_elsewhere), min(ts) ${OPERATOR}, min(ts) ${RGS}) as anchor_at, min(ts) as ts_lo, max(ts) as ts_hi,
    min(amt) as amt_lo, max(amt) as amt_hi, count(amt) as n_amt, count(*) as n_all,
    min(amt) ${TOLD} as amt_rgs, min(amt) ${OPERATOR} as amt_op, min(amt) ${HUB} as amt_hub,
    coalesce(sum(amt) filter (where src = ${SOURCE.rgs} and attrs & 3 <> ${REFUSED}), min(amt) filter (where src = ${SOURCE.implied})) as sum_rgs, sum(amt) filter (where src = ${SOURCE.operator} and attrs & 3 <> ${REFUSED}) as sum_op,
    coalesce(bool_or(src = ${SOURCE.rgs} and attrs & 3 <> ${REFUSED}), false) as rgs_books,
    min(cur) as cur_lo, max(cur) as cur_hi, min(cur) ${TOLD} as cur_rgs, min(cur) ${OPERATOR} as cur_op, min(cur) ${HUB} as cur_hub,
    min(attrs >> 2 & 3)::integer as mov_lo, max(attrs >> 2 & 3)::integer as mov_hi,
    min(attrs & 3)::integer as st_lo, max(attrs & 3)::integer as st_hi, (min(attrs & 3) ${HUB})::integer as hub_st,
    min(st_raw) ${TOLD} as st_rgs, min(st_raw) ${OPERATOR} as st_op, min(st_raw) ${HUB} as st_hub,
    min(amt_raw) ${TOLD} as amt_raw_rgs, min(amt_raw) ${OPERATOR} as amt_raw_op, min(dir_raw) ${TOLD} as dir_raw_rgs, min(dir_raw) ${OPERATOR} as dir_raw_op,
    min(ref_id) ${TOLD} as ref_rgs, min(ref_id) ${OPERATOR} as ref_op, bit_or(flags) as flags
  from (select s.*, t.k is not null and not t.is_own as is_elsewhere, ${HERE} as here from (select * from ${looked}) s left join stray t on t.k = s.k) r
  where here or is_elsewhere and src in (${SOURCE.hub}, ${SOURCE.foreign}) group by k`;

/** The same reference and direction under two correlation ids, each with one candidate: a bet that was sent again under a new one. */
const candidates = (name: string, presence: number): string => `
  create temp table ${name} on commit drop as
  select ref_id, mov_lo, cur_lo, (array_agg(k))[1] as k, min(corr) as corr from pivot
  where presence & 3 = ${presence} and ref_id <> '' and mov_lo = mov_hi and mov_lo <> 0 and cur_lo = cur_hi and st_lo <> ${REFUSED} and not of_others
  group by ref_id, mov_lo, cur_lo having count(*) = 1`;
export const LINK_CANDIDATES = [candidates('link_rgs', SOURCE.rgs), candidates('link_op', SOURCE.operator)] as const;
export const LINK_SQL = `
  create temp table link on commit drop as
  select a.k, b.corr from link_rgs a join link_op b using (ref_id, mov_lo, cur_lo)
  union all select b.k, a.corr from link_rgs a join link_op b using (ref_id, mov_lo, cur_lo)`;

/** Messages that the outbox still owns or has given up; what is in neither was sent. A replay puts a dead one back at its head. */
export const OUTBOX_SQL = `
  create temp table unfinished on commit drop as
  select id, bool_or(pending) as pending from (
    select message_id as id, visible_at < 'infinity' as pending from outbox_head
    union all select message_id, false from outbox_dead
    union all select m.id, true from outbox_lane l join outbox_message m on m.destination_id = l.destination_id and m.lane_key = l.lane_key and m.lane_seq > l.head_seq where l.head_seq <= l.last_seq
  ) message group by id`;

/** The messages that would bring a missing booking about: to the operator, and to the RGS. */
export const MESSAGES_SQL = `
  create temp table message on commit drop as
  select p.k, m.operator_message, m.rgs_message, w.state = 'parked' as parked,
    coalesce(m.operator_wanted and not o.pending, false) or coalesce(m.rgs_wanted and not r.pending, false) as dead,
    coalesce(m.operator_wanted and o.pending, false) or coalesce(m.rgs_wanted and r.pending, false) as pending
  from pivot p join wallet_transaction w on w.id = p.hub_id::uuid
  cross join lateral (
    select p.presence & 2 = 0 or p.hub_st < ${STATUS_CODE.settled} as operator_wanted, p.presence & 1 = 0 as rgs_wanted,
      case when p.undo and w.movement = 'debit' then w.undo_message_id else w.message_id end as operator_message,
      (select c.message_id from wallet_outcome c where c.transaction_id = w.id and (c.outcome = 'ROLLED_BACK' or not (p.undo and w.movement = 'debit'))
       order by case c.outcome when 'OK' then 0 when 'REJECTED' then 1 else 2 end limit 1) as rgs_message
  ) m
  left join unfinished o on o.id = m.operator_message left join unfinished r on r.id = m.rgs_message
  where not p.of_others and not p.is_late and (p.presence <> 7 or p.hub_st < ${STATUS_CODE.settled})`;

const presenceClass = `case presence ${Object.entries(PRESENCE_CLASSES)
  .map(([presence, name]) => `when ${presence} then '${name}'`)
  .join(' ')} end`;
const isDuplicate = 'n_rgs > 1 or n_op > 1 or n_hub > 1';

/**
 * What each key is. $1 from, $2 to (null: all time), $3 as of, $4 grace, $5 hard limit and $6 padding in seconds, $7 and $8 bounds and dates
 * of business days. Only what is missing, or has a status that may still change, can be in flight; and nothing without a time.
 */
export const CLASSIFY_SQL = `
  create temp table found on commit drop as
  with classified as (
    select p.*, l.corr as linked_corr, m.operator_message, m.rgs_message, coalesce(m.parked, false) as parked, coalesce(m.dead, false) as dead, coalesce(m.pending, false) as pending,
      array_remove(array[
        case when l.k is not null then 'correlation_mismatch' end,
        case when ${isDuplicate} then 'duplicate' end,
        case when not is_late then ${presenceClass} end,
        case when cur_lo <> cur_hi then 'currency' end,
        case when mov_lo <> mov_hi or flags & ${FLAG.unknownMovement} <> 0 then 'direction' end,
        case when amt_lo <> amt_hi then 'amount' end,
        case when n_amt < n_all then 'bad_amount' end,
        case when st_lo <> st_hi or flags & ${FLAG.unknownStatus} <> 0 then 'status' end,
        case when ts_hi - ts_lo > $6 * interval '1 second' then 'late' end], null) as classes,
      l.k is null and not (${isDuplicate}) and cur_lo = cur_hi and mov_lo = mov_hi and flags & ${FLAG.unknownMovement} = 0 and coalesce(amt_lo = amt_hi, false) and n_amt = n_all
        and not (st_hi = ${REFUSED} and st_lo <> ${REFUSED}) and (presence <> 7 or st_lo <> st_hi or flags & ${FLAG.unknownStatus} <> 0)
        and coalesce(ts_hi - ts_lo <= $6 * interval '1 second', true) as may_move,
      extract(epoch from $3::timestamptz - anchor_at) as age
    from pivot p left join link l on l.k = p.k left join message m on m.k = p.k
  ), placed as (
    select *, case
        when of_others then 'outside'
        when st_lo = ${REFUSED} then case when $1::timestamptz is null or (anchor_at >= $1::timestamptz and anchor_at < $2::timestamptz) then 'refused' else 'outside' end
        when $1::timestamptz is null or (anchor_at >= $1::timestamptz and anchor_at < $2::timestamptz) then case when cardinality(classes) = 0 then 'matched' else 'item' end
        when anchor_at is null and cardinality(classes) > 0 then 'unplaced' else 'outside' end as place
    from classified
  )
  select *, classes[1] as class,
    case when may_move and age < $5::double precision and not dead and (age < $4::double precision or pending) then 'in_flight' else 'broken' end as state,
    case when place in ('item', 'matched') then ($8::date[])[width_bucket(anchor_at, $7::timestamptz[])] end as business_date,
    case when place = 'item' then row_number() over (partition by place = 'item' order by anchor_at nulls last, k) end as seq
  from placed`;

const cell = (lo: string, hi: string) =>
  `case when ${lo} = ${hi} then ${lo} else concat_ws('/', nullif(${lo}, ''), ${hi}) end`;
const words = { 0: 'unknown', 1: 'debit', 2: 'credit' };
const movementWord = (code: string) =>
  `case ${code} ${Object.entries(words)
    .map(([value, name]) => `when ${value} then '${name}'`)
    .join(' ')} end`;
const sides = (rgs: string, operator: string, hub: string) =>
  `concat_ws(', ', 'RGS ' || ${rgs}, 'operator ' || ${operator}, 'hub ' || ${hub})`;
const money = (amount: string, currency: string, exponent: string) =>
  `round(${amount}::numeric * power(10::numeric, -coalesce(${exponent}, 2)), coalesce(${exponent}, 2))::text || coalesce(' ' || nullif(${currency}, ''), '')`;
const shown = (word: string) => `coalesce(nullif(${word}, ''), '(none)')`;
const instant = (at: string) => `to_char(${at} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/**
 * The message that would fix it, in the queue of the side that lacks it, and of no other: the operator's in place of an RGS's would book again.
 * What is parked has none: a person says first what became of it.
 */
const MENDS_AT_OPERATOR = `(f.presence & 2 = 0 or (f.presence & 1 <> 0 and f.hub_st < ${STATUS_CODE.settled}))`;
const MENDING = `case when f.parked then null when ${MENDS_AT_OPERATOR} then operator_message else rgs_message end`;
const MENDING_QUEUE = `case when (${MENDING}) is null then null when ${MENDS_AT_OPERATOR} then 'operator' else 'rgs' end`;
const MENDING_PARTY = `case when ${MENDS_AT_OPERATOR} then 'operator' else 'RGS' end`;
/** A movement of which the RGS has not been told since nobody knows its outcome is asked about first; there is nothing to send. */
const NEXT_ACTION = `case when f.parked then 'resolve_parked' when rule.next_action = 'replay_rgs' and rgs_message is null then 'requery_operator' else rule.next_action end`;

/** In words for a person who has only the file: every value that differs, with its side. */
const REASON = `concat_ws('; ',
  case when linked_corr is not null then 'the same reference and direction stand under correlation id ' || linked_corr end,
  case when ${isDuplicate} then 'copies: ' || ${sides('n_rgs', 'n_op', 'n_hub')} end,
  case when is_late then 'booked in this window, and taken by the hub in another' end,
  case when not is_late then case presence when 1 then 'only the RGS lists it' when 2 then 'only the operator lists it' when 3 then 'RGS and operator list it, the hub does not' when 4 then 'only the hub has it'
    when 5 then 'RGS and hub have it, the operator does not list it' when 6 then 'operator and hub have it, the RGS does not list it' end end,
  case when cur_lo <> cur_hi then 'currency: ' || ${sides(shown('cur_rgs'), shown('cur_op'), shown('cur_hub'))} end,
  case when mov_lo <> mov_hi or flags & ${FLAG.unknownMovement} <> 0 then 'direction: ' || ${sides(shown('dir_raw_rgs'), shown('dir_raw_op'), `case when n_hub > 0 then ${movementWord('case when undo then 2 else mov_lo end')} end`)} end,
  case when amt_lo <> amt_hi then 'amount: ' || ${sides(money('amt_rgs', 'cur_rgs', 'er.exponent'), money('amt_op', 'cur_op', 'eo.exponent'), money('amt_hub', 'cur_hub', 'eh.exponent'))}
    || case when n_rgs > 1 or n_op > 1 then ' (the smallest copy of a side)' else '' end end,
  case when n_amt < n_all then 'no amount in minor units: ' || ${sides(shown('amt_raw_rgs'), shown('amt_raw_op'), money('amt_hub', 'cur_hub', 'eh.exponent'))} end,
  case when st_lo <> st_hi or flags & ${FLAG.unknownStatus} <> 0 then 'status: ' || ${sides(shown('st_rgs'), shown('st_op'), 'st_hub')} end,
  case when 'late' = any (classes) then 'times lie further apart than a window is padded: ' || ${instant('ts_lo')} || ' and ' || ${instant('ts_hi')} end,
  case when parked then 'the hub has parked it, and a person must say what became of it: /admin/failed-transactions/' || hub_id end,
  case when not parked and dead then 'its message to the ' || ${MENDING_PARTY} || ' is dead' when not parked and pending then 'its message to the ' || ${MENDING_PARTY} || ' is in flight' end,
  case when anchor_at is null then 'no side gives a time' end)`;

/** $1 run, $2 currencies and $3 their decimals, $4 to $6 the rules per class. */
export const ITEMS_SQL = `
  insert into recon.item (run_id, seq, k, leg, class, classes, severity, state, reason, next_action, presence, booked, n_rgs, n_op, n_hub, ref_id, corr, player, cur, dir,
    amt_rgs, amt_op, amt_hub, difference, amt_raw_rgs, amt_raw_op, dir_raw_rgs, dir_raw_op, ref_rgs, ref_op, st_rgs, st_op, st_hub, anchor_at, business_date, linked_corr,
    outbox_id, outbox_queue, outbox_state, exception_id, exception_state, first_seen_run)
  select $1, f.seq, f.k, case when f.undo then 'undo' else 'movement' end, f.class, f.classes, rule.severity, f.state, ${REASON}, ${NEXT_ACTION}, f.presence, f.booked, n_rgs, n_op, n_hub,
    f.ref_id, f.corr, f.player, ${cell('cur_lo', 'cur_hi')}, ${movementWord('mov_lo')} || case when mov_lo <> mov_hi then '/' || ${movementWord('mov_hi')} else '' end,
    amt_rgs, amt_op, amt_hub, case when cur_lo = cur_hi and mov_lo = mov_hi and n_amt = n_all then coalesce(sum_op, 0) - coalesce(sum_rgs, 0) end,
    amt_raw_rgs, amt_raw_op, dir_raw_rgs, dir_raw_op, ref_rgs, ref_op, st_rgs, st_op, st_hub, f.anchor_at, f.business_date, linked_corr,
    ${MENDING},
    ${MENDING_QUEUE},
    case when (${MENDING}) is null then null when dead then 'dead' when pending then 'pending' else 'sent' end,
    x.exception_id, x.exception_state, x.first_run
  from found f
  join unnest($4::text[], $5::text[], $6::text[]) rule (class, severity, next_action) on rule.class = f.class
  left join unnest($2::text[], $3::integer[]) er (cur, exponent) on er.cur = f.cur_rgs
  left join unnest($2::text[], $3::integer[]) eo (cur, exponent) on eo.cur = f.cur_op
  left join unnest($2::text[], $3::integer[]) eh (cur, exponent) on eh.cur = f.cur_hub
  left join (select k, class, id as exception_id, state as exception_state, first_run from recon.exception) x on x.k = f.k and x.class = f.class
  where f.place = 'item'`;

export const RULE_COLUMNS = [
  CLASS_RULES.map((rule) => rule.class),
  CLASS_RULES.map((rule) => rule.severity),
  CLASS_RULES.map((rule) => rule.nextAction),
] as const;

/** What both checks and the funnel are made of: every staged row of the looked-at keys, by what became of its key, or of itself. */
export const placesSql = (looked: string): string => `
  select s.src, s.attrs, case when ${HERE} then f.place else 'outside' end as place, count(*) as n, coalesce(sum(s.amt), 0)::text as sum
  from (select * from ${looked}) s join found f on f.k = s.k left join stray t on t.k = s.k where s.src in (1, 2, 4) and s.flags & ${FLAG.lookedUp} = 0 group by 1, 2, 3`;

export const matchedSql = (slot: number): string =>
  `select owned, attrs, mask, sum(n) as n, sum(sum_minor)::text as sum from recon.matched_${slot} group by owned, attrs, mask`;

/**
 * Bookings of looked-at keys. $1 run. `implied`: whether there are any that an RGS only implies; such a one counts as known to it, and once,
 * however often it was implied, unless the RGS lists the booking itself.
 */
export const summaryOfFoundSql = (looked: string, implied: boolean): string => `
  insert into recon.summary (run_id, business_date, cur, dir, class, state, source, n, sum_minor)
  select $1, f.business_date, s.cur, ${movementWord('(s.attrs >> 2 & 3)')}, coalesce(f.class, 'matched'), case when f.class is null then 'matched' else f.state end, s.src, count(*), coalesce(sum(s.amt), 0)
  from (select s.k, src, cur, attrs, amt from (select * from ${looked}) s left join stray t on t.k = s.k where src in (1, 2, 4) and ${HERE}${implied ? ` union all ${impliedOnce(looked)}` : ''}) s join found f using (k)
  where f.place in ('item', 'matched') and s.attrs & 3 <> ${REFUSED} group by 2, 3, 4, 5, 6, 7`;

const impliedOnce = (looked: string) => `
  select k, ${SOURCE.rgs}, cur, attrs, amt from (select distinct on (k) k, cur, attrs, amt from ${looked} where src = ${SOURCE.implied} order by k, amt, cur) once join found f using (k) left join stray t using (k)
  where not f.rgs_books and coalesce(t.is_own, true)`;

/** And of those that the first pass proved alike. $2 to $4: packed attributes, their currencies and movements. */
export const summaryOfMatchedSql = (slot: number): string => `
  insert into recon.summary (run_id, business_date, cur, dir, class, state, source, n, sum_minor)
  select $1, m.business_date, a.cur, a.dir, 'matched', 'matched', v.source, sum(m.n), sum(m.sum_minor)
  from recon.matched_${slot} m join unnest($2::bigint[], $3::text[], $4::text[]) a (attrs, cur, dir) on a.attrs = m.attrs cross join (values (1), (2), (4)) v (source)
  where m.owned and m.mask = 7 and m.attrs & 3 <> ${REFUSED} group by 2, 3, 4, 7
  on conflict (run_id, business_date, cur, dir, class, state, source) do update set n = summary.n + excluded.n, sum_minor = summary.sum_minor + excluded.sum_minor`;

/** Cells in which what matched is not the same on all three sides. */
export const UNBALANCED_SQL = `
  select business_date::text as date, cur, dir from recon.summary where run_id = $1 and class = 'matched'
  group by business_date, cur, dir having count(*) <> 3 or min(n) <> max(n) or min(sum_minor) <> max(sum_minor) limit 5`;

/** $1 run, $2 operator, $3 RGS, $4 as of, $5 classes, $6 severities, $7 hours to deal with it. */
export const EXCEPTIONS_SQL = `
  insert into recon.exception as e (id, k, class, severity, operator_id, rgs_id, first_run, last_run, last_seq, first_seen, last_seen, anchor_at, cur, amount_minor, ref_id, corr, outbox_id, outbox_queue, due_at)
  select recon.exception_id(f.k, f.class), f.k, f.class, rule.severity, $2, $3, $1, $1, f.seq, $4, $4, f.anchor_at, ${cell('cur_lo', 'cur_hi')}, coalesce(f.amt_hub, f.amt_op, f.amt_rgs), f.ref_id, f.corr,
    ${MENDING},
    ${MENDING_QUEUE},
    $4::timestamptz + rule.hours * interval '1 hour'
  from found f join unnest($5::text[], $6::text[], $7::integer[]) rule (class, severity, hours) on rule.class = f.class
  where f.place in ('item', 'unplaced') and f.state = 'broken' order by f.k, f.class
  on conflict (k, class) do update set last_run = excluded.last_run, last_seq = excluded.last_seq, last_seen = excluded.last_seen, anchor_at = excluded.anchor_at, cur = excluded.cur, amount_minor = excluded.amount_minor,
    ref_id = excluded.ref_id, corr = excluded.corr, outbox_id = excluded.outbox_id, outbox_queue = excluded.outbox_queue,
    state = case when e.state in ('auto_cleared', 'resolved') then 'open' else e.state end,
    resolved_at = case when e.state in ('auto_cleared', 'resolved') then null else e.resolved_at end,
    due_at = case when e.state in ('auto_cleared', 'resolved') then excluded.due_at else e.due_at end,
    version = e.version + case when e.state in ('auto_cleared', 'resolved') then 1 else 0 end`;

/** What this run looked at and found in order. $1 from, $2 to, $3 operator, $4 RGS, $5 as of, $6 run. */
export const CLEAR_SQL = `
  update recon.exception e set state = 'auto_cleared', resolved_at = $5, resolution = 'auto_cleared', last_run = $6, last_seq = null, version = version + 1
  where e.state = 'open' and e.operator_id = $3 and e.rgs_id = $4 and ($1::timestamptz is null or (e.anchor_at >= $1::timestamptz and e.anchor_at < $2::timestamptz))
    and not exists (select 1 from found f where f.k = e.k and f.class = e.class and f.place in ('item', 'unplaced'))`;

export const ITEM_COUNTS_SQL = `
  select class, state, count(*) as n, count(*) filter (where booked & 3 in (1, 2)) as one_sided,
    count(*) filter (where booked & 3 = 3 and classes && array['duplicate', 'currency', 'direction', 'amount', 'bad_amount', 'status']) as differing
  from recon.item where run_id = $1 group by class, state`;
