import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { pgbench, query } from './stage';

/**
 * The rows of one accepted debit (key, transaction, lane, message, head) written by plain SQL, one transaction each.
 */
const INSERT_ONE = `
  create sequence bench_n;
  create function bench_insert_one() returns void language plpgsql as $$
  declare
    n bigint := nextval('bench_n'); v_id uuid := gen_random_uuid(); v_message uuid := gen_random_uuid(); v_player text := 'bench-' || n % 5000; v_seq bigint; v_head bigint;
  begin
    -- Ids of this week, so that messages land in the same partition as the hub's.
    v_id := overlay(v_id::text placing left(uuid_v7_floor(now())::text, 13) from 1 for 13)::uuid;
    v_message := overlay(v_message::text placing left(uuid_v7_floor(now())::text, 13) from 1 for 13)::uuid;
    insert into idempotency_key (rgs_id, key, fingerprint, transaction_id) values (2, 'bench-' || n, decode(md5(n::text) || md5(n::text), 'hex'), v_id);
    insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, round_id, message_id)
    values (v_id, 1, 2, 'debit', v_player, v_player, 'bench-' || n, 500, 'USD', 2, 'round-' || n, v_message);
    insert into outbox_lane as l (destination_id, lane_key, last_seq) values (1, v_player, 1)
    on conflict (destination_id, lane_key) do update set last_seq = l.last_seq + 1 returning last_seq, head_seq into v_seq, v_head;
    insert into outbox_message (id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, transaction_id, path, body)
    values (v_message, 1, 1, 2, v_player, v_seq, 'debit', v_id, '/v2/players/' || v_player || '/withdraw',
      '{"amount":5.00,"currency":"USD","reference":"bench-' || n || '","correlationId":"' || v_id || '"}');
    if v_seq = v_head then
      insert into outbox_head (message_id, destination_id, lane_key, lane_seq) values (v_message, 1, v_player, v_seq);
    end if;
  end $$;
  create procedure bench_insert_many(p_count integer) language plpgsql as $$
  begin
    for i in 1 .. p_count loop
      perform bench_insert_one();
      commit;
    end loop;
  end $$;`;

/** A driver that writes accepted debits one transaction each, with as many clients as the hub has callers. */
export interface CommitLimit {
  readonly name: string;
  readonly perSecond: (seconds: number) => Promise<number>;
}

export async function commitLimit(url: string, clients: number): Promise<CommitLimit> {
  await query(url, INSERT_ONE);
  const command = pgbench();
  return command === undefined
    ? {
        name: `SQL-only loop, ${clients} sessions, one transaction each`,
        perSecond: (seconds) => sqlOnly(url, clients, seconds),
      }
    : {
        name: `pgbench, ${clients} clients, one transaction each`,
        perSecond: (seconds) => byPgbench(command, url, clients, seconds),
      };
}

async function byPgbench(command: string, url: string, clients: number, seconds: number): Promise<number> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'hub-bench-'));
  try {
    const script = path.join(folder, 'insert.sql');
    writeFileSync(script, 'select bench_insert_one();\n');
    const { stdout } = await promisify(execFile)(command, [
      '-n',
      '-M',
      'prepared',
      '-f',
      script,
      '-c',
      String(clients),
      '-j',
      '2',
      '-T',
      String(seconds),
      url,
    ]);
    return Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Loops and commits inside the server: no client costs anything, so this limit is higher than any client's. */
async function sqlOnly(url: string, clients: number, seconds: number): Promise<number> {
  const connections = await Promise.all(
    Array.from({ length: clients }, async () => {
      const client = new Client({ connectionString: url });
      await client.connect();
      return client;
    }),
  );
  const started = performance.now();
  let done = 0;
  await Promise.all(
    connections.map(async (client) => {
      while (performance.now() - started < seconds * 1000) {
        await client.query('call bench_insert_many(50)');
        done += 50;
      }
    }),
  );
  const perSecond = done / ((performance.now() - started) / 1000);
  await Promise.all(connections.map((client) => client.end()));
  return perSecond;
}
