import { createHmac } from 'node:crypto';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../chaos/prng';
import { type Json, type WalkedOperation, walkOperations } from '../../test/support/openapi-walk';
import { Pool } from './pool';
import { exchange, rawCase } from './raw';
import { type Credentials, type FuzzRequest, nextRequest } from './requests';

export interface FuzzTarget {
  readonly url: string;
  readonly token: string;
  readonly secret: string;
  /**
   * Of the mock operator, where faults are armed and bookings planted so that there are breaks and parked money to work
   * on.
   */
  readonly operatorUrl: string;
  /** False once the hub's process has ended. */
  readonly alive: () => boolean;
}

export interface FuzzOptions {
  readonly seed: number;
  readonly requests: number;
  /** Past token and signature, and answered 2xx, that each operation must have. */
  readonly past: number;
  readonly good: number;
  /** After so long no more requests are made, and the quotas do not count: a busy machine is no fault of the hub. */
  readonly secondsMax?: number;
  readonly note: (text: string) => void;
}

export interface Finding {
  readonly kind: 'server_error' | 'hang' | 'leak' | 'malformed_answer' | 'hub_died' | 'coverage' | 'not_healthy';
  readonly what: string;
  readonly serial: number;
  readonly request: string;
  readonly answer: string;
}

export interface Coverage {
  readonly sent: number;
  /** Neither 401 nor 403. */
  readonly past: number;
  readonly good: number;
}

export interface FuzzReport {
  readonly seed: number;
  readonly requests: number;
  readonly raw: number;
  readonly seconds: number;
  readonly findings: readonly Finding[];
  readonly coverage: Readonly<Record<string, Coverage>>;
  readonly statuses: Readonly<Record<string, number>>;
}

const WORKERS = 16;
/** The longest wait that a request may ask for is 20 s. */
const DEADLINE_MS = 30_000;
/** A reconciliation waits for those before it. */
const HEAVY_DEADLINE_MS = 120_000;
const RAW_DEADLINE_MS = 10_000;
const RAW_SHARE = 0.05;
const FINDINGS_MAX = 20;
/** They begin runs, read whole lists or take everything away; the rest of the operations has more of the requests. */
const HEAVY: ReadonlySet<string> = new Set([
  'startRun',
  'retryRun',
  'cancelRun',
  'downloadReconciliationData',
  'downloadReportXlsx',
  'clearDatabase',
  'getMetrics',
]);
/** What must never reach a caller: stack lines, SQL, files of ours, names of our machinery. */
const LEAKS = [
  /^\s*at .*[:(]/m,
  /\.(?:ts|js|mjs):\d+/,
  /node_modules|\/dist\//,
  /\b(?:select|insert into|update|delete from)\b .*\b(?:from|values|set|where)\b/i,
  /QueryFailedError|TypeError|RangeError|ECONN|pg_|postgres/i,
];

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** Throws requests at a hub until the number is reached, and says what should not have happened. */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzReport> {
  return new Fuzzer(target, options).run();
}

class Fuzzer {
  private readonly root: Random;
  private readonly agent = new http.Agent({ keepAlive: true, maxSockets: WORKERS });
  private readonly credentials: Credentials;
  private readonly port: number;
  private readonly pool = new Pool();
  private readonly findings: Finding[] = [];
  private readonly counts = new Map<string, { sent: number; past: number; good: number }>();
  private readonly statuses = new Map<string, number>();
  private operations: readonly WalkedOperation[] = [];
  private documented = new Map<string, ReadonlySet<number>>();
  private serial = 0;
  private endsAt = Infinity;
  private raw = 0;

  constructor(
    private readonly target: FuzzTarget,
    private readonly options: FuzzOptions,
  ) {
    const { host, port } = new URL(target.url);
    this.root = new Random(options.seed);
    this.port = Number(port);
    this.credentials = { token: target.token, secret: target.secret, host };
  }

  async run(): Promise<FuzzReport> {
    const started = performance.now();
    const document = JSON.parse((await this.plain('GET', '/swagger-json')).text) as Json;
    this.operations = walkOperations(document);
    this.documented = new Map(
      Object.values(document.paths as Json).flatMap((methods: Json) =>
        Object.values(methods).map(
          (spec: Json) => [String(spec.operationId), new Set(Object.keys(spec.responses as Json).map(Number))] as const,
        ),
      ),
    );
    await this.prepare();
    this.endsAt = performance.now() + (this.options.secondsMax ?? Infinity) * 1000;
    // Whoever takes everything away comes last, so that the others find something.
    const [last, first] = [
      this.operations.filter(({ id }) => id === 'clearDatabase'),
      this.operations.filter(({ id }) => id !== 'clearDatabase'),
    ];
    const lastShare = Math.max(Math.ceil(this.options.past * 1.5), 10);
    await this.drive(first, Math.max(this.options.requests - lastShare, 1));
    await this.drive(last, this.options.requests);
    await this.stillHealthy();
    this.agent.destroy();
    const coverage = Object.fromEntries(this.operations.map(({ id }) => [id, this.countsOf(id)]));
    const isWhole = this.serial >= this.options.requests;
    for (const [id, { past, good }] of isWhole ? Object.entries(coverage) : [])
      if (past < this.options.past || good < this.options.good)
        this.found(
          'coverage',
          `${id}: ${past} of ${this.options.past} past token and signature, ${good} of ${this.options.good} answered 2xx`,
          '',
          '',
        );
    return {
      seed: this.options.seed,
      requests: this.serial,
      raw: this.raw,
      seconds: Math.round((performance.now() - started) / 1000),
      findings: this.findings,
      coverage,
      statuses: Object.fromEntries([...this.statuses].sort()),
    };
  }

  private async drive(operations: readonly WalkedOperation[], until: number): Promise<void> {
    let told = this.serial;
    const worker = async (): Promise<void> => {
      while (
        this.serial < until &&
        this.findings.length < FINDINGS_MAX &&
        this.target.alive() &&
        performance.now() < this.endsAt
      ) {
        const serial = this.serial++;
        if (serial - told >= 10_000) {
          told = serial;
          this.options.note(`${serial} requests, ${this.findings.length} findings`);
        }
        const random = this.root.fork(`request ${serial}`);
        if (random.chance(RAW_SHARE)) await this.sendRaw(random, serial);
        else await this.sendOne(random, this.choose(random, operations), serial);
      }
    };
    await Promise.all(Array.from({ length: WORKERS }, worker));
    if (!this.target.alive() && !this.findings.some(({ kind }) => kind === 'hub_died'))
      this.found('hub_died', "the hub's process ended", '', '');
  }

  /** Evenly, but those that lack their quota more often, and the heavy ones no more than that. */
  private choose(random: Random, operations: readonly WalkedOperation[]): WalkedOperation {
    if (random.chance(0.35)) {
      const lacking = operations.filter(
        ({ id }) =>
          this.countsOf(id).past < this.options.past * 1.05 + 5 ||
          this.countsOf(id).good < this.options.good * 1.05 + 1,
      );
      if (lacking.length > 0) return random.pick(lacking);
    }
    const light = operations.filter(({ id }) => !HEAVY.has(id));
    return random.pick(light.length > 0 ? light : operations);
  }

  private async sendOne(random: Random, operation: WalkedOperation, serial: number): Promise<void> {
    const request = nextRequest(random, operation, this.pool, this.credentials, serial);
    const counts = this.countsOf(operation.id);
    counts.sent += 1;
    try {
      const answer = await this.send(
        request.method,
        request.target,
        request.headers,
        request.body,
        HEAVY.has(operation.id) ? HEAVY_DEADLINE_MS : DEADLINE_MS,
      );
      this.count(answer.status);
      if (answer.status !== 401 && answer.status !== 403) counts.past += 1;
      if (answer.status >= 200 && answer.status < 300) counts.good += 1;
      this.judge(request, answer);
      if (answer.status >= 200 && answer.status < 300 && answer.type.startsWith('application/json'))
        this.pool.learn(operation.id, request.fields, JSON.parse(answer.text));
      // What a run is good for must be done while it is there.
      if (answer.status === 202 && (operation.id === 'startRun' || operation.id === 'retryRun') && random.chance(0.7)) {
        const cancel = this.operations.find(({ id }) => id === 'cancelRun');
        if (cancel !== undefined) await this.sendOne(random.fork('cancel'), cancel, serial);
      }
    } catch (error) {
      if (!this.target.alive()) return;
      this.found(
        error instanceof LateError ? 'hang' : 'malformed_answer',
        error instanceof Error ? error.message : String(error),
        told(request),
        '',
        serial,
      );
    }
  }

  private judge(request: FuzzRequest, { status, type, text }: Answer): void {
    const serial = this.serial;
    const is5xxAllowed =
      (status === 502 || status === 503) && this.documented.get(request.operation)?.has(status) === true;
    if (status >= 500 && !is5xxAllowed)
      this.found(
        'server_error',
        `${request.operation} answered ${status}`,
        told(request),
        text.slice(0, 2_000),
        serial,
      );
    if (status < 400) return;
    if (request.operation === 'getReadiness' && status === 503) return;
    const leak = LEAKS.find((pattern) => pattern.test(text.slice(0, 20_000)));
    if (leak !== undefined)
      this.found('leak', `the answer matches ${String(leak)}`, told(request), text.slice(0, 2_000), serial);
    if (request.method === 'HEAD') return;
    if (!type.startsWith('application/problem+json') || !isProblem(text, status))
      this.found(
        'malformed_answer',
        `${status} is no problem document (${type})`,
        told(request),
        text.slice(0, 2_000),
        serial,
      );
    if (text.length > 20_000)
      this.found(
        'malformed_answer',
        `a refusal of ${text.length} characters`,
        told(request),
        text.slice(0, 500),
        serial,
      );
  }

  private async sendRaw(random: Random, serial: number): Promise<void> {
    const made = rawCase(random, this.credentials.token);
    this.raw += 1;
    const { statuses, text, fault } = await exchange(made, this.port, RAW_DEADLINE_MS);
    if (!this.target.alive()) return;
    for (const status of statuses) this.count(status);
    const about = `raw ${made.name}: ${JSON.stringify(made.bytes.toString('latin1').slice(0, 500))}`;
    if (fault !== null)
      this.found(fault.includes('neither') ? 'hang' : 'malformed_answer', fault, about, text.slice(0, 1_000), serial);
    // 505 is what Node knows of versions, and says to nobody but those who name one.
    if (statuses.some((status) => status >= 500))
      this.found('server_error', `answered ${statuses.join(', ')}`, about, text.slice(0, 2_000), serial);
    if (statuses.every((status) => status >= 400)) {
      const leak = LEAKS.find((pattern) => pattern.test(text));
      if (leak !== undefined)
        this.found('leak', `the answer matches ${String(leak)}`, about, text.slice(0, 2_000), serial);
    }
  }

  /** Parked money, breaks between the books, and a sealed run: what most operations are about. */
  private async prepare(): Promise<void> {
    const parked = Math.min(Math.max(this.options.good * 3, 6), 60);
    await Promise.all(
      Array.from({ length: parked }, async (_, n) => {
        await control(this.target.operatorUrl, '/admin/faults', {
          kind: 'refuse',
          playerId: `parked-${n}`,
          direction: 'deposit',
        });
        await control(this.target.operatorUrl, '/admin/book', {
          playerId: `stray-${n}`,
          direction: 'deposit',
          amount: 5,
          currency: 'USD',
          reference: `stray-${n}`,
          correlationId: `stray-${n}`,
          createdAt: new Date(Date.now() - 3_600_000).toISOString(),
        });
        await this.signedPost(
          '/wallet/credit',
          Buffer.from(
            JSON.stringify({ playerId: `parked-${n}`, amountCents: 500, currency: 'USD', refId: `parked-${n}` }),
          ),
        );
      }),
    );
    await until('credits are parked', async () => {
      const { items } = JSON.parse((await this.plain('GET', '/admin/failed-transactions?limit=200')).text) as {
        items: Json[];
      };
      for (const item of items) this.pool.add('parked', item.transactionId);
      return items.length >= parked;
    });
    for (const kind of [0, 1]) {
      const { id } = JSON.parse((await this.plain('POST', '/v1/recon/runs', { graceSeconds: kind })).text) as {
        id: string;
      };
      await until(
        'a run is sealed',
        async () =>
          (JSON.parse((await this.plain('GET', `/v1/recon/runs/${id}`)).text) as { state: string }).state === 'sealed',
      );
      this.pool.add('sealed', id);
    }
    this.pool.learn(
      'listExceptions',
      undefined,
      JSON.parse((await this.plain('GET', '/v1/recon/exceptions?limit=100')).text),
    );
  }

  private async stillHealthy(): Promise<void> {
    if (!this.target.alive()) return;
    try {
      await until('the hub is ready', async () => (await this.plain('GET', '/health/ready')).status === 200);
      const body = Buffer.from(
        JSON.stringify({
          playerId: 'after',
          amountCents: 500,
          currency: 'USD',
          refId: `after-${this.options.seed}-${this.serial}`,
        }),
      );
      const { transactionId } = JSON.parse((await this.signedPost('/wallet/debit', body)).text) as {
        transactionId: string;
      };
      await until(
        'a bet is confirmed',
        async () =>
          (JSON.parse((await this.signedGet(`/wallet/transactions/${transactionId}`)).text) as { state: string })
            .state === 'confirmed',
      );
    } catch (error) {
      this.found('not_healthy', `afterwards: ${error instanceof Error ? error.message : String(error)}`, '', '');
    }
  }

  private plain(method: string, target: string, fields?: Json): Promise<Answer> {
    const body = fields === undefined ? undefined : Buffer.from(JSON.stringify(fields));
    return this.send(
      method,
      target,
      {
        Authorization: `Bearer ${this.credentials.token}`,
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      body,
    );
  }

  private async signedPost(target: string, body: Buffer): Promise<Answer> {
    const answer = await this.send(
      'POST',
      target,
      { ...signed(this.credentials, body), 'Content-Type': 'application/json' },
      body,
    );
    if (answer.status !== 200) throw new Error(`POST ${target} answered ${answer.status}: ${answer.text}`);
    return answer;
  }

  private signedGet(target: string): Promise<Answer> {
    return this.send('GET', target, signed(this.credentials, Buffer.alloc(0)), undefined);
  }

  private send(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Buffer | undefined,
    deadlineMs = DEADLINE_MS,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = http.request({
        host: '127.0.0.1',
        port: this.port,
        agent: this.agent,
        method,
        path,
        headers: { ...headers, ...(body === undefined ? {} : { 'Content-Length': String(body.length) }) },
      });
      const timer = setTimeout(() => request.destroy(new LateError(deadlineMs)), deadlineMs);
      request.on('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          clearTimeout(timer);
          resolve({
            status: response.statusCode ?? 0,
            type: response.headers['content-type'] ?? '',
            text: Buffer.concat(chunks).toString('utf8'),
          });
        });
      });
      request.end(body);
    });
  }

  private countsOf(id: string): { sent: number; past: number; good: number } {
    const known = this.counts.get(id) ?? { sent: 0, past: 0, good: 0 };
    this.counts.set(id, known);
    return known;
  }

  private count(status: number): void {
    this.statuses.set(String(status), (this.statuses.get(String(status)) ?? 0) + 1);
  }

  private found(kind: Finding['kind'], what: string, request: string, answer: string, serial = this.serial): void {
    this.findings.push({ kind, what, serial, request, answer });
    this.options.note(`FOUND ${kind}: ${what}\n  request ${serial}: ${request}\n  answer: ${answer}`);
  }
}

class LateError extends Error {
  constructor(deadlineMs: number) {
    super(`no whole answer within ${deadlineMs / 1000} s`);
  }
}

function signed({ token, secret }: Credentials, body: Buffer): Record<string, string> {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  return {
    Authorization: `Bearer ${token}`,
    'X-Timestamp': timestamp,
    'X-Signature': createHmac('sha256', secret).update(`${timestamp}:`).update(body).digest('hex'),
  };
}

function isProblem(text: string, status: number): boolean {
  try {
    const problem = JSON.parse(text) as Json;
    return (
      problem.status === status &&
      ['type', 'title', 'detail', 'code', 'outcome'].every((name) => typeof problem[name] === 'string') &&
      typeof problem.retryable === 'boolean'
    );
  } catch {
    return false;
  }
}

/** All that is needed to send it again by hand. */
function told({ operation, mode, method, target, headers, body }: FuzzRequest): string {
  return `${operation} (${mode}) ${method} ${target.slice(0, 500)} ${JSON.stringify(headers)} ${body === undefined ? '' : JSON.stringify(body.toString('latin1').slice(0, 1_500))}`;
}

async function control(url: string, path: string, body: Json): Promise<void> {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} of the mock answered ${response.status}: ${await response.text()}`);
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within 30 s: ${what}`);
    await delay(50);
  }
}
