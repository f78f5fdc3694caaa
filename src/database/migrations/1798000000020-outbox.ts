import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The outbox: immutable messages, insert-only attempts, and narrow tables that change. A lane is (destination, ordering
 * key). Only the head of a lane is in the claimable table, so the cost of a claim does not grow with the backlog of a
 * blocked player. `visible_at` is schedule, backoff and lease in one; crash recovery needs no sweeper.
 *
 * Lock order everywhere: destination, lane, head, then the caller's own rows. Only the database's clock decides.
 *
 * Message ids are UUIDv7, so ranges of ids are ranges of time: the partitions are bounded by ids, the primary key stays
 * unique over all of them, and a look-up by id prunes to one partition without carrying created_at through every table.
 */

/** Their values are in rows and in the bounds of partitions, so they never change. */
const STORAGE_FUNCTIONS = `
  create function uuid_v7_floor(p_at timestamptz) returns uuid language sql immutable strict as $$
    select rpad(lpad(to_hex((extract(epoch from p_at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
  $$;
  comment on function uuid_v7_floor is 'The least UUIDv7 of a moment: bounds of partitions, and of a look-up by time.';

  create function outbox_share_of(p_destination_id integer, p_operator_id integer, p_rgs_id integer, p_event_type text)
  returns integer language sql immutable as $$
    select 2 * case when p_destination_id = p_operator_id then p_rgs_id else p_operator_id end
      + (p_destination_id = p_operator_id and p_event_type = 'debit')::integer
  $$;
  comment on function outbox_share_of
    is 'Twice the id of the partner for whom the message goes, plus one for a debit, which has a deadline.';
`;

/**
 * One row per partner, updated by every claim: how long its dead versions last decides what a claim's first step costs.
 */
const DESTINATION = `
  create table outbox_destination (
    id integer not null constraint outbox_destination_pkey primary key
      constraint outbox_destination_partner_fkey references partner (id),
    queue text not null,
    rate_per_second double precision not null default 0,
    burst double precision not null default 1,
    tokens double precision not null default 0,
    tokens_at timestamptz not null default clock_timestamp(),
    not_before timestamptz,
    paused_at timestamptz,
    pause_reason text,
    breaker text not null default 'closed',
    breaker_failures integer not null default 10,
    breaker_open_seconds double precision not null default 10,
    open_until timestamptz,
    trips integer not null default 0,
    consecutive_failures integer not null default 0,
    window_start timestamptz,
    window_ok integer not null default 0,
    window_failed integer not null default 0,
    closed_at timestamptz,
    last_error text,
    last_error_at timestamptz,
    sharer_ids integer[] not null default '{}',
    sharer_tokens double precision[] not null default '{}',
    sharers_at timestamptz not null default clock_timestamp(),
    constraint outbox_destination_queue check (queue in ('operator', 'rgs')),
    constraint outbox_destination_breaker check (breaker in ('closed', 'open', 'half_open'))
  ) with (
    fillfactor = 20,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0
  );
  comment on column outbox_destination.burst is 'capacity of the token bucket; see docs/decisions/0004';
  comment on column outbox_destination.closed_at
    is 'when a probe last closed the breaker; from then on the destination is trusted step by step';
  comment on column outbox_destination.last_error
    is 'what the last failed call met; kept when the destination is well again';
  comment on column outbox_destination.sharer_tokens
    is 'permits that each of sharer_ids had of its own at sharers_at; see docs/decisions/0097';

  create table outbox_share (
    destination_id integer not null,
    share integer not null,
    constraint outbox_share_pkey primary key (destination_id, share)
  );
  comment on table outbox_share is 'the shares that a destination has ever had messages of: where a claim looks';
`;

const LANE = `
  create table outbox_lane (
    destination_id integer not null,
    lane_key text not null,
    last_seq bigint not null default 0,
    head_seq bigint not null default 1,
    blocked_by uuid,
    constraint outbox_lane_pkey primary key (destination_id, lane_key)
  ) with (
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0
  );
`;

/** Partitioned by week; outbox_create_partitions makes the weeks ahead, and the default partition is a safety net. */
const MESSAGE = `
  create table outbox_message (
    id uuid not null,
    destination_id integer not null,
    operator_id integer not null,
    rgs_id integer not null,
    lane_key text,
    lane_seq bigint,
    event_type text not null,
    transaction_id uuid,
    path text not null,
    body text not null,
    expires_at timestamptz,
    created_at timestamptz not null default now(),
    constraint outbox_message_pkey primary key (id),
    constraint outbox_message_body check (octet_length(body) <= 65536)
  ) partition by range (id);
  create table outbox_message_default partition of outbox_message default;
  create index outbox_message_lane on outbox_message (destination_id, lane_key, lane_seq) where lane_key is not null;
  create index outbox_message_transaction on outbox_message (transaction_id);
  comment on column outbox_message.expires_at
    is 'from here on the message must not be sent any more; null = never';
  comment on column outbox_message.body
    is 'the exact bytes as UTF-8 text; frozen here, so a retry or a replay can never send others';

  create type outbox_new_message as (
    id uuid, destination_id integer, operator_id integer, rgs_id integer, lane_key text, event_type text,
    transaction_id uuid, path text, body text, expires_at timestamptz
  );
`;

const HEAD = `
  create table outbox_head (
    message_id uuid not null constraint outbox_head_pkey primary key,
    destination_id integer not null,
    lane_key text,
    lane_seq bigint,
    visible_at timestamptz not null default clock_timestamp(),
    leased boolean not null default false,
    attempts integer not null default 0,
    claims integer not null default 0,
    releases integer not null default 0,
    token bigint not null default 0,
    owner text,
    first_sent_at timestamptz,
    may_land_until timestamptz,
    replayed_at timestamptz,
    lost_leases integer not null default 0,
    share integer not null default 0
  ) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
  );
  create index outbox_head_ready on outbox_head (destination_id, share, visible_at);
  create unique index outbox_head_lane on outbox_head (destination_id, lane_key) where lane_key is not null;
  comment on column outbox_head.claims
    is 'leases under which the message may have left; a lease that is given back unsent is taken off again';
  comment on column outbox_head.first_sent_at is 'when it may first have left; null = it never did';
  comment on column outbox_head.may_land_until
    is 'until when a call whose answer was lost may still be booked; null = nothing was lost';
  comment on column outbox_head.replayed_at is 'when a person last sent it again; errors before that are not shown';
  comment on column outbox_head.lost_leases is 'leases that ended without a word since the message became a head '
    'or was replayed: its process died or lost touch';
  comment on column outbox_head.share is 'see outbox_share_of';
`;

/** Attempts are partitioned by week like messages; dead letters stay until their week is dropped. */
const ATTEMPT_AND_DEAD = `
  create table outbox_attempt (
    message_id uuid not null,
    n integer not null,
    at timestamptz not null default clock_timestamp(),
    outcome text not null,
    class text not null,
    status integer,
    error text,
    duration_ms integer,
    replica text not null,
    constraint outbox_attempt_outcome check (outcome in ('sent', 'retry', 'released', 'dead', 'blocked', 'stale'))
  ) partition by range (at);
  create table outbox_attempt_default partition of outbox_attempt default;
  create index outbox_attempt_message on outbox_attempt (message_id, at);

  create table outbox_dead (
    message_id uuid not null constraint outbox_dead_pkey primary key,
    destination_id integer not null,
    class text not null,
    error text,
    attempts integer not null,
    open boolean not null,
    at timestamptz not null default clock_timestamp(),
    first_sent_at timestamptz,
    may_land_until timestamptz
  );
  create index outbox_dead_destination on outbox_dead (destination_id, message_id);
  comment on column outbox_dead.open
    is 'a person must still deal with it; a refusal that settled its movement needs none';
`;

export class Outbox1798000000020 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const sql of [STORAGE_FUNCTIONS, DESTINATION, LANE, MESSAGE, HEAD, ATTEMPT_AND_DEAD]) await runner.query(sql);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop type outbox_new_message;
      drop table outbox_dead, outbox_attempt, outbox_head, outbox_message, outbox_lane, outbox_share,
        outbox_destination;
      drop function outbox_share_of, uuid_v7_floor;
    `);
  }
}
