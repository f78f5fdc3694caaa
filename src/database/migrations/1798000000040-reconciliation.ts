import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Runs that may be staging and matching at the same time; each has tables of its own. */
const SLOTS = [0, 1];
const PARTITIONS = 32;

/**
 * Reconciliation runs: staging, findings, totals, exceptions and what people did about them. A schema of its own, so
 * that finance's tools can be granted it whole and nothing else.
 *
 * Only what can be fetched again is unlogged (staging and what is derived from it before the seal); a crash empties it,
 * and a run that finds fewer staged rows than its progress says reads its sources again. The slots are made here and
 * not at run time: a hub needs no right to create tables, and truncating leaves no bloat behind.
 */
const RUN = `
  create table recon.run (
    id uuid not null constraint run_pkey primary key,
    kind text not null,
    params_hash bytea not null,
    operator_id integer not null,
    rgs_id integer not null,
    window_from timestamptz,
    window_to timestamptz,
    business_date date,
    zone text not null default 'UTC',
    cutoff text not null default '00:00',
    as_of timestamptz not null,
    grace_seconds integer not null,
    hard_limit_seconds integer not null,
    pad_seconds integer not null,
    rules jsonb not null default '{}',
    slot smallint,
    state text not null default 'queued',
    lease_owner text,
    lease_until timestamptz,
    lease_token bigint not null default 0,
    buckets_done integer not null default 0,
    items_written boolean not null default false,
    counts jsonb,
    item_count bigint,
    csv_sha256 bytea,
    csv_bytes bigint,
    manifest jsonb,
    manifest_sha256 bytea,
    signature bytea,
    key_id text,
    error jsonb,
    idempotency_key text,
    schedule_id uuid,
    created_by text not null,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    legacy_sha256 bytea,
    list_shards smallint not null default 1,
    lost_leases integer not null default 0,
    lost_at text,
    constraint run_kind check (kind in ('legacy', 'adhoc', 'scheduled', 'cli')),
    constraint run_state check (state in (
      'queued', 'ingesting', 'matching', 'summarising', 'sealed', 'failed', 'cancelled'
    )),
    constraint run_window check (
      (window_from is null) = (window_to is null) and (window_from is null or window_from < window_to)
    ),
    constraint run_business_date check (business_date is null or window_from is not null),
    constraint run_slot check ((slot is not null) = (state in ('ingesting', 'matching', 'summarising'))),
    constraint run_finished check ((finished_at is not null) = (state in ('sealed', 'failed', 'cancelled'))),
    constraint run_sealed
      check (state <> 'sealed' or (items_written and counts is not null and item_count is not null)),
    constraint run_error check ((error is not null) = (state = 'failed')),
    constraint run_list_shards check (list_shards between 1 and 8)
  );
  create unique index run_single_flight on recon.run (params_hash)
    where state in ('queued', 'ingesting', 'matching', 'summarising');
  create unique index run_one_per_slot on recon.run (slot) where slot is not null;
  create unique index run_idempotency on recon.run (created_by, idempotency_key) where idempotency_key is not null;
  create index run_list on recon.run (created_at desc, id desc);
  create index run_business_date_done on recon.run (business_date, zone, cutoff) where business_date is not null;
  comment on column recon.run.params_hash
    is 'SHA-256 of everything that decides the result; equal runs that are alive are one run';
  comment on column recon.run.window_from is 'null with window_to: all time';
  comment on column recon.run.as_of is 'the moment at which ages are measured';
  comment on column recon.run.lease_token
    is 'fence: a writer for the run names the token under which it took the run';
  comment on column recon.run.legacy_sha256
    is 'of the six-column file, for runs of kind legacy; csv_sha256 is of the report';
  comment on column recon.run.list_shards
    is 'parts of the window in which the lists are read at once; the result does not depend on it';
  comment on column recon.run.lost_leases
    is 'leases in a row that expired at the same progress: the process died or lost touch';
  comment on column recon.run.lost_at is 'the progress at which the last lease expired: state, buckets, pages';
`;

const SOURCES = `
  create table recon.source_progress (
    run_id uuid not null constraint source_progress_run_fkey references recon.run (id) on delete cascade,
    source smallint not null,
    cursor text,
    pages bigint not null default 0,
    rows_seen bigint not null default 0,
    rows_staged bigint not null default 0,
    rows_rejected bigint not null default 0,
    rows_implied bigint not null default 0,
    totals jsonb not null default '{}',
    done boolean not null default false,
    high_water timestamptz,
    updated_at timestamptz not null default now(),
    shard smallint not null default 0,
    constraint source_progress_pkey primary key (run_id, source, shard),
    constraint source_progress_source check (source in (1, 2, 4)),
    constraint source_progress_sum check (rows_seen = rows_staged + rows_rejected)
  );
  comment on table recon.source_progress
    is 'where to resume a list; written in the transaction that stages the page';
  comment on column recon.source_progress.source is '1 RGS, 2 operator, 4 hub';
  comment on column recon.source_progress.rows_implied
    is 'rows that one of the list implies: an RGS that was notified of ROLLED_BACK knows the debit, too';
  comment on column recon.source_progress.totals is 'packed attributes to count and sum in minor units, '
    'added up before staging: what the seal is checked against';

  create table recon.reject (
    run_id uuid not null constraint reject_run_fkey references recon.run (id) on delete cascade,
    source smallint not null,
    n bigint not null,
    reason text not null,
    raw text not null,
    constraint reject_pkey primary key (run_id, source, n)
  );
  comment on table recon.reject is 'the first rows of a list that could not be matched with anything';
`;

const ITEM = `
  create table recon.item (
    run_id uuid not null constraint item_run_fkey references recon.run (id) on delete cascade,
    seq bigint not null,
    k uuid not null,
    leg text not null,
    class text not null,
    classes text[] not null,
    severity text not null,
    state text not null,
    reason text not null,
    next_action text not null,
    presence smallint not null,
    booked smallint not null,
    n_rgs integer not null,
    n_op integer not null,
    n_hub integer not null,
    ref_id text collate "C",
    corr text collate "C",
    player text collate "C",
    cur text collate "C",
    dir text collate "C",
    amt_rgs bigint,
    amt_op bigint,
    amt_hub bigint,
    difference numeric(38, 0),
    amt_raw_rgs text collate "C",
    amt_raw_op text collate "C",
    dir_raw_rgs text collate "C",
    dir_raw_op text collate "C",
    ref_rgs text collate "C",
    ref_op text collate "C",
    st_rgs text collate "C",
    st_op text collate "C",
    st_hub text collate "C",
    anchor_at timestamptz,
    business_date date,
    linked_corr text collate "C",
    outbox_id uuid,
    outbox_queue text,
    outbox_state text,
    exception_id uuid,
    exception_state text,
    first_seen_run uuid,
    constraint item_pkey primary key (run_id, seq),
    constraint item_leg check (leg in ('movement', 'undo')),
    constraint item_state check (state in ('broken', 'in_flight')),
    constraint item_classes check (class = classes[1])
  );
  create index item_key on recon.item (k);
  create index item_class on recon.item (run_id, class, seq);
  comment on table recon.item is 'what does not match, one row per key; never changed once written';
  comment on column recon.item.k is 'the correlation id as a uuid; of an undo leg, derived from it';
  comment on column recon.item.presence is 'who lists it at all: 1 RGS, 2 operator, 4 hub';
  comment on column recon.item.booked is 'who lists it as more than refused';
  comment on column recon.item.dir is 'debit, credit, or debit/credit where the sides differ; cur likewise';
  comment on column recon.item.amt_rgs is 'minor units; the smallest where a side lists it several times';
  comment on column recon.item.difference is 'booked at the operator less booked at the RGS, all copies counted; '
    'null where currencies or directions differ';
`;

const SUMMARY = `
  create table recon.summary (
    run_id uuid not null constraint summary_run_fkey references recon.run (id) on delete cascade,
    business_date date,
    cur text collate "C" not null,
    dir text not null,
    class text not null,
    state text not null,
    source smallint not null,
    n bigint not null,
    sum_minor numeric(38, 0) not null,
    constraint summary_state check (state in ('matched', 'broken', 'in_flight')),
    constraint summary_source check (source in (1, 2, 4))
  );
  create unique index summary_cell on recon.summary (run_id, business_date, cur, dir, class, state, source)
    nulls not distinct;
  comment on table recon.summary
    is 'bookings per side: class matched, or the class of the item that they belong to';
`;

const EXCEPTION = `
  create table recon.exception (
    id uuid not null constraint exception_pkey primary key,
    k uuid not null,
    class text not null,
    state text not null default 'open',
    severity text not null,
    operator_id integer not null,
    rgs_id integer not null,
    first_run uuid not null,
    last_run uuid not null,
    last_seq bigint,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    anchor_at timestamptz,
    cur text collate "C",
    amount_minor bigint,
    ref_id text collate "C",
    corr text collate "C",
    outbox_id uuid,
    outbox_queue text,
    owner text,
    due_at timestamptz,
    resolved_at timestamptz,
    resolution text,
    note text,
    version integer not null default 0,
    constraint exception_key unique (k, class),
    constraint exception_state check (state in ('open', 'auto_cleared', 'resolved', 'accepted', 'ignored'))
  );
  create index exception_open on recon.exception (first_seen, id) where state = 'open';
  create index exception_list on recon.exception (state, first_seen, id);
  comment on table recon.exception is 'a break over all runs that saw it';
  comment on column recon.exception.id
    is 'first 16 bytes of SHA-256 over key and class: the same break has the same id whatever came before it';
  comment on column recon.exception.last_seq
    is 'its line in last_run; null where that run could not place it in time';
`;

/** Append-only by a trigger that stands with its function, and rows are hashed over the one before. */
const ACTION = `
  create table recon.action (
    id bigint not null constraint action_pkey primary key,
    exception_id uuid constraint action_exception_fkey references recon.exception (id),
    run_id uuid,
    actor text not null,
    action text not null,
    reason_code text not null,
    note text,
    before jsonb,
    after jsonb,
    idem_key text constraint action_idem_key unique,
    at timestamptz not null,
    prev_hash bytea not null,
    hash bytea not null constraint action_hash_key unique
  );
  create index action_exception on recon.action (exception_id, id);
  comment on table recon.action
    is 'what people did about exceptions; append-only by trigger, each row hashed over the one before';
`;

const SCHEDULE = `
  create table recon.schedule (
    id uuid not null constraint schedule_pkey primary key,
    name text not null constraint schedule_name_key unique,
    cron text not null,
    zone text not null,
    cutoff text not null,
    grace_seconds integer not null,
    enabled boolean not null default true,
    catch_up_days integer not null default 7,
    last_business_date date,
    last_run uuid,
    last_error text,
    updated_by text not null,
    updated_at timestamptz not null default now(),
    created_at timestamptz not null default now()
  );
  comment on column recon.schedule.last_business_date
    is 'the last day that this schedule has sealed; the days after it are caught up';
`;

/** The partitions are emptied at once and never updated: autovacuum would only get in the way of a truncate. */
const staging = (slot: number): string => `
  create table recon.stage_${slot} (
    k uuid not null,
    amt bigint,
    attrs bigint not null,
    ts timestamptz,
    src smallint not null,
    flags smallint not null,
    undo boolean not null,
    cur text collate "C" not null,
    dir_raw text collate "C" not null,
    st_raw text collate "C" not null,
    ref_id text collate "C" not null,
    corr text collate "C" not null,
    amt_raw text collate "C" not null,
    player text collate "C" not null,
    row_id text collate "C"
  ) partition by hash (k);
  do $$ begin
    for n in 0 .. ${PARTITIONS - 1} loop
      execute format(
        'create unlogged table recon.stage_${slot}_%s partition of recon.stage_${slot}
           for values with (modulus ${PARTITIONS}, remainder %s) with (autovacuum_enabled = false)', n, n);
    end loop;
  end $$;
  create unlogged table recon.broken_${slot} (k uuid not null);
  create unlogged table recon.matched_${slot} (
    owned boolean not null,
    business_date date,
    attrs bigint not null,
    mask smallint not null,
    n bigint not null,
    sum_minor numeric(38, 0) not null
  );
  comment on table recon.matched_${slot}
    is 'keys that need no item, per bucket: alike on all three sides, or refused on every side of mask';
`;

const STAGING_COMMENTS = `
  comment on table recon.stage_0 is 'the rows of all three sides of the run in slot 0; of one shape with stage_1';
  comment on column recon.stage_0.src
    is '1 RGS, 2 operator, 4 hub, 8 an RGS row of the undo implies it, 16 of the hub with other partners';
  comment on column recon.stage_0.attrs
    is 'currency letters, 5 bits each; movement, 2 bits; status, 2 bits: equal numbers mean equal attributes';
  comment on column recon.stage_0.flags
    is '1 the status is no word that we know, 2 nor is the direction, 4 the currency does not fit into attrs';
`;

export class Reconciliation1798000000040 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('create schema recon');
    const tables = [RUN, SOURCES, ITEM, SUMMARY, EXCEPTION, ACTION, SCHEDULE];
    for (const sql of [...tables, ...SLOTS.map(staging), STAGING_COMMENTS]) await runner.query(sql);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop schema recon cascade');
  }
}
