import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Movements of money. The state machine is a CHECK here and a table in wallet/transaction-state.ts. Duplicates are
 * decided by two unique constraints, both permanent: the idempotency key and the business key.
 * The transaction's id is also the correlation id that partners see: one identifier finds a movement everywhere.
 *
 * Game servers choose keys, references and rounds, so an index over them is in no order and each movement touches pages
 * of it that nothing else needs just then. Over hashes it is two fifths as large and stays in memory longer: the hashes
 * decide where a row lies and the texts who it is, so every look-up compares both. See docs/decisions/0066.
 */

/** Generated columns use them: their values are stored and indexed, so they never change. */
const STORAGE_FUNCTIONS = `
  create function wallet_hash(p_text text) returns integer language sql immutable parallel safe
    return hashtext(p_text);
  comment on function wallet_hash is 'Where a text lies in an index; the text itself says which it is.';

  create function wallet_hash_long(p_text text, p_seed bigint) returns bigint language sql immutable parallel safe
    return hashtextextended(p_text, p_seed);
  comment on function wallet_hash_long
    is 'As wallet_hash, over more bits. The seed must not be 0: half of the bits would be those of wallet_hash.';

  create function wallet_business_hash(p_ref_id text, p_player_id text, p_movement text, p_operator_id integer)
  returns bigint language sql immutable parallel safe
    return wallet_hash_long(p_ref_id, wallet_hash_long(p_player_id, wallet_hash_long(p_movement, p_operator_id)));
  comment on function wallet_business_hash is 'Of the business key: what makes two movements the same.';

  create function wallet_player_round_hash(p_round_id text, p_player_id text, p_operator_id integer)
  returns bigint language sql immutable parallel safe
    return wallet_hash_long(p_round_id, wallet_hash_long(p_player_id, p_operator_id));
  comment on function wallet_player_round_hash is 'Of the key of a round, which belongs to one player.';
`;

/** Vacuum and analyze come before a table that only grows has grown by a fifth, which at ten million rows is two. */
const TRANSACTION = `
  create table wallet_transaction (
    id uuid not null constraint wallet_transaction_pkey primary key,
    operator_id integer not null,
    rgs_id integer not null,
    movement text not null,
    player_id text not null,
    external_player_id text not null,
    ref_id text not null,
    amount_minor bigint not null,
    currency text not null,
    exponent smallint not null,
    kind text not null default 'regular',
    round_id text,
    round_closed boolean not null default false,
    game_id text,
    session_id text,
    meta json,
    state text not null default 'initiated',
    balance_minor bigint,
    reason text,
    message_id uuid,
    original_id uuid,
    tombstone boolean not null default false,
    undo text,
    undo_message_id uuid,
    absent_at timestamptz,
    applied boolean,
    waited boolean not null default false,
    created_at timestamptz not null default now(),
    settled_at timestamptz,
    business_hash bigint not null
      generated always as (wallet_business_hash(ref_id, player_id, movement, operator_id)) stored,
    ref_hash integer not null generated always as (wallet_hash(ref_id)) stored,
    round_hash integer generated always as (wallet_hash(round_id)) stored,
    deadline_at timestamptz,
    signature bigint,
    reason_code text,
    warnings text[],
    external_ref text,
    constraint wallet_transaction_business_key unique (rgs_id, ref_hash, business_hash),
    constraint wallet_transaction_movement check (movement in ('debit', 'credit', 'rollback')),
    constraint wallet_transaction_undo
      check (undo is null or (undo in ('deadline', 'rollback') and movement = 'debit')),
    constraint wallet_transaction_tombstone
      check (not tombstone or (movement = 'debit' and state = 'rolled_back')),
    constraint wallet_transaction_original check ((movement = 'rollback') = (original_id is not null)),
    constraint wallet_transaction_message check (
      message_id is not null or tombstone or movement = 'rollback'
      or (movement = 'debit' and kind in ('free', 'promo'))
    ),
    constraint wallet_transaction_kind check (kind in ('regular', 'free', 'promo', 'jackpot')),
    constraint wallet_transaction_amount check (
      amount_minor >= 0 and amount_minor <= 9007199254740991
      and (movement <> 'debit' or amount_minor > 0 or tombstone or kind in ('free', 'promo'))
    ),
    constraint wallet_transaction_state check (state in (
      'initiated', 'confirmed', 'rejected', 'unknown', 'compensating', 'compensated', 'parked',
      'rolling_back', 'rolled_back'
    )),
    constraint wallet_transaction_settled_at
      check ((settled_at is not null) = (state in ('confirmed', 'rejected', 'compensated', 'rolled_back')))
  ) with (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.01
  );
  create index wallet_transaction_rollbacks on wallet_transaction (original_id) where original_id is not null;
  create index wallet_transaction_player on wallet_transaction (rgs_id, player_id, id);
  create index wallet_transaction_round on wallet_transaction (rgs_id, round_hash) where round_hash is not null;
  create index wallet_transaction_created_at on wallet_transaction
    using brin (created_at) with (pages_per_range = 32, autosummarize = on);
  create index wallet_transaction_undo_message on wallet_transaction (undo_message_id)
    where undo_message_id is not null;
  create unique index wallet_transaction_external_ref on wallet_transaction (operator_id, movement, external_ref)
    where external_ref is not null;
`;

const TRANSACTION_COMMENTS = `
  comment on table wallet_transaction
    is 'no index names the state, so the usual change from initiated to confirmed stays on its page';
  comment on column wallet_transaction.original_id is 'of a rollback: the bet that it undoes';
  comment on column wallet_transaction.tombstone
    is 'the place of a bet that was rolled back before it came: the business key keeps the bet out';
  comment on column wallet_transaction.undo is 'why an applied bet must be paid back instead of confirmed';
  comment on column wallet_transaction.undo_message_id is 'the operator message that pays the bet back';
  comment on column wallet_transaction.applied
    is 'of a rollback: whether money was paid back; null while that is not known';
  comment on column wallet_transaction.absent_at
    is 'when the first question began to which the operator said that it does not know the bet';
  comment on column wallet_transaction.waited
    is 'the RGS asked to wait for the outcome, so a repeat of its request answers with it';
  comment on column wallet_transaction.ref_hash is 'finds a refId; ref_id says whether it is the one';
  comment on column wallet_transaction.business_hash is 'over refId, player, movement and operator';
  comment on column wallet_transaction.deadline_at
    is 'from here on a bet must not be sent any more; frozen when it was accepted, null = never';
  comment on column wallet_transaction.signature is 'first 8 bytes of the X-Signature that it came with: '
    'the same one is no good for a movement of the other kind';
  comment on column wallet_transaction.reason_code
    is 'the hub''s own word for why it was refused, whatever the operator calls it';
  comment on column wallet_transaction.warnings is 'what the first answer warned of, so that a repeat says the same';
  comment on column wallet_transaction.external_ref is 'what the operator knows it by, where that is not ref_id';
`;

/** TypeORM compares the expressions of the entity with these notes. It makes their table before it runs migrations. */
const TYPEORM_NOTES = `
  insert into typeorm_metadata (type, database, schema, "table", name, value)
  select 'GENERATED_COLUMN', current_database(), 'public', 'wallet_transaction', name, value
  from (values
    ('ref_hash', 'wallet_hash(ref_id)'),
    ('business_hash', 'wallet_business_hash(ref_id, player_id, movement, operator_id)'),
    ('round_hash', 'wallet_hash(round_id)')
  ) note (name, value)
`;

const IDEMPOTENCY_KEY = `
  create table idempotency_key (
    rgs_id integer not null,
    key text not null,
    fingerprint bytea not null,
    transaction_id uuid not null,
    created_at timestamptz not null default now(),
    key_hash bigint not null generated always as (wallet_hash_long(key, 1)) stored,
    key_check integer not null generated always as (wallet_hash(key)) stored,
    constraint idempotency_key_pkey primary key (rgs_id, key_check, key_hash)
  ) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
  comment on column idempotency_key.fingerprint is 'SHA-256 of method, path and the raw body';
`;

const ROUND = `
  create table wallet_round (
    rgs_id integer not null,
    round_id text not null,
    player_id text not null,
    operator_id integer not null,
    opened_at timestamptz not null default now(),
    closed_at timestamptz,
    player_round_hash bigint not null
      generated always as (wallet_player_round_hash(round_id, player_id, operator_id)) stored,
    player_hash integer not null generated always as (wallet_hash(player_id)) stored,
    constraint wallet_round_pkey primary key (rgs_id, player_hash, player_round_hash)
  ) with (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.01
  );
  create index wallet_round_open on wallet_round (opened_at) where closed_at is null;
  comment on table wallet_round is 'a round of one player; its transactions say what happened in it';
  comment on column wallet_round.player_hash is 'comes first in the key, so that the rounds of a player lie together';
`;

/** A change of state writes its event in the same transaction, so one along an arrow that does not exist fails here. */
const EVENT = `
  create table wallet_event (
    transaction_id uuid not null,
    n integer not null,
    at timestamptz not null default clock_timestamp(),
    kind text not null,
    source text not null,
    from_state text not null,
    to_state text not null,
    evidence json not null default '{}',
    constraint wallet_event_pkey primary key (transaction_id, n),
    constraint wallet_event_kind check (kind in ('transition', 'contradiction')),
    constraint wallet_event_arrow check (kind <> 'transition' or (from_state, to_state) in (
      ('initiated', 'confirmed'), ('initiated', 'rejected'), ('initiated', 'unknown'),
      ('initiated', 'compensating'), ('initiated', 'parked'),
      ('unknown', 'confirmed'), ('unknown', 'rejected'), ('unknown', 'compensating'), ('unknown', 'parked'),
      ('compensating', 'compensated'), ('compensating', 'parked'),
      ('confirmed', 'rolling_back'), ('rolling_back', 'rolled_back'), ('rolling_back', 'parked'),
      ('parked', 'confirmed'), ('parked', 'rejected'), ('parked', 'compensating'), ('parked', 'compensated')
    )),
    constraint wallet_event_source
      check (source in ('operator_response', 'operator_callback', 'operator_list', 'rgs', 'hub', 'admin'))
  ) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
  comment on table wallet_event is 'what changed a transaction after it was accepted, and what contradicted it; '
    'the acceptance itself is the row of the transaction';
`;

const OUTCOME_AND_LISTS = `
  create table wallet_outcome (
    transaction_id uuid not null,
    outcome text not null,
    message_id uuid not null,
    at timestamptz not null default now(),
    constraint wallet_outcome_pkey primary key (transaction_id, outcome),
    constraint wallet_outcome_outcome check (outcome in ('OK', 'REJECTED', 'ROLLED_BACK'))
  ) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
  comment on table wallet_outcome is 'exactly one webhook to the RGS per outcome: the primary key decides';

  create table wallet_parked (
    transaction_id uuid not null constraint wallet_parked_pkey primary key,
    at timestamptz not null default clock_timestamp(),
    reason text
  );
  comment on table wallet_parked
    is 'the transactions in state parked: a short list, so that finding them needs no index on the state';

  create table wallet_cursor (
    name text not null constraint wallet_cursor_pkey primary key,
    at timestamptz not null
  );
  comment on table wallet_cursor is 'up to when a periodic duty has looked at transactions';
`;

/**
 * What operators tell the hub, kept as received: evidence, deduplication, and another chance for one that came early.
 */
const INBOUND_CALLBACK = `
  create table inbound_callback (
    id bigint generated always as identity constraint inbound_callback_pkey primary key,
    operator_id integer not null,
    body_sha256 bytea not null,
    body text not null,
    ref_id text not null,
    correlation_id text not null,
    verdict text not null,
    transaction_id uuid,
    seen integer not null default 1,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    constraint inbound_callback_body_key unique (operator_id, body_sha256),
    constraint inbound_callback_verdict
      check (verdict in ('applied', 'repeated', 'contradicted', 'mismatched', 'undecided', 'unmatched'))
  );
  create index inbound_callback_unmatched on inbound_callback (id) where verdict = 'unmatched';
`;

export class Wallet1798000000030 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const sql of [
      STORAGE_FUNCTIONS,
      TRANSACTION,
      TRANSACTION_COMMENTS,
      TYPEORM_NOTES,
      IDEMPOTENCY_KEY,
      ROUND,
      EVENT,
      OUTCOME_AND_LISTS,
      INBOUND_CALLBACK,
    ])
      await runner.query(sql);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop table inbound_callback, wallet_cursor, wallet_parked, wallet_outcome, wallet_event, wallet_round,
        idempotency_key, wallet_transaction;
      drop function wallet_player_round_hash, wallet_business_hash, wallet_hash_long, wallet_hash;
      delete from typeorm_metadata where type = 'GENERATED_COLUMN' and "table" = 'wallet_transaction';
    `);
  }
}
