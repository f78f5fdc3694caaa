import { query } from './stage';

/** Spread over as many weeks as a hub may keep messages. */
const WEEKS = 8;
const PLAYERS = 100_000;

/** Tables of which each settled debit leaves rows; the foreign keys and checks that they have stay on. */
const INDEXED = ['wallet_transaction', 'idempotency_key', 'wallet_event', 'wallet_outcome', 'wallet_round'] as const;

/** Part of the rows that is written after the last checkpoint, through the indexes, as time would write them. */
const SINCE_CHECKPOINT = 0.03;

export interface SettledRows {
  /** Writes most of them, indexes last, and then a checkpoint. */
  readonly bulk: () => Promise<void>;
  /** Writes the rest, which is what the hub would have written since that checkpoint. */
  readonly rest: () => Promise<void>;
}

/**
 * `count` settled debits as the hub leaves them: transaction, key, event, outcome and round, both messages and their
 * attempts, lanes that are idle, no heads. Keys, references and rounds are random, as most game servers make them, so
 * their indexes are filled all over. Rounds begin as those of the load do; in an index over texts all of its rounds
 * would else lie side by side. A random page is written whole to the WAL when it is first changed after a checkpoint:
 * right after one that is nearly every insert, later few.
 */
export async function settledRows(url: string, count: number, note: (text: string) => void): Promise<SettledRows> {
  const [{ operator, rgs } = { operator: 1, rgs: 2 }] = await query<{ operator: number; rgs: number }>(
    url,
    `select (select id from partner where code = 'operator') as operator, (select id from partner where code = 'rgs') as rgs`,
  );
  const bulkEnd = Math.round(count * (1 - SINCE_CHECKPOINT));
  return {
    bulk: async () => {
      const started = performance.now();
      const definitions = await query<{ define: string; drop: string }>(url, INDEXES, [INDEXED]);
      for (const { drop } of definitions) await query(url, drop);
      await query(url, HELPERS);
      await query(url, `select bench_past_weeks(${WEEKS})`);
      await rows(url, count, 1, bulkEnd, operator, rgs);
      for (const destination of [operator, rgs])
        await query(
          url,
          `insert into outbox_lane (destination_id, lane_key, last_seq, head_seq) select ${destination}, 'old-' || p, ${count} / ${PLAYERS} + 1, ${count} / ${PLAYERS} + 2 from generate_series(0, ${PLAYERS - 1}) p`,
        );
      const half = Math.ceil(definitions.length / 2);
      await Promise.all(
        [definitions.slice(0, half), definitions.slice(half)].map((part) =>
          inOrder(
            url,
            part.map(({ define }) => define),
          ),
        ),
      );
      await query(url, 'vacuum analyze');
      await query(url, 'checkpoint');
      const [size] = await query<{ bytes: string }>(url, 'select pg_database_size(current_database()) as bytes');
      note(
        `  ${bulkEnd} settled debits written in ${Math.round((performance.now() - started) / 1000)} s; the database has ${(Number(size?.bytes) / 1e9).toFixed(1)} GB`,
      );
    },
    rest: async () => {
      await rows(url, count, bulkEnd + 1, count, operator, rgs);
    },
  };
}

const INDEXES = `
  select case when k.oid is null then pg_get_indexdef(i.indexrelid) else format('alter table %I add constraint %I %s', c.relname, k.conname, pg_get_constraintdef(k.oid)) end as define,
    case when k.oid is null then format('drop index %I', x.relname) else format('alter table %I drop constraint %I', c.relname, k.conname) end as drop
  from pg_index i join pg_class c on c.oid = i.indrelid join pg_class x on x.oid = i.indexrelid left join pg_constraint k on k.conindid = i.indexrelid and k.contype in ('p', 'u')
  where c.relname = any ($1)`;

/** Two statements at a time: there are two cores. */
async function rows(
  url: string,
  count: number,
  from: number,
  to: number,
  operator: number,
  rgs: number,
): Promise<void> {
  await Promise.all([
    inOrder(url, [
      `insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, round_id, state, balance_minor, message_id, created_at, settled_at)
       select bench_id(n, 1, ${count}), ${operator}, ${rgs}, 'debit', 'old-' || n % ${PLAYERS}, 'old-' || n % ${PLAYERS}, md5('r' || n), 100 + n % 900, 'USD', 2, 'round-' || md5('o' || n), 'confirmed', 100000, bench_id(n, 2, ${count}), bench_at(n, ${count}), bench_at(n, ${count})
       from generate_series(${from}, ${to}) n`,
      `insert into idempotency_key (rgs_id, key, fingerprint, transaction_id, created_at) select ${rgs}, md5('k' || n), decode(md5('f' || n) || md5('g' || n), 'hex'), bench_id(n, 1, ${count}), bench_at(n, ${count}) from generate_series(${from}, ${to}) n`,
      `insert into wallet_event (transaction_id, n, at, kind, source, from_state, to_state, evidence)
       select bench_id(n, 1, ${count}), 1, bench_at(n, ${count}), 'transition', 'operator_response', 'initiated', 'confirmed', '{"status":200,"class":"applied","reason":null,"balance":"1000.00","attempt":1}' from generate_series(${from}, ${to}) n`,
      `insert into wallet_outcome (transaction_id, outcome, message_id, at) select bench_id(n, 1, ${count}), 'OK', bench_id(n, 3, ${count}), bench_at(n, ${count}) from generate_series(${from}, ${to}) n`,
      `insert into wallet_round (rgs_id, round_id, player_id, operator_id, opened_at, closed_at) select ${rgs}, 'round-' || md5('o' || n), 'old-' || n % ${PLAYERS}, ${operator}, bench_at(n, ${count}), bench_at(n, ${count}) from generate_series(${from}, ${to}) n`,
    ]),
    inOrder(
      url,
      [
        {
          kind: 2,
          destination: operator,
          type: 'debit',
          path: `'/v2/players/old-' || n % ${PLAYERS} || '/withdraw'`,
          body: `'{"amount":5.00,"currency":"USD","reference":"' || md5('r' || n) || '","correlationId":"' || bench_id(n, 1, ${count}) || '"}'`,
          class: 'applied',
        },
        {
          kind: 3,
          destination: rgs,
          type: 'outcome',
          path: `''`,
          body: `'{"playerId":"old-' || n % ${PLAYERS} || '","amountCents":500,"currency":"USD","status":"OK","event":"debit","refId":"' || md5('r' || n) || '","correlationId":"' || bench_id(n, 1, ${count}) || '","balanceCents":100000}'`,
          class: 'delivered',
        },
      ].flatMap(({ kind, destination, type, path, body, class: verdict }) => [
        `insert into outbox_message (id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, transaction_id, path, body, created_at)
         select bench_id(n, ${kind}, ${count}), ${destination}, ${operator}, ${rgs}, 'old-' || n % ${PLAYERS}, 1 + n / ${PLAYERS}, '${type}', bench_id(n, 1, ${count}), ${path}, ${body}, bench_at(n, ${count}) from generate_series(${from}, ${to}) n`,
        `insert into outbox_attempt (message_id, n, at, outcome, class, status, duration_ms, replica)
         select bench_id(n, ${kind}, ${count}), 1, bench_at(n, ${count}), 'sent', '${verdict}', 200, 12, 'host:1234:abcd' from generate_series(${from}, ${to}) n`,
      ]),
    ),
  ]);
}

async function inOrder(url: string, statements: readonly string[]): Promise<void> {
  for (const statement of statements)
    await query(
      url,
      `set synchronous_commit = off; set maintenance_work_mem = '1GB'; set work_mem = '64MB'; ${statement}`,
    );
}

/**
 * Ids are of version 7, one after the other in time; what they end in is the number, so that related rows find each
 * other without a join.
 */
const HELPERS = `
  create function bench_at(n bigint, total bigint) returns timestamptz language sql stable as $$
    select date_trunc('second', now() - interval '${WEEKS - 1} weeks' + (interval '${WEEKS - 1} weeks' * n / total))
  $$;
  create function bench_id(n bigint, kind integer, total bigint) returns uuid language sql stable as $$
    select (lpad(to_hex((extract(epoch from now() - interval '${WEEKS - 1} weeks') * 1000 + ${WEEKS - 1} * 604800000::numeric * n / total)::bigint), 12, '0') || '7' || lpad(to_hex(kind), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid
  $$;
  create function bench_past_weeks(p_weeks integer) returns void language plpgsql as $$
  declare v_week timestamptz;
  begin
    for w in 1 .. p_weeks loop
      v_week := (date_trunc('week', now() at time zone 'UTC') - w * interval '1 week') at time zone 'UTC';
      execute format('create table %I partition of outbox_message for values from (%L) to (%L)', 'outbox_message_' || to_char(v_week at time zone 'UTC', 'YYYYMMDD'), uuid_v7_floor(v_week), uuid_v7_floor(v_week + interval '1 week'));
      execute format('create table %I partition of outbox_attempt for values from (%L) to (%L)', 'outbox_attempt_' || to_char(v_week at time zone 'UTC', 'YYYYMMDD'), v_week, v_week + interval '1 week');
    end loop;
  end $$;`;
