import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Money movements. The state machine is a CHECK here and a table in wallet/transaction-state.ts; deduplication is decided by
 * two unique constraints, both permanent: the idempotency key and the business key.
 * The transaction's id is also the correlation id that partners see: one identifier finds a movement everywhere.
 */
export class CreateWallet1795000000003 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
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
        proven_absent boolean not null default false,
        applied boolean,
        waited boolean not null default false,
        created_at timestamptz not null default now(),
        settled_at timestamptz,
        constraint wallet_transaction_business_key unique (rgs_id, ref_id, player_id, movement, operator_id),
        constraint wallet_transaction_movement check (movement in ('debit', 'credit', 'rollback')),
        constraint wallet_transaction_undo check (undo is null or (undo in ('deadline', 'rollback') and movement = 'debit')),
        constraint wallet_transaction_tombstone check (not tombstone or (movement = 'debit' and state = 'rolled_back')),
        constraint wallet_transaction_original check ((movement = 'rollback') = (original_id is not null)),
        constraint wallet_transaction_message check (message_id is not null or tombstone or movement = 'rollback'),
        constraint wallet_transaction_kind check (kind in ('regular', 'free', 'promo', 'jackpot')),
        constraint wallet_transaction_amount check (amount_minor >= 0 and amount_minor <= 9007199254740991 and (movement <> 'debit' or amount_minor > 0 or tombstone)),
        constraint wallet_transaction_state check (state in ('initiated', 'confirmed', 'rejected', 'unknown', 'compensating', 'compensated', 'parked', 'rolling_back', 'rolled_back')),
        constraint wallet_transaction_settled_at check ((settled_at is not null) = (state in ('confirmed', 'rejected', 'compensated', 'rolling_back', 'rolled_back')))
      ) with (fillfactor = 85);
      comment on table wallet_transaction is 'no index names the state, so the usual change from initiated to confirmed stays on its page';
      comment on column wallet_transaction.original_id is 'of a rollback: the bet that it undoes';
      comment on column wallet_transaction.tombstone is 'the place of a bet that was rolled back before it came: the business key keeps the bet out';
      comment on column wallet_transaction.undo is 'why an applied bet must be paid back instead of confirmed';
      comment on column wallet_transaction.undo_message_id is 'the operator message that pays the bet back';
      comment on column wallet_transaction.applied is 'of a rollback: whether money was paid back; null while that is not known';
      comment on column wallet_transaction.absent_at is 'when the operator first said that it does not know the bet; a second time proves it';
      comment on column wallet_transaction.proven_absent is 'the operator said so twice, so one more send is safe; taken back before that send';
      comment on column wallet_transaction.waited is 'the RGS asked to wait for the outcome, so a repeat of its request answers with it';
      create index wallet_transaction_rollbacks on wallet_transaction (original_id) where original_id is not null;
      create index wallet_transaction_player on wallet_transaction (rgs_id, player_id, id);
      create index wallet_transaction_round on wallet_transaction (rgs_id, round_id, id) where round_id is not null;

      create table idempotency_key (
        rgs_id integer not null,
        key text not null,
        fingerprint bytea not null,
        transaction_id uuid not null,
        created_at timestamptz not null default now(),
        constraint idempotency_key_pkey primary key (rgs_id, key)
      );
      comment on column idempotency_key.fingerprint is 'SHA-256 of method, path and the raw body';

      create table wallet_round (
        rgs_id integer not null,
        round_id text not null,
        player_id text not null,
        operator_id integer not null,
        opened_at timestamptz not null default now(),
        closed_at timestamptz,
        constraint wallet_round_pkey primary key (rgs_id, round_id, player_id, operator_id)
      );
      create index wallet_round_open on wallet_round (opened_at) where closed_at is null;
      comment on table wallet_round is 'a round of one player; what happened in it is told by its transactions';

      create table wallet_parked (
        transaction_id uuid not null constraint wallet_parked_pkey primary key,
        at timestamptz not null default clock_timestamp(),
        reason text
      );
      comment on table wallet_parked is 'the transactions in state parked: a short list, so that finding them needs no index on the state';

      create table wallet_cursor (
        name text not null constraint wallet_cursor_pkey primary key,
        at timestamptz not null
      );
      comment on table wallet_cursor is 'up to when a periodic duty has looked at transactions';

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
        -- Every change writes an event in its own transaction, so a change along an arrow that does not exist is rolled back here.
        constraint wallet_event_arrow check (kind <> 'transition' or (from_state, to_state) in (
          ('initiated', 'confirmed'), ('initiated', 'rejected'), ('initiated', 'unknown'), ('initiated', 'compensating'), ('initiated', 'parked'),
          ('unknown', 'confirmed'), ('unknown', 'rejected'), ('unknown', 'compensating'), ('unknown', 'parked'),
          ('compensating', 'compensated'), ('compensating', 'parked'), ('confirmed', 'rolling_back'), ('rolling_back', 'rolled_back'), ('rolling_back', 'parked'),
          ('parked', 'confirmed'), ('parked', 'rejected'), ('parked', 'compensating'), ('parked', 'compensated'))),
        constraint wallet_event_source check (source in ('operator_response', 'operator_callback', 'operator_list', 'rgs', 'hub', 'admin'))
      );
      comment on table wallet_event is 'what changed a transaction after it was accepted, and what contradicted it; the acceptance itself is the row of the transaction';

      create table wallet_outcome (
        transaction_id uuid not null,
        outcome text not null,
        message_id uuid not null,
        at timestamptz not null default now(),
        constraint wallet_outcome_pkey primary key (transaction_id, outcome),
        constraint wallet_outcome_outcome check (outcome in ('OK', 'REJECTED', 'ROLLED_BACK'))
      );
      comment on table wallet_outcome is 'exactly one webhook to the RGS per outcome: the primary key decides';
    `);

    await runner.query(`
      -- Accepts a batch of movements with their outbox messages in one commit. Verdict per row, in the order given:
      --   created | replayed (same key and request, or same business key and data) | key_reused | reference_reused
      --   try_again (its key was held, in this very batch, by a request that is refused and so leaves the key free)
      --   rolled_back (the bet was rolled back before it came) | round_closed (a debit on a closed round)
      -- Every insert goes in sorted order, so two batches with the same keys wait for each other at most one way.
      create function wallet_accept(p_rows json) returns table (place integer, verdict text, transaction_id uuid) language plpgsql as $$
      #variable_conflict use_column
      declare
        v_created uuid[];
      begin
        with input as materialized (
          select * from json_to_recordset(p_rows) as r (id uuid, operator_id integer, rgs_id integer, movement text, player_id text, external_player_id text,
            ref_id text, amount_minor bigint, currency text, exponent smallint, kind text, round_id text, round_closed boolean, game_id text, session_id text,
            meta text, message_id uuid, waited boolean, idempotency_key text, fingerprint text)
        ), new_key as (
          insert into idempotency_key (rgs_id, key, fingerprint, transaction_id)
          select rgs_id, idempotency_key, decode(fingerprint, 'hex'), id from input where idempotency_key is not null order by rgs_id, idempotency_key, id
          on conflict on constraint idempotency_key_pkey do nothing
          returning transaction_id
        ), created as (
          insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent,
            kind, round_id, round_closed, game_id, session_id, meta, message_id, waited)
          select id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent,
            kind, round_id, round_closed, game_id, session_id, meta::json, message_id, waited
          from input i
          where (i.idempotency_key is null or exists (select 1 from new_key k where k.transaction_id = i.id))
            and not (i.movement = 'debit' and i.round_id is not null and exists (
              select 1 from wallet_round r where r.rgs_id = i.rgs_id and r.round_id = i.round_id and r.player_id = i.player_id and r.operator_id = i.operator_id and r.closed_at is not null))
          order by rgs_id, ref_id, player_id, movement, operator_id, id
          on conflict on constraint wallet_transaction_business_key do nothing
          returning id
        )
        select coalesce(array_agg(id), '{}') into v_created from created;

        -- The lane is the operator's own player: two RGSs that move one wallet share its order.
        perform outbox_enqueue(array_agg(row (r.message_id, r.operator_id, r.operator_id, r.rgs_id, r.external_player_id, r.movement, r.id, r.path, r.body,
            case when r.deadline_seconds > 0 then clock_timestamp() + r.deadline_seconds * interval '1 second' end)::outbox_new_message))
        from json_to_recordset(p_rows) as r (id uuid, message_id uuid, operator_id integer, rgs_id integer, external_player_id text, movement text, path text, body text, deadline_seconds double precision)
        where r.id = any (v_created)
        having count(*) > 0;

        insert into wallet_round (rgs_id, round_id, player_id, operator_id)
        select distinct rgs_id, round_id, player_id, operator_id
        from json_to_recordset(p_rows) as r (id uuid, rgs_id integer, round_id text, player_id text, operator_id integer)
        where round_id is not null and id = any (v_created)
        order by rgs_id, round_id, player_id, operator_id
        on conflict on constraint wallet_round_pkey do nothing;

        with closing as materialized (
          select w.rgs_id, w.round_id, w.player_id, w.operator_id
          from json_to_recordset(p_rows) as r (id uuid, rgs_id integer, round_id text, player_id text, operator_id integer, round_closed boolean)
          join wallet_round w on w.rgs_id = r.rgs_id and w.round_id = r.round_id and w.player_id = r.player_id and w.operator_id = r.operator_id
          where r.round_closed and r.id = any (v_created) and w.closed_at is null
          order by w.rgs_id, w.round_id, w.player_id, w.operator_id for update of w
        )
        update wallet_round w set closed_at = now() from closing c
        where w.rgs_id = c.rgs_id and w.round_id = c.round_id and w.player_id = c.player_id and w.operator_id = c.operator_id;

        if cardinality(v_created) = json_array_length(p_rows) then
          return query select o::integer - 1, 'created'::text, (value ->> 'id')::uuid from json_array_elements(p_rows) with ordinality as e (value, o);
          return;
        end if;

        -- The rest are repeats or conflicts. This is a later statement, so it sees what the winners of the unique constraints committed.
        return query
        with input as materialized (
          select o::integer - 1 as place, r.*
          from json_array_elements(p_rows) with ordinality as e (value, o),
               json_to_record(value) as r (id uuid, operator_id integer, rgs_id integer, movement text, player_id text, ref_id text, amount_minor bigint,
                 currency text, kind text, round_id text, round_closed boolean, game_id text, idempotency_key text, fingerprint text)
        ), judged as materialized (
          select i.place, i.id, i.rgs_id, i.idempotency_key, k.transaction_id as key_holder,
            case
              when i.id = any (v_created) then 'created'
              when k.transaction_id is not null and k.transaction_id <> i.id and k.fingerprint <> decode(i.fingerprint, 'hex') then 'key_reused'
              when first.id is not null then 'replayed'
              when t.tombstone then 'rolled_back'
              when t.id is null then 'round_closed'
              when t.amount_minor = i.amount_minor and t.currency = i.currency and t.kind = i.kind and t.round_closed = i.round_closed
                and t.round_id is not distinct from i.round_id and t.game_id is not distinct from i.game_id then 'replayed'
              else 'reference_reused'
            end as verdict,
            coalesce(first.id, t.id) as answer_id
          from input i
          left join idempotency_key k on k.rgs_id = i.rgs_id and k.key = i.idempotency_key
          -- Null when the key belongs to a request of this very batch that made no transaction either.
          left join wallet_transaction first on first.id = k.transaction_id and k.transaction_id <> i.id
          left join wallet_transaction t on t.rgs_id = i.rgs_id and t.ref_id = i.ref_id and t.player_id = i.player_id
            and t.movement = i.movement and t.operator_id = i.operator_id
        ), adopted as (
          -- A new key on a known movement from now on stands for that movement.
          update idempotency_key k set transaction_id = j.answer_id from judged j
          where j.verdict = 'replayed' and k.rgs_id = j.rgs_id and k.key = j.idempotency_key and k.transaction_id = j.id
        ), refused as (
          -- A refused request leaves its key free.
          delete from idempotency_key k using judged j
          where j.verdict in ('reference_reused', 'rolled_back', 'round_closed') and k.rgs_id = j.rgs_id and k.key = j.idempotency_key and k.transaction_id = j.id
        )
        select j.place,
          case when j.verdict = 'key_reused' and exists (select 1 from judged h where h.id = j.key_holder and h.verdict in ('reference_reused', 'rolled_back', 'round_closed')) then 'try_again' else j.verdict end,
          case when j.verdict = 'created' then j.id else j.answer_id end
        from judged j order by j.place;
      end $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop function wallet_accept;
      drop table wallet_outcome, wallet_event, wallet_cursor, wallet_parked, wallet_round, idempotency_key, wallet_transaction;
    `);
  }
}
