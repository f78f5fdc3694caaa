import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parse } from 'lossless-json';
import type { MockOperator } from '../../mocks/operator/start';
import type { MockRgs } from '../../mocks/rgs/start';
import type { HubSlot } from './hub-slot';
import { control } from './world';

export interface TransactionRow {
  readonly id: string;
  readonly movement: 'debit' | 'credit' | 'rollback';
  readonly player_id: string;
  readonly external_player_id: string;
  readonly ref_id: string;
  readonly amount_minor: string;
  readonly currency: string;
  readonly kind: string;
  readonly round_id: string | null;
  readonly round_closed: boolean;
  readonly state: string;
  readonly reason: string | null;
  readonly message_id: string | null;
  readonly original_id: string | null;
  readonly tombstone: boolean;
  readonly undo: string | null;
  readonly undo_message_id: string | null;
  readonly applied: boolean | null;
  readonly waited: boolean;
  readonly created_at: Date;
}

export interface EventRow {
  readonly transaction_id: string;
  readonly n: number;
  readonly at: Date;
  readonly kind: string;
  readonly source: string;
  readonly from_state: string;
  readonly to_state: string;
  readonly evidence: unknown;
}

export interface MessageRow {
  readonly id: string;
  readonly queue: 'operator' | 'rgs';
  readonly lane_key: string | null;
  readonly lane_seq: string | null;
  readonly event_type: string;
  readonly transaction_id: string | null;
  /** From here on it must not be sent: its deadline, or the moment when nobody wanted it any more. */
  readonly expires_at: Date | null;
}

export interface AttemptRow {
  readonly message_id: string;
  readonly n: number;
  readonly at: Date;
  readonly outcome: string;
  readonly class: string;
  readonly status: number | null;
  readonly error: string | null;
  readonly duration_ms: number | null;
  readonly replica: string;
}

export interface Booking {
  readonly playerId: string;
  readonly direction: 'withdraw' | 'deposit';
  readonly reference: string;
  readonly correlationId: string;
  readonly currency: string;
  readonly amountMinor: bigint;
}

export interface OperatorCall {
  readonly n: number;
  readonly at: number;
  readonly playerId: string;
  readonly direction: 'withdraw' | 'deposit';
  readonly reference: string | null;
  readonly idempotencyKey: string | null;
  readonly applied: boolean;
  readonly repeat: boolean;
  readonly fault: string | null;
  readonly status: number | null;
}

export interface Told {
  readonly playerId: string;
  readonly refId: string;
  readonly event: string;
  readonly status: string;
  readonly state: string;
  readonly currency: string;
  readonly amountCents: string;
  readonly transactionId: string;
  readonly correlationId: string;
  readonly idempotencyKey: string;
  readonly deliveries: number;
}

export interface RgsCall {
  readonly n: number;
  readonly at: number;
  readonly stored: boolean;
  readonly status: number | null;
  readonly headers: { readonly 'idempotency-key': string | null };
}

/** All that can be known about a run when it is over: the partners' own books and the hub's tables. */
export interface Facts {
  readonly transactions: readonly TransactionRow[];
  readonly events: readonly EventRow[];
  readonly outcomes: readonly {
    readonly transaction_id: string;
    readonly outcome: string;
    readonly message_id: string;
  }[];
  readonly messages: readonly MessageRow[];
  readonly attempts: readonly AttemptRow[];
  readonly heads: readonly {
    readonly message_id: string;
    readonly lane_key: string | null;
    readonly blocked: boolean;
    readonly leased: boolean;
  }[];
  readonly lanes: { readonly withoutHead: number; readonly waiting: number; readonly repaired: number };
  readonly dead: readonly { readonly message_id: string; readonly open: boolean; readonly error: string | null }[];
  readonly keys: readonly { readonly key: string; readonly transaction_id: string }[];
  readonly parked: readonly { readonly transaction_id: string; readonly reason: string | null }[];
  readonly rounds: readonly { readonly round_id: string; readonly player_id: string; readonly closed: boolean }[];
  readonly callbacks: readonly {
    readonly verdict: string;
    readonly ref_id: string;
    readonly correlation_id: string;
    readonly body: string;
    readonly seen: number;
    readonly first_at: Date;
  }[];
  readonly books: readonly Booking[];
  readonly operatorCalls: readonly OperatorCall[];
  readonly told: readonly Told[];
  readonly rgsCalls: readonly RgsCall[];
  readonly keyConflicts: number;
  readonly injected: {
    readonly operator: Readonly<Record<string, number>>;
    readonly rgs: Readonly<Record<string, number>>;
  };
  /** What the hubs logged as errors of their own, counted by event name. */
  readonly logged: Readonly<Record<string, number>>;
  /** The audit log's own verdict; null: whole. */
  readonly audit: string | null;
  readonly metrics: { readonly repairedLanes: number; readonly contradictions: number };
}

/** What is looked at: hubs, their database, and both partners. */
export interface Scene {
  readonly operator: MockOperator;
  readonly rgs: MockRgs;
  readonly hubs: readonly HubSlot[];
  readonly databaseUrl: string;
  query<T = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<T[]>;
}

export async function gatherFacts(world: Scene): Promise<Facts> {
  const [withoutHead] = await world.query<{ n: number }>(
    `select count(*)::integer as n from outbox_lane l where l.head_seq <= l.last_seq and not exists (select 1 from outbox_head h where h.destination_id = l.destination_id and h.lane_key = l.lane_key)`,
  );
  const [waiting] = await world.query<{ n: number }>(
    'select count(*)::integer as n from outbox_lane where head_seq <= last_seq and blocked_by is null',
  );
  const [repaired] = await world.query<{ n: number }>('select outbox_repair_lanes() as n');
  const rgsSummary = JSON.parse(await control(world.rgs.url, 'GET', '/admin/summary')) as {
    keyConflicts: number;
    faults: Record<string, number>;
  };
  const operatorSummary = JSON.parse(await control(world.operator.url, 'GET', '/admin/summary')) as {
    faults: Record<string, number>;
  };
  return {
    transactions: await world.query('select * from wallet_transaction order by id'),
    events: await world.query('select * from wallet_event order by transaction_id, n'),
    outcomes: await world.query('select * from wallet_outcome order by transaction_id, outcome'),
    messages: await world.query(
      'select m.id, d.queue, m.lane_key, m.lane_seq, m.event_type, m.transaction_id, m.expires_at from outbox_message m join outbox_destination d on d.id = m.destination_id order by m.id',
    ),
    attempts: await world.query('select * from outbox_attempt order by message_id, at'),
    heads: await world.query(
      `select message_id, lane_key, visible_at = 'infinity' as blocked, leased from outbox_head`,
    ),
    lanes: { withoutHead: withoutHead?.n ?? -1, waiting: waiting?.n ?? -1, repaired: repaired?.n ?? -1 },
    dead: await world.query('select message_id, open, error from outbox_dead'),
    keys: await world.query('select key, transaction_id from idempotency_key'),
    parked: await world.query('select transaction_id, reason from wallet_parked'),
    rounds: await world.query('select round_id, player_id, closed_at is not null as closed from wallet_round'),
    callbacks: await world.query(
      'select verdict, ref_id, correlation_id, body, seen, first_at from inbound_callback order by id',
    ),
    books: bookings(await control(world.operator.url, 'GET', '/v2/transactions')),
    operatorCalls: JSON.parse(await control(world.operator.url, 'GET', '/admin/calls')) as OperatorCall[],
    told: exactRows(await control(world.rgs.url, 'GET', '/webhooks')).map(
      (row) =>
        ({
          ...row,
          amountCents: String(row.amountCents),
          deliveries: Number(String(row.deliveries)),
        }) as unknown as Told,
    ),
    rgsCalls: JSON.parse(await control(world.rgs.url, 'GET', '/admin/calls')) as RgsCall[],
    keyConflicts: rgsSummary.keyConflicts,
    injected: { operator: operatorSummary.faults, rgs: rgsSummary.faults },
    logged: loggedErrors(world),
    audit: await verifyAudit(world),
    metrics: await metricsOf(world),
  };
}

/** Numbers keep their digits: no amount passes through a double. */
function exactRows(text: string): Record<string, unknown>[] {
  return parse(text) as Record<string, unknown>[];
}

function bookings(text: string): Booking[] {
  return exactRows(text).map((row) => {
    const currency = String(row.currency);
    return {
      playerId: String(row.playerId),
      direction: row.direction as Booking['direction'],
      reference: String(row.reference),
      correlationId: String(row.correlationId),
      currency,
      amountMinor: minorUnits(String(row.amount), currency),
    };
  });
}

/** Written here on purpose, not imported from src: a fault in the hub's arithmetic must not cancel itself out. */
function minorUnits(decimal: string, currency: string): bigint {
  const exponent = currency === 'JPY' ? 0 : currency === 'KWD' ? 3 : 2;
  const match = /^(\d+)(?:\.(\d+))?$/.exec(decimal);
  const [, whole = '', fraction = ''] = match ?? [];
  if (match === null || fraction.length > exponent) throw new Error(`${decimal} ${currency} is no exact amount`);
  return BigInt(whole + fraction.padEnd(exponent, '0'));
}

function loggedErrors(world: Scene): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { logFile } of world.hubs) {
    for (const line of fs.readFileSync(logFile, 'utf8').split('\n')) {
      const event = /"event":"([\w.]+)"/.exec(line)?.[1] ?? /"msg":"([\w.]+)"/.exec(line)?.[1];
      if (event === undefined) continue;
      const level = /"level":"?(\w+)"?/.exec(line)?.[1] ?? '';
      if (level === 'error' || level === '50' || level === 'fatal' || level === '60') {
        const code = /"code":"(\w+)"/.exec(line)?.[1];
        const name = code === undefined ? event : `${event} ${code}`;
        counts[name] = (counts[name] ?? 0) + 1;
      }
    }
  }
  return counts;
}

/** With the hub's own command, as ops would. */
function verifyAudit(world: Scene): Promise<string | null> {
  const script = [
    path.resolve(__dirname, '../../src/admin/verify-audit.js'),
    path.resolve(__dirname, '../../dist/src/admin/verify-audit.js'),
  ].find((file) => fs.existsSync(file));
  if (script === undefined) return Promise.resolve('the command to verify the audit log is not built');
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [script],
      { env: { PATH: process.env.PATH ?? '', DATABASE_URL: world.databaseUrl } },
      (error, stdout, stderr) => resolve(error === null ? null : `${stdout}${stderr}`.trim()),
    );
  });
}

async function metricsOf(world: Scene): Promise<Facts['metrics']> {
  let repairedLanes = 0;
  let contradictions = 0;
  for (const { url } of world.hubs) {
    const text = await (await fetch(`${url}/metrics`, { headers: { authorization: 'Bearer change_token' } })).text();
    repairedLanes += Number(/^hub_outbox_lanes_repaired_total (\d+)/m.exec(text)?.[1] ?? 0);
    contradictions += Number(/^hub_wallet_contradictions_total (\d+)/m.exec(text)?.[1] ?? 0);
  }
  return { repairedLanes, contradictions };
}
