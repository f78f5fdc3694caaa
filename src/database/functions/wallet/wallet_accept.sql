-- Accepts a batch of movements with their outbox messages in one commit. Verdict per row, in the order given:
--   created | replayed (same key and request, or same business key and data) | key_reused | reference_reused
--   try_again (its key was held, in this very batch, by a request that is refused and so leaves the key free)
--   rolled_back (the bet was rolled back before it came) | round_closed (a debit on a closed round)
--   other_player (a credit of a round whose bet was taken from another player of the operator; the transaction is
--   the bet)
--   signature_reused (the very signature, which version 1 binds to no route, made a movement of the other kind before)
--   created_unmatched (as created; only for rows with wants_match, whose round had no movement before)
-- A row with is_free is a bet that takes no money: it is confirmed here, and its message goes to the RGS instead of the
-- operator.
-- Every insert goes in the order of its unique index, so two batches with the same keys wait for each other at most one
-- way.
-- One plan for all batches: by itself the server plans again for each, since it knows the length of an array only then.
create or replace function wallet_accept(p_rows json)
 RETURNS TABLE(place integer, verdict text, transaction_id uuid)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
#variable_conflict use_column
declare
  v_created uuid[];
  v_now timestamptz := clock_timestamp();
  v_ids uuid[];
  v_has_free boolean;
  v_ends_round boolean;
  v_wants_match boolean;
  v_messages outbox_new_message[];
  v_unmatched uuid[];
begin
  with input as materialized (
    select * from rows from (json_to_recordset(p_rows) as (
      id uuid, operator_id integer, rgs_id integer, movement text, player_id text, external_player_id text, ref_id text,
      amount_minor bigint, currency text, exponent smallint, kind text, round_id text, round_closed boolean,
      game_id text, session_id text, meta text, message_id uuid, path text, body text, waited boolean, is_free boolean,
      warnings text[], wants_match boolean, idempotency_key text, fingerprint text, signature bigint,
      deadline_seconds double precision, external_ref text
    )) with ordinality as r
  ), new_key as (
    insert into idempotency_key (rgs_id, key, fingerprint, transaction_id)
    select rgs_id, idempotency_key, decode(fingerprint, 'hex'), id from input where idempotency_key is not null
    order by rgs_id, wallet_hash(idempotency_key), wallet_hash_long(idempotency_key, 1), id
    on conflict on constraint idempotency_key_pkey do nothing
    returning transaction_id
  ), created as (
    insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id,
      amount_minor, currency, exponent, kind, round_id, round_closed, game_id, session_id, meta, message_id, waited,
      warnings, state, settled_at, signature, deadline_at, external_ref)
    select id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent,
      kind, round_id, round_closed, game_id, session_id, meta::json, case when is_free then null else message_id end,
      waited, warnings, case when is_free then 'confirmed' else 'initiated' end, case when is_free then now() end,
      signature,
      case when deadline_seconds > 0 and is_free is not true then v_now + deadline_seconds * interval '1 second' end,
      external_ref
    from input i
    where (i.idempotency_key is null or exists (select 1 from new_key k where k.transaction_id = i.id))
      -- A value and not "exists", which the planner may answer by reading all rounds once.
      and not (i.movement = 'debit' and i.round_id is not null and coalesce((
        select r.closed_at is not null from wallet_round r
        where r.rgs_id = i.rgs_id and r.player_hash = wallet_hash(i.player_id)
          and r.player_round_hash = wallet_player_round_hash(i.round_id, i.player_id, i.operator_id)
          and r.round_id = i.round_id and r.player_id = i.player_id and r.operator_id = i.operator_id), false))
      and not (i.movement = 'credit' and i.round_id is not null and coalesce((
        select not bool_or(b.external_player_id = i.external_player_id) from wallet_transaction b
        where b.rgs_id = i.rgs_id and b.round_hash = wallet_hash(i.round_id) and b.round_id = i.round_id
          and b.player_id = i.player_id and b.operator_id = i.operator_id
          and b.movement = 'debit' and not b.tombstone), false))
      -- Beside the place in the index where the row itself will stand, so no other page is read. The order, of one row
      -- at most, is what names that index: by equal costs a plan that was made while the table was empty took another
      -- one, and read all movements of the RGS for each new one.
      and not coalesce((
        select o.signature = i.signature
        from wallet_transaction o, (
          select wallet_business_hash(i.ref_id, i.player_id,
            case i.movement when 'debit' then 'credit' else 'debit' end, i.operator_id) as hash offset 0
        ) other
        where o.rgs_id = i.rgs_id and o.ref_hash = wallet_hash(i.ref_id)
          and o.business_hash between other.hash and other.hash
        order by o.business_hash limit 1), false)
    order by rgs_id, wallet_hash(ref_id), wallet_business_hash(ref_id, player_id, movement, operator_id), id
    on conflict on constraint wallet_transaction_business_key do nothing
    returning id
  )
  -- The input is taken apart once: for a batch of small movements that is a good part of the work. The lane is the
  -- operator's own player: two RGSs that move one wallet share its order.
  select array_agg(i.id order by i.ordinality), coalesce(array_agg(c.id) filter (where c.id is not null), '{}'),
    coalesce(bool_or(i.is_free and c.id is not null), false), coalesce(bool_or(i.round_closed), false),
    coalesce(bool_or(i.wants_match), false),
    array_agg(row (
      i.message_id, i.operator_id, i.operator_id, i.rgs_id, i.external_player_id, i.movement, i.id, i.path, i.body,
      case when i.deadline_seconds > 0 then v_now + i.deadline_seconds * interval '1 second' end
    )::outbox_new_message) filter (where i.is_free is not true and c.id is not null)
  into v_ids, v_created, v_has_free, v_ends_round, v_wants_match, v_messages
  from input i left join created c on c.id = i.id;

  if v_messages is not null then
    perform outbox_enqueue(v_messages);
  end if;

  -- After the operator's lanes: settling takes the lanes of both in this order too.
  if v_has_free then
    perform outbox_enqueue(array_agg(row (
      r.message_id, r.rgs_id, r.operator_id, r.rgs_id, r.player_id, r.movement, r.id, '', r.body, null
    )::outbox_new_message))
    from json_to_recordset(p_rows) as r (id uuid, message_id uuid, operator_id integer, rgs_id integer, player_id text,
      movement text, body text, is_free boolean)
    where r.id = any (v_created) and r.is_free;
    insert into wallet_outcome (transaction_id, outcome, message_id)
    select r.id, 'OK', r.message_id from json_to_recordset(p_rows) as r (id uuid, message_id uuid, is_free boolean)
    where r.id = any (v_created) and r.is_free order by r.id;
  end if;

  if v_wants_match then
    with mine as materialized (
      select r.* from json_to_recordset(p_rows) as r (id uuid, rgs_id integer, round_id text, player_id text,
        operator_id integer, movement text, wants_match boolean)
      where round_id is not null and id = any (v_created)
    ), opened as (
      insert into wallet_round (rgs_id, round_id, player_id, operator_id)
      select rgs_id, round_id, player_id, operator_id from mine
      group by rgs_id, round_id, player_id, operator_id
      order by rgs_id, wallet_hash(player_id), wallet_player_round_hash(round_id, player_id, operator_id)
      on conflict on constraint wallet_round_pkey do nothing
      returning rgs_id, round_id, player_id, operator_id
    )
    select array_agg(m.id) into v_unmatched from mine m join opened using (rgs_id, round_id, player_id, operator_id)
    where m.wants_match and not exists (
      select 1 from mine d
      where d.movement = 'debit' and d.round_id = m.round_id and d.player_id = m.player_id and d.rgs_id = m.rgs_id
        and d.operator_id = m.operator_id);
    if v_unmatched is not null then
      update wallet_transaction set warnings = warnings || '{no_bet_in_round}' where id = any (v_unmatched);
    end if;
  else
    insert into wallet_round (rgs_id, round_id, player_id, operator_id)
    select rgs_id, round_id, player_id, operator_id
    from json_to_recordset(p_rows) as r (id uuid, rgs_id integer, round_id text, player_id text, operator_id integer)
    where round_id is not null and id = any (v_created)
    group by rgs_id, round_id, player_id, operator_id
    order by rgs_id, wallet_hash(player_id), wallet_player_round_hash(round_id, player_id, operator_id)
    on conflict on constraint wallet_round_pkey do nothing;
  end if;

  -- Which of them are open is asked of the rows that the key has found. As a condition of theirs it led the planner to
  -- wallet_round_open, which while the statistics know of few open rounds looks shorter than the key: each batch then
  -- read every open round there is.
  if v_ends_round then
    with closing as materialized (
      select w.rgs_id, w.player_hash, w.player_round_hash, w.closed_at
      from json_to_recordset(p_rows) as r (id uuid, rgs_id integer, round_id text, player_id text, operator_id integer,
        round_closed boolean)
      join wallet_round w on w.rgs_id = r.rgs_id and w.player_hash = wallet_hash(r.player_id)
        and w.player_round_hash = wallet_player_round_hash(r.round_id, r.player_id, r.operator_id)
        and w.round_id = r.round_id and w.player_id = r.player_id and w.operator_id = r.operator_id
      where r.round_closed and r.id = any (v_created)
      order by w.rgs_id, w.player_hash, w.player_round_hash for update of w
    )
    update wallet_round w set closed_at = now() from closing c
    where c.closed_at is null and w.rgs_id = c.rgs_id and w.player_hash = c.player_hash
      and w.player_round_hash = c.player_round_hash;
  end if;

  if cardinality(v_created) = cardinality(v_ids) then
    return query
    select n::integer - 1, case when id = any (v_unmatched) then 'created_unmatched' else 'created' end, id
    from unnest(v_ids) with ordinality e (id, n);
    return;
  end if;

  -- A repeat alone writes nothing, and its commit would not wait for the standby that the first one may not have
  -- reached.
  perform ensure_durable();

  -- The rest are repeats or conflicts. This is a later statement, so it sees what the winners of the unique constraints
  -- committed.
  return query
  with input as materialized (
    select o::integer - 1 as place, r.*
    from json_array_elements(p_rows) with ordinality as e (value, o),
         json_to_record(value) as r (
           id uuid, operator_id integer, rgs_id integer, movement text, player_id text, ref_id text,
           amount_minor bigint, currency text, kind text, round_id text, round_closed boolean, game_id text,
           idempotency_key text, fingerprint text, signature bigint, external_player_id text)
  ), judged as materialized (
    select i.place, i.id, i.rgs_id, i.idempotency_key, k.transaction_id as key_holder,
      case
        when i.id = any (v_unmatched) then 'created_unmatched'
        when i.id = any (v_created) then 'created'
        -- Rows are found by hash. One whose text differs has the place, and that is all there is to say about it.
        when k.transaction_id <> i.id and (k.key <> i.idempotency_key or k.fingerprint <> decode(i.fingerprint, 'hex'))
          then 'key_reused'
        when first.id is not null then 'replayed'
        when not same.movement then 'reference_reused'
        when t.tombstone then 'rolled_back'
        when t.id is null and exists (
          select 1 from wallet_transaction o
          where o.rgs_id = i.rgs_id and o.ref_hash = wallet_hash(i.ref_id)
            and o.business_hash = wallet_business_hash(i.ref_id, i.player_id,
              case i.movement when 'debit' then 'credit' else 'debit' end, i.operator_id)
            and o.signature = i.signature) then 'signature_reused'
        when t.id is null and i.movement = 'credit' then 'other_player'
        when t.id is null then 'round_closed'
        when t.amount_minor = i.amount_minor and t.currency = i.currency and t.kind = i.kind
          and t.round_closed = i.round_closed and t.round_id is not distinct from i.round_id
          and t.game_id is not distinct from i.game_id then 'replayed'
        else 'reference_reused'
      end as verdict,
      coalesce(first.id, case when same.movement then t.id end,
        case when t.id is null and i.movement = 'credit' then (
          select b.id from wallet_transaction b
          where b.rgs_id = i.rgs_id and b.round_hash = wallet_hash(i.round_id) and b.round_id = i.round_id
            and b.player_id = i.player_id and b.operator_id = i.operator_id and b.movement = 'debit' and not b.tombstone
          order by b.id limit 1) end) as answer_id
    from input i
    left join idempotency_key k
      on k.rgs_id = i.rgs_id and k.key_check = wallet_hash(i.idempotency_key)
      and k.key_hash = wallet_hash_long(i.idempotency_key, 1)
    -- Null when the key belongs to a request of this very batch that made no transaction either.
    left join wallet_transaction first on first.id = k.transaction_id and k.transaction_id <> i.id
    left join wallet_transaction t on t.rgs_id = i.rgs_id and t.ref_hash = wallet_hash(i.ref_id)
      and t.business_hash = wallet_business_hash(i.ref_id, i.player_id, i.movement, i.operator_id)
    cross join lateral (
      select t.ref_id = i.ref_id and t.player_id = i.player_id and t.movement = i.movement
        and t.operator_id = i.operator_id as movement) same
  ), adopted as (
    -- A new key on a known movement from now on stands for that movement.
    update idempotency_key k set transaction_id = j.answer_id from judged j
    where j.verdict = 'replayed' and k.rgs_id = j.rgs_id and k.key_check = wallet_hash(j.idempotency_key)
      and k.key_hash = wallet_hash_long(j.idempotency_key, 1) and k.transaction_id = j.id
  ), refused as (
    -- A refused request leaves its key free.
    delete from idempotency_key k using judged j
    where j.verdict in ('reference_reused', 'rolled_back', 'round_closed', 'signature_reused', 'other_player')
      and k.rgs_id = j.rgs_id and k.key_check = wallet_hash(j.idempotency_key)
      and k.key_hash = wallet_hash_long(j.idempotency_key, 1) and k.transaction_id = j.id
  )
  select j.place,
    case when j.verdict = 'key_reused' and exists (
        select 1 from judged h where h.id = j.key_holder
          and h.verdict in ('reference_reused', 'rolled_back', 'round_closed', 'signature_reused', 'other_player'))
      then 'try_again' else j.verdict end,
    case when j.verdict in ('created', 'created_unmatched') then j.id else j.answer_id end
  from judged j order by j.place;
end $function$;
