import type { MigrationInterface, QueryRunner } from 'typeorm';

const ACCEPT = `
  -- Accepts a batch of movements with their outbox messages in one commit. Verdict per row, in the order given:
  --   created | replayed (same key and request, or same business key and data) | key_reused | reference_reused
  --   try_again (its key was held, in this very batch, by a request that is refused and so leaves the key free)
  --   rolled_back (the bet was rolled back before it came) | round_closed (a debit on a closed round)
  -- Every insert goes in the order of its unique index, so two batches with the same keys wait for each other at most one way.
  create or replace function wallet_accept(p_rows json) returns table (place integer, verdict text, transaction_id uuid)
  -- Every row is found by its key, whatever the statistics say: they are from a time when the tables were smaller.
  language plpgsql set enable_seqscan = off as $$
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
      select rgs_id, idempotency_key, decode(fingerprint, 'hex'), id from input where idempotency_key is not null
      order by rgs_id, wallet_hash(idempotency_key), wallet_hash_long(idempotency_key, 1), id
      on conflict on constraint idempotency_key_pkey do nothing
      returning transaction_id
    ), created as (
      insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent,
        kind, round_id, round_closed, game_id, session_id, meta, message_id, waited)
      select id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent,
        kind, round_id, round_closed, game_id, session_id, meta::json, message_id, waited
      from input i
      where (i.idempotency_key is null or exists (select 1 from new_key k where k.transaction_id = i.id))
        -- A value and not "exists", which the planner may answer by reading all rounds once.
        and not (i.movement = 'debit' and i.round_id is not null and coalesce((
          select r.closed_at is not null from wallet_round r
          where r.rgs_id = i.rgs_id and r.player_hash = wallet_hash(i.player_id) and r.player_round_hash = wallet_player_round_hash(i.round_id, i.player_id, i.operator_id)
            and r.round_id = i.round_id and r.player_id = i.player_id and r.operator_id = i.operator_id), false))
      order by rgs_id, wallet_hash(ref_id), wallet_business_hash(ref_id, player_id, movement, operator_id), id
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
    select rgs_id, round_id, player_id, operator_id
    from json_to_recordset(p_rows) as r (id uuid, rgs_id integer, round_id text, player_id text, operator_id integer)
    where round_id is not null and id = any (v_created)
    group by rgs_id, round_id, player_id, operator_id
    order by rgs_id, wallet_hash(player_id), wallet_player_round_hash(round_id, player_id, operator_id)
    on conflict on constraint wallet_round_pkey do nothing;

    -- Which of them are open is asked of the rows that the key has found. As a condition of theirs it led the planner to wallet_round_open,
    -- which while the statistics know of few open rounds looks shorter than the key: each batch then read every open round there is.
    with closing as materialized (
      select w.rgs_id, w.player_hash, w.player_round_hash, w.closed_at
      from json_to_recordset(p_rows) as r (id uuid, rgs_id integer, round_id text, player_id text, operator_id integer, round_closed boolean)
      join wallet_round w on w.rgs_id = r.rgs_id and w.player_hash = wallet_hash(r.player_id) and w.player_round_hash = wallet_player_round_hash(r.round_id, r.player_id, r.operator_id)
        and w.round_id = r.round_id and w.player_id = r.player_id and w.operator_id = r.operator_id
      where r.round_closed and r.id = any (v_created)
      order by w.rgs_id, w.player_hash, w.player_round_hash for update of w
    )
    update wallet_round w set closed_at = now() from closing c
    where c.closed_at is null and w.rgs_id = c.rgs_id and w.player_hash = c.player_hash and w.player_round_hash = c.player_round_hash;

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
          -- Rows are found by hash. One whose text differs has the place, and that is all there is to say about it.
          when k.transaction_id <> i.id and (k.key <> i.idempotency_key or k.fingerprint <> decode(i.fingerprint, 'hex')) then 'key_reused'
          when first.id is not null then 'replayed'
          when not same.movement then 'reference_reused'
          when t.tombstone then 'rolled_back'
          when t.id is null then 'round_closed'
          when t.amount_minor = i.amount_minor and t.currency = i.currency and t.kind = i.kind and t.round_closed = i.round_closed
            and t.round_id is not distinct from i.round_id and t.game_id is not distinct from i.game_id then 'replayed'
          else 'reference_reused'
        end as verdict,
        coalesce(first.id, case when same.movement then t.id end) as answer_id
      from input i
      left join idempotency_key k on k.rgs_id = i.rgs_id and k.key_check = wallet_hash(i.idempotency_key) and k.key_hash = wallet_hash_long(i.idempotency_key, 1)
      -- Null when the key belongs to a request of this very batch that made no transaction either.
      left join wallet_transaction first on first.id = k.transaction_id and k.transaction_id <> i.id
      left join wallet_transaction t on t.rgs_id = i.rgs_id and t.ref_hash = wallet_hash(i.ref_id)
        and t.business_hash = wallet_business_hash(i.ref_id, i.player_id, i.movement, i.operator_id)
      cross join lateral (select t.ref_id = i.ref_id and t.player_id = i.player_id and t.movement = i.movement and t.operator_id = i.operator_id as movement) same
    ), adopted as (
      -- A new key on a known movement from now on stands for that movement.
      update idempotency_key k set transaction_id = j.answer_id from judged j
      where j.verdict = 'replayed' and k.rgs_id = j.rgs_id and k.key_check = wallet_hash(j.idempotency_key) and k.key_hash = wallet_hash_long(j.idempotency_key, 1) and k.transaction_id = j.id
    ), refused as (
      -- A refused request leaves its key free.
      delete from idempotency_key k using judged j
      where j.verdict in ('reference_reused', 'rolled_back', 'round_closed')
        and k.rgs_id = j.rgs_id and k.key_check = wallet_hash(j.idempotency_key) and k.key_hash = wallet_hash_long(j.idempotency_key, 1) and k.transaction_id = j.id
    )
    select j.place,
      case when j.verdict = 'key_reused' and exists (select 1 from judged h where h.id = j.key_holder and h.verdict in ('reference_reused', 'rolled_back', 'round_closed')) then 'try_again' else j.verdict end,
      case when j.verdict = 'created' then j.id else j.answer_id end
    from judged j order by j.place;
  end $$;
`;

/** As it was before. */
const ACCEPT_BY_TEXT = `
  create or replace function wallet_accept(p_rows json) returns table (place integer, verdict text, transaction_id uuid) language plpgsql as $$
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
`;

/**
 * Game servers choose keys, references and rounds, so their indexes are in no order, and each movement touches a page of each that nothing
 * else needs just then. Over the texts such an index has some 70 bytes an entry; over hashes 28, so it fits into memory for longer.
 * The hashes decide where a row lies and the texts who it is: every look-up compares both. See docs/decisions/0066.
 * The tables are written anew, and nothing is accepted meanwhile.
 */
export class HashedKeys1796000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- Connections of the hub give up after a minute; ten million movements take several.
      set local statement_timeout = 0;

      create function wallet_hash(p_text text) returns integer language sql immutable parallel safe return hashtext(p_text);
      -- The seed must not be 0: half of the bits would be those of wallet_hash.
      create function wallet_hash_long(p_text text, p_seed bigint) returns bigint language sql immutable parallel safe return hashtextextended(p_text, p_seed);
      create function wallet_business_hash(p_ref_id text, p_player_id text, p_movement text, p_operator_id integer) returns bigint language sql immutable parallel safe
        return wallet_hash_long(p_ref_id, wallet_hash_long(p_player_id, wallet_hash_long(p_movement, p_operator_id)));
      create function wallet_player_round_hash(p_round_id text, p_player_id text, p_operator_id integer) returns bigint language sql immutable parallel safe
        return wallet_hash_long(p_round_id, wallet_hash_long(p_player_id, p_operator_id));

      drop index wallet_transaction_round;
      alter table wallet_transaction drop constraint wallet_transaction_business_key;
      alter table wallet_transaction
        add column business_hash bigint not null generated always as (wallet_business_hash(ref_id, player_id, movement, operator_id)) stored,
        add column ref_hash integer not null generated always as (wallet_hash(ref_id)) stored,
        add column round_hash integer generated always as (wallet_hash(round_id)) stored;
      alter table wallet_transaction add constraint wallet_transaction_business_key unique (rgs_id, ref_hash, business_hash);
      create index wallet_transaction_round on wallet_transaction (rgs_id, round_hash) where round_hash is not null;
      comment on column wallet_transaction.ref_hash is 'finds a refId; ref_id says whether it is the one';
      comment on column wallet_transaction.business_hash is 'over refId, player, movement and operator';

      alter table idempotency_key drop constraint idempotency_key_pkey;
      alter table idempotency_key
        add column key_hash bigint not null generated always as (wallet_hash_long(key, 1)) stored,
        add column key_check integer not null generated always as (wallet_hash(key)) stored;
      alter table idempotency_key add constraint idempotency_key_pkey primary key (rgs_id, key_check, key_hash);

      alter table wallet_round drop constraint wallet_round_pkey;
      alter table wallet_round
        add column player_round_hash bigint not null generated always as (wallet_player_round_hash(round_id, player_id, operator_id)) stored,
        add column player_hash integer not null generated always as (wallet_hash(player_id)) stored;
      alter table wallet_round add constraint wallet_round_pkey primary key (rgs_id, player_hash, player_round_hash);
      comment on column wallet_round.player_hash is 'comes first in the key, so that the rounds of a player lie together';
    `);
    await runner.query(ACCEPT);
    // TypeORM compares the expressions of an entity with these notes, and makes the table for them before it runs migrations.
    await runner.query(`
      insert into typeorm_metadata (type, database, schema, "table", name, value)
      select 'GENERATED_COLUMN', current_database(), 'public', 'wallet_transaction', name, value
      from (values ('ref_hash', 'wallet_hash(ref_id)'), ('business_hash', 'wallet_business_hash(ref_id, player_id, movement, operator_id)'), ('round_hash', 'wallet_hash(round_id)')) note (name, value)
    `);
    await runner.query('analyze wallet_transaction, idempotency_key, wallet_round');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(ACCEPT_BY_TEXT);
    await runner.query(
      `delete from typeorm_metadata where type = 'GENERATED_COLUMN' and "table" = 'wallet_transaction'`,
    );
    await runner.query(`
      set local statement_timeout = 0;
      alter table wallet_round drop constraint wallet_round_pkey, drop column player_hash, drop column player_round_hash;
      alter table wallet_round add constraint wallet_round_pkey primary key (rgs_id, round_id, player_id, operator_id);
      alter table idempotency_key drop constraint idempotency_key_pkey, drop column key_check, drop column key_hash;
      alter table idempotency_key add constraint idempotency_key_pkey primary key (rgs_id, key);
      drop index wallet_transaction_round;
      alter table wallet_transaction drop constraint wallet_transaction_business_key, drop column ref_hash, drop column business_hash, drop column round_hash;
      alter table wallet_transaction add constraint wallet_transaction_business_key unique (rgs_id, ref_id, player_id, movement, operator_id);
      create index wallet_transaction_round on wallet_transaction (rgs_id, round_id, id) where round_id is not null;
      drop function wallet_player_round_hash, wallet_business_hash, wallet_hash_long, wallet_hash;
    `);
  }
}
