import { createHash, createHmac } from 'node:crypto';
import { currencyExponent, toMajorUnits } from '../../src/kernel/money';
import type { Random } from '../chaos/prng';
import type { Json, WalkedOperation } from '../../test/support/openapi-walk';
import type { Pool } from './pool';
import { damaged, hostileJson, hostileText } from './values';

/**
 * valid: as the document says, with ids that exist. near: that with one thing wrong. hostile: anything, but signed and
 * with a token. stranger: without one of the two.
 */
export type Mode = 'valid' | 'near' | 'hostile' | 'stranger';

export interface FuzzRequest {
  readonly operation: string;
  readonly mode: Mode;
  readonly method: string;
  /** Path and query; visible ASCII. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
  /** The body before it was written, where it is one JSON object. */
  readonly fields: Json | undefined;
}

export interface Credentials {
  readonly token: string;
  readonly secret: string;
  readonly host: string;
}

const MODES: Readonly<Record<Mode, number>> = { valid: 40, near: 32, hostile: 24, stranger: 4 };

/** Makes the next request to an operation. */
export function nextRequest(
  random: Random,
  operation: WalkedOperation,
  pool: Pool,
  credentials: Credentials,
  serial: number,
): FuzzRequest {
  const mode = random.weighted(MODES);
  const parts = partsOf(random, operation, pool, serial);
  let body: Buffer | undefined;
  if (operation.body !== undefined) {
    if (mode === 'valid' || mode === 'stranger') body = Buffer.from(JSON.stringify(parts.fields));
    else if (mode === 'near') body = Buffer.from(nearBody(random, operation, parts.fields ?? {}));
    else
      body = random.chance(0.4)
        ? damaged(random, JSON.stringify(parts.fields))
        : Buffer.from(hostileBody(random, operation));
  } else if (mode === 'hostile' && operation.method !== 'GET' && random.chance(0.3))
    body = Buffer.from(hostileJson(random));
  if (mode === 'near' && (operation.body === undefined || random.chance(0.3))) spoilParameter(random, operation, parts);
  if (mode === 'hostile')
    for (const parameter of operation.parameters)
      if (parameter.in !== 'header' && random.chance(0.5)) parts.values.set(parameter.name, hostileText(random));
  if (mode !== 'valid' && random.chance(0.1)) parts.query.push([hostileText(random), hostileText(random)]);
  const target = targetOf(operation, parts);
  return {
    operation: operation.id,
    mode,
    method: operation.method,
    target,
    headers: headersOf(random, operation, mode, parts, target, body, credentials),
    body,
    fields: parts.fields,
  };
}

interface Parts {
  readonly values: Map<string, string>;
  readonly query: [string, string][];
  readonly fields: Json | undefined;
}

/** What makes a request of this operation a good one. The ids of the operation's neighbours stand in the pool. */
function partsOf(random: Random, operation: WalkedOperation, pool: Pool, serial: number): Parts {
  const values = new Map<string, string>();
  const query: [string, string][] = [];
  for (const parameter of operation.parameters) {
    if (parameter.in === 'path')
      values.set(parameter.name, pathValue(random, operation, parameter.name, pool) ?? textOf(parameter.sample));
    if (parameter.in === 'query' && (parameter.required || random.chance(0.25))) {
      const choices = parameter.schema.enum as unknown[] | undefined;
      values.set(parameter.name, choices === undefined ? textOf(parameter.sample) : textOf(random.pick(choices)));
    }
  }
  if (operation.id === 'listTransactions') values.set('playerId', `player-${random.integer(1, 40)}`);
  if (operation.id === 'listTransactions')
    for (const name of ['cursor', 'refId', 'correlationId', 'roundId']) values.delete(name);
  if (operation.path.endsWith('s') || operation.id === 'listOutboxRecords') values.delete('cursor');
  if (operation.id === 'downloadReconciliationData') {
    // Of all time it is a run over everything that the fuzzing has made; now and then that is enough.
    for (const name of ['run', 'from', 'to', 'tz', 'cutoff', 'grace', 'raw']) values.delete(name);
    if (random.chance(0.6)) values.set('run', 'latest');
    else if (random.chance(0.97)) {
      const minute = String(random.integer(10, 59));
      values.set('from', `2001-01-01T00:${minute}:00Z`);
      values.set('to', '2001-01-01T01:00:00Z');
    }
  }
  return { values, query, fields: fieldsOf(random, operation, pool, serial) };
}

function pathValue(random: Random, operation: WalkedOperation, name: string, pool: Pool): string | undefined {
  switch (name) {
    case 'transactionId':
      return operation.method === 'PATCH' ? pool.take('parked') : pool.some(random, 'transaction');
    case 'roundId':
      return pool.some(random, 'round');
    case 'queue':
      return 'rgs';
    case 'recordId':
      return pool.some(random, 'outbox:rgs');
    case 'code':
      return random.pick(['rgs', 'operator']);
    case 'exceptionId':
      return pool.some(random, 'exception');
    case 'name':
      return `fuzz-${random.integer(1, 6)}`;
    case 'runId':
      if (operation.id === 'cancelRun') return pool.take('fresh');
      if (operation.id === 'retryRun') return pool.some(random, 'cancelled');
      return pool.some(random, 'sealed');
    case 'otherId':
      return pool.some(random, 'sealed');
    default:
      return undefined;
  }
}

function fieldsOf(random: Random, operation: WalkedOperation, pool: Pool, serial: number): Json | undefined {
  if (operation.body === undefined) return undefined;
  const sample = structuredClone(random.pick(operation.bodySamples));
  switch (operation.id) {
    case 'debit':
    case 'credit':
      return {
        ...sample,
        playerId: `player-${random.integer(1, 40)}`,
        refId: `fuzz-${serial}`,
        ...(sample.roundId === undefined
          ? {}
          : { roundId: `round-${random.integer(1, 400)}`, roundClosed: random.chance(0.05) }),
      };
    case 'rollback': {
      const bet = pool.movements.length === 0 ? undefined : random.pick(pool.movements);
      return {
        playerId: bet?.playerId ?? 'player-1',
        refId: `undo-${serial}`,
        originalRefId: bet?.refId ?? 'never',
        reason: 'fuzz',
      };
    }
    case 'receiveOperatorCallback': {
      const known = pool.movements.length === 0 ? undefined : random.pick(pool.movements);
      if (known === undefined) return sample;
      const { playerId, amountCents, currency, refId, transactionId, movement } = known;
      return {
        playerId,
        amount: toMajorUnits(BigInt(amountCents), currencyExponent(currency, {})),
        currency,
        status: 'OK',
        event: movement === 'debit' ? 'withdraw' : 'deposit',
        refId,
        correlationId: transactionId,
      };
    }
    case 'resolveFailedTransaction':
      return { resolution: random.pick(['applied', 'not_applied', 'applied', 'retry']), reason: 'fuzz resolves it' };
    case 'resolveFailedTransactions':
      return {
        ids: [pool.some(random, 'parked') ?? sample.ids?.[0]],
        resolution: 'applied',
        reason: 'fuzz looks',
        dryRun: true,
      };
    case 'actOnException':
      return {
        action: random.pick(['comment', 'assign', 'comment']),
        reasonCode: 'fuzz',
        note: 'fuzz was here',
        owner: 'fuzz',
      };
    case 'actOnExceptions':
      return {
        action: 'comment',
        reasonCode: 'fuzz',
        note: 'fuzz was here',
        ids: [pool.some(random, 'exception') ?? '5f1b2c3d-4e5f-8a6b-9c7d-8e9f0a1b2c3d'],
        dryRun: random.chance(0.7),
      };
    case 'startRun':
      return {
        from: `2001-01-${String(random.integer(10, 28))}T00:00:00Z`,
        to: `2001-02-${String(random.integer(10, 28))}T00:00:0${random.integer(0, 9)}Z`,
        dryRun: true,
      };
    case 'putSchedule':
      return {
        cron: `${random.integer(0, 59)} ${random.integer(0, 23)} * * *`,
        zone: random.pick(['UTC', 'Europe/Malta', 'Asia/Beirut']),
        enabled: false,
      };
    default:
      return sample;
  }
}

/** The body as it should be, but for one of its fields. */
function nearBody(random: Random, operation: WalkedOperation, fields: Json): string {
  const names = Object.keys(operation.body?.properties ?? fields);
  const name = random.pick(names.length === 0 ? ['x'] : names);
  const members = Object.entries(fields)
    .filter(([key]) => key !== name)
    .map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  switch (random.weighted({ hostile: 6, missing: 1, twice: 1, unknown: 1, cased: 1 })) {
    case 'hostile':
      return `{${[...members, `${JSON.stringify(name)}:${hostileJson(random)}`].join(',')}}`;
    case 'missing':
      return `{${members.join(',')}}`;
    case 'twice':
      return `{${[...members, `${JSON.stringify(name)}:1`, `${JSON.stringify(name)}:2`].join(',')}}`;
    case 'unknown':
      return `{${[...members, `${JSON.stringify(hostileText(random))}:${hostileJson(random)}`].join(',')}}`;
    case 'cased':
      return `{${[...members, `${JSON.stringify(name.toUpperCase())}:1`].join(',')}}`;
  }
}

function hostileBody(random: Random, operation: WalkedOperation): string {
  if (random.chance(0.3)) return hostileJson(random);
  return `{${Object.keys(operation.body?.properties ?? {})
    .filter(() => random.chance(0.8))
    .map((name) => `${JSON.stringify(name)}:${hostileJson(random)}`)
    .join(',')}}`;
}

function spoilParameter(random: Random, operation: WalkedOperation, { values, query }: Parts): void {
  const candidates = operation.parameters.filter((parameter) => parameter.in !== 'header');
  if (candidates.length === 0) return void query.push([hostileText(random), 'x']);
  const { name } = random.pick(candidates);
  if (random.chance(0.15)) query.push([name, hostileText(random)]);
  else values.set(name, hostileText(random));
}

function targetOf({ path, parameters }: WalkedOperation, { values, query }: Parts): string {
  const filled = path.replace(/\{(\w+)\}/g, (_all, name: string) => encoded(values.get(name) ?? '') || '%20');
  const named = parameters
    .filter((parameter) => parameter.in === 'query' && values.has(parameter.name))
    .map(({ name }): [string, string] => [name, values.get(name) ?? '']);
  const pairs = [...named, ...query].map(([name, value]) => `${encoded(name)}=${encoded(value)}`);
  // Node refuses what is longer before the hub could; raw.ts sends that.
  return `${filled}${pairs.length === 0 ? '' : `?${pairs.join('&')}`}`.slice(0, 12_000);
}

/** As a URL carries it; half of a surrogate pair goes as its three bytes, and some escapes as they are. */
function encoded(text: string): string {
  if (/^%[\w%]*$/.test(text)) return text;
  return text.isWellFormed() ? encodeURIComponent(text) : '%ed%a0%80';
}

function headersOf(
  random: Random,
  operation: WalkedOperation,
  mode: Mode,
  { fields }: Parts,
  target: string,
  body: Buffer | undefined,
  { token, secret, host }: Credentials,
): Record<string, string> {
  const headers: Record<string, string> = { Host: host };
  if (!operation.open && !(mode === 'stranger' && random.chance(0.5))) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined)
    headers['Content-Type'] =
      mode === 'hostile' && random.chance(0.05)
        ? random.pick(['text/plain', 'application/json; charset=latin1', 'application/xml', 'a/b;;;'])
        : 'application/json';
  if (operation.method !== 'GET' && random.chance(0.6))
    headers['Idempotency-Key'] =
      mode === 'valid' ? `key-${String(fields?.refId ?? random.integer(1, 1e9))}` : headerText(random);
  if (operation.parameters.some(({ name }) => name === 'Prefer') && random.chance(0.05))
    headers.Prefer = random.pick(['wait=1', 'wait=0', 'wait=-1', 'wait=1.5', 'respond-async', 'wait', '"wait=1"']);
  if (mode !== 'valid' && random.chance(0.1))
    headers[
      random.pick([
        'X-Request-Id',
        'If-None-Match',
        'Accept-Encoding',
        'Prefer-Not',
        'Range',
        'X-Operator',
        'X-Forwarded-For',
        'Accept',
      ])
    ] = headerText(random);
  if (operation.signed && !(mode === 'stranger' && random.chance(0.5)))
    Object.assign(
      headers,
      signatureOf(random, secret, {
        method: operation.method,
        target,
        host,
        idempotencyKey: headers['Idempotency-Key'] ?? '',
        operator: headers['X-Operator'] ?? '',
        body: body ?? Buffer.alloc(0),
      }),
    );
  return headers;
}

function signatureOf(
  random: Random,
  secret: string,
  {
    method,
    target,
    host,
    idempotencyKey,
    operator,
    body,
  }: { method: string; target: string; host: string; idempotencyKey: string; operator: string; body: Buffer },
): Record<string, string> {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  if (random.chance(0.5))
    return {
      'X-Timestamp': timestamp,
      'X-Signature': createHmac('sha256', secret).update(`${timestamp}:`).update(body).digest('hex'),
    };
  const text = [
    'hub-v2',
    timestamp,
    method,
    host,
    target,
    idempotencyKey,
    operator,
    createHash('sha256').update(body).digest('hex'),
  ].join('\n');
  return {
    'X-Signature-V2': `t=${timestamp},kid=env,v2=${createHmac('sha256', secret).update(text, 'latin1').digest('hex')}`,
  };
}

/** What a header may hold at all. */
function headerText(random: Random): string {
  const text = hostileText(random)
    .replace(/[^\x20-\x7e\x80-\xff]/g, '')
    .trim();
  return text.slice(0, 2_000);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? '');
}
