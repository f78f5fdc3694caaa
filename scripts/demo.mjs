// `npm run demo`: sends 50 bets and 50 wins through a running stack and proves that each was booked and notified once.
// Exit code 0 only when all 100 are confirmed, each reached the operator once and the RGS once, and nothing is
// mismatched.
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

const PLAYERS = 10;
const ROUNDS_PER_PLAYER = 5;
const WEBHOOK_DEADLINE_MS = 60_000;
const REQUEST_TIMEOUT_MS = 10_000;
// The CSV of a stack with a long history takes longer than any other answer.
const RECONCILIATION_TIMEOUT_MS = 120_000;
const POLL_MS = 100;

const env = (name, fallback) => process.env[name] || fallback;
const url = {
  hub: env('HUB_URL', 'http://localhost:8000').replace(/\/+$/, ''),
  operator: env('OPERATOR_URL', 'http://localhost:8001').replace(/\/+$/, ''),
  rgs: env('RGS_URL', 'http://localhost:8002').replace(/\/+$/, ''),
};
const bearer = env('BEARER_TOKEN', 'change_token');
const token = { rgs: env('RGS_TOKEN', bearer), finance: env('FINANCE_TOKEN', bearer) };
const secret = env('HMAC_SECRET', 'change_secret');

/** What the person at the terminal can fix; the message says how. */
class DemoError extends Error {}

// Unique, so that the demo runs on a stack that holds data, also its own of an earlier run.
const run = `demo-${Date.now().toString(36)}-${randomBytes(3).toString('hex')}`;

main().then(
  (isGood) => (process.exitCode = isGood ? 0 : 1),
  (error) => {
    process.stderr.write(`\n${error instanceof DemoError ? error.message : (error?.stack ?? error)}\n`);
    process.exitCode = 1;
  },
);

async function main() {
  await checkStack();
  const before = { operator: await callCount(url.operator), rgs: await callCount(url.rgs) };
  const movements = planMovements();
  process.stdout.write(`Run ${run}: ${PLAYERS * ROUNDS_PER_PLAYER} bets and as many wins of ${PLAYERS} players.\n`);

  await sendAll(movements);
  await awaitWebhooks(movements, before.rgs);
  const reconciliation = await reconcile();
  await collectEvidence(movements, before.operator);
  return report(movements, reconciliation);
}

async function checkStack() {
  await knock('hub', `${url.hub}/health/ready`, 'HUB_URL');
  await knock('mock operator', `${url.operator}/admin/settings`, 'OPERATOR_URL');
  await knock('mock RGS', `${url.rgs}/admin/settings`, 'RGS_URL');
}

async function knock(name, address, variable) {
  let answer;
  try {
    answer = await fetch(address, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
    await answer.arrayBuffer();
  } catch (error) {
    throw new DemoError(
      `The ${name} does not answer at ${address} (${reasonOf(error)}).\nStart the stack in another terminal with "npm start" or "docker compose up --build", or set ${variable}.`,
    );
  }
  if (!answer.ok)
    throw new DemoError(
      `The ${name} answers ${answer.status} at ${address}; it is not ready, or ${variable} names something else.`,
    );
}

/** Per player a bet and its win, round after round, in the order in which they are to be sent. */
function planMovements() {
  const movements = [];
  for (let player = 1; player <= PLAYERS; player += 1) {
    for (let round = 1; round <= ROUNDS_PER_PLAYER; round += 1) {
      const base = { playerId: `${run}-player-${player}`, currency: 'USD', roundId: `${run}-p${player}-r${round}` };
      movements.push(
        planned('debit', { ...base, refId: `${base.roundId}-bet`, amountCents: 100 + 7 * player + round }),
      );
      movements.push(
        planned('credit', {
          ...base,
          refId: `${base.roundId}-win`,
          amountCents: 150 + 11 * player + round,
          roundClosed: true,
        }),
      );
    }
  }
  return movements;
}

function planned(movement, body) {
  return {
    movement,
    body,
    sentAt: 0,
    acceptMs: null,
    transactionId: null,
    fault: null,
    state: null,
    bookings: 0,
    operatorCalls: 0,
    webhooks: [],
    notifiedAt: null,
  };
}

/** Players side by side, the movements of one player one after the other, as a game server sends them. */
async function sendAll(movements) {
  const progress = new Progress('sent', movements.length);
  const sendInOrder = async (playerId) => {
    for (const movement of movements.filter(({ body }) => body.playerId === playerId)) {
      await send(movement);
      progress.step();
    }
  };
  await Promise.all([...new Set(movements.map(({ body }) => body.playerId))].map(sendInOrder));
  progress.end();
  const refused = movements.find(({ fault }) => fault !== null);
  if (refused === undefined) return;
  const hint =
    refused.fault.startsWith('401') || refused.fault.startsWith('403')
      ? '\nSet RGS_TOKEN (or BEARER_TOKEN) and HMAC_SECRET to those of the stack.'
      : '';
  if (movements.every(({ fault }) => fault !== null))
    throw new DemoError(`The hub took none of the movements. The first answer: ${refused.fault}${hint}`);
  process.stdout.write(`Not all were taken. The first refusal: ${refused.body.refId}: ${refused.fault}${hint}\n`);
}

async function send(movement) {
  const body = JSON.stringify(movement.body);
  movement.sentAt = Date.now();
  const started = performance.now();
  try {
    const answer = await fetch(`${url.hub}/wallet/${movement.movement}`, {
      method: 'POST',
      headers: {
        ...signed('POST', `/wallet/${movement.movement}`, body, movement.body.refId),
        'Content-Type': 'application/json',
        'Idempotency-Key': movement.body.refId,
      },
      body,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const text = await answer.text();
    if (answer.status !== 200) movement.fault = `${answer.status} ${text.slice(0, 300)}`;
    else movement.transactionId = JSON.parse(text).transactionId;
  } catch (error) {
    movement.fault = `no answer (${reasonOf(error)})`;
  }
  movement.acceptMs = performance.now() - started;
}

/** The RGS's call log is read on from where it was, so the wait costs the same on a stack with a long history. */
async function awaitWebhooks(movements, since) {
  const waiting = new Set(movements.filter(({ fault }) => fault === null).map(({ body }) => body.refId));
  const progress = new Progress('notified to the RGS', waiting.size);
  const deadline = Date.now() + WEBHOOK_DEADLINE_MS;
  let read = since;
  while (waiting.size > 0 && Date.now() < deadline) {
    const calls = await getJson(`${url.rgs}/admin/calls?since=${read}`);
    for (const { refId, stored } of calls) if (stored && waiting.delete(refId)) progress.step();
    // A call is logged before it is answered, so only calls with an answer have been read for good.
    const open = calls.find(({ status, fault }) => status === null && fault === null);
    read = open === undefined ? (calls.at(-1)?.n ?? read) : open.n - 1;
    if (waiting.size > 0) await delay(POLL_MS);
  }
  progress.end();
  if (waiting.size > 0)
    process.stdout.write(
      `${waiting.size} webhooks did not come within ${WEBHOOK_DEADLINE_MS / 1000} seconds. GET ${url.hub}/webhooks/outbox says where they are.\n`,
    );
}

/** What the hub, the operator and the RGS each say about every movement. */
async function collectEvidence(movements, since) {
  const calls = await getJson(`${url.operator}/admin/calls?since=${since}`);
  const callsByReference = new Map();
  for (const { reference } of calls) callsByReference.set(reference, (callsByReference.get(reference) ?? 0) + 1);

  const queue = movements.filter(({ transactionId }) => transactionId !== null);
  const worker = async () => {
    for (let movement = queue.shift(); movement !== undefined; movement = queue.shift()) {
      const { body, transactionId } = movement;
      const [transaction, bookings, webhooks] = await Promise.all([
        getJson(
          `${url.hub}/wallet/transactions/${transactionId}`,
          signed('GET', `/wallet/transactions/${transactionId}`),
        ),
        getJson(`${url.operator}/v2/transactions?reference=${encodeURIComponent(body.refId)}`),
        getJson(`${url.rgs}/webhooks?refId=${encodeURIComponent(body.refId)}`),
      ]);
      movement.state = transaction.state;
      movement.bookings = bookings.filter(({ correlationId }) => correlationId === transactionId).length;
      movement.operatorCalls = callsByReference.get(body.refId) ?? 0;
      movement.webhooks = webhooks;
      movement.notifiedAt = webhooks.length > 0 ? Date.parse(webhooks[0].createdAt) : null;
    }
  };
  await Promise.all(Array.from({ length: PLAYERS }, worker));
}

async function reconcile() {
  const address = `${url.hub}/reconciliation_data`;
  const answer = await fetch(address, {
    headers: { Authorization: `Bearer ${token.finance}` },
    signal: AbortSignal.timeout(RECONCILIATION_TIMEOUT_MS),
  });
  const csv = await answer.text();
  if (!answer.ok)
    throw new DemoError(
      `GET ${address} answers ${answer.status}: ${csv.slice(0, 300)}${answer.status < 404 ? '\nSet FINANCE_TOKEN (or BEARER_TOKEN) to that of the stack.' : ''}`,
    );
  return {
    mismatches: Number(answer.headers.get('x-mismatch-count')),
    own: csv.split('\r\n').filter((line) => line.includes(run)).length,
  };
}

function report(movements, { mismatches, own }) {
  const total = movements.length;
  const count = (isGood) => movements.filter(isGood).length;
  const confirmed = count(({ state }) => state === 'confirmed');
  const deliveredOnce = count(({ bookings, operatorCalls }) => bookings === 1 && operatorCalls === 1);
  const notifiedOnce = count(
    ({ webhooks }) => webhooks.length === 1 && webhooks[0].deliveries === 1 && webhooks[0].status === 'OK',
  );

  process.stdout.write(`
confirmed                    ${confirmed} of ${total}
delivered once to operator   ${deliveredOnce} of ${total}   (one call and one booking each)
notified once to the RGS     ${notifiedOnce} of ${total}   (one webhook with status OK, delivered once)
response of the hub          ${percentiles(movements.map(({ acceptMs }) => acceptMs))}
sent to notified             ${percentiles(movements.filter(({ notifiedAt }) => notifiedAt !== null).map(({ sentAt, notifiedAt }) => Math.max(0, notifiedAt - sentAt)))}
X-Mismatch-Count             ${mismatches}
`);
  for (const odd of movements.filter(({ state }) => state !== 'confirmed').slice(0, 5)) {
    process.stdout.write(
      `  not confirmed: ${odd.body.refId} ${odd.transactionId ?? '(not taken)'} ${odd.state ?? odd.fault}\n`,
    );
  }
  if (mismatches > 0) {
    process.stdout.write(
      `${own} of the mismatches are of this run. The others were there before, or belong to movements that are still in flight.\n`,
    );
  }
  const isGood = [confirmed, deliveredOnce, notifiedOnce].every((n) => n === total) && mismatches === 0;
  process.stdout.write(isGood ? 'Everything adds up.\n' : 'This does not add up.\n');
  return isGood;
}

/** X-Signature-V2, which binds a request to its route, host, key and exact bytes, and the token. */
function signed(method, path, body = '', idempotencyKey = '') {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  const { host, pathname } = new URL(env('PUBLIC_BASE_URL', url.hub));
  const text = [
    'hub-v2',
    timestamp,
    method,
    host,
    pathname.replace(/\/+$/, '') + path,
    idempotencyKey,
    '',
    createHash('sha256').update(body).digest('hex'),
  ].join('\n');
  return {
    Authorization: `Bearer ${token.rgs}`,
    'X-Signature-V2': `t=${timestamp},kid=env,v2=${createHmac('sha256', secret).update(text).digest('hex')}`,
  };
}

async function callCount(base) {
  return (await getJson(`${base}/admin/summary`)).calls;
}

async function getJson(address, headers = {}) {
  const answer = await fetch(address, { headers, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  const text = await answer.text();
  if (!answer.ok) throw new DemoError(`GET ${address} answers ${answer.status}: ${text.slice(0, 300)}`);
  return JSON.parse(text);
}

function percentiles(values) {
  if (values.length === 0) return 'none';
  const sorted = [...values].sort((a, b) => a - b);
  // Nearest rank: the smallest value that so many percent of all do not exceed.
  const at = (percent) => `${Math.round(sorted[Math.ceil((percent / 100) * sorted.length) - 1])} ms`;
  return `p50 ${at(50)}, p95 ${at(95)}, p99 ${at(99)}, slowest ${at(100)}`;
}

function reasonOf(error) {
  return error?.cause?.code ?? error?.cause?.message ?? error?.message ?? String(error);
}

/** A bar on a terminal; elsewhere a plain line at every fifth, which a log can keep. */
class Progress {
  done = 0;

  constructor(label, total) {
    this.label = label;
    this.total = total;
    if (process.stdout.isTTY) this.draw();
  }

  step() {
    this.done += 1;
    if (process.stdout.isTTY) this.draw();
    else if (this.done % Math.ceil(this.total / 5) === 0)
      process.stdout.write(`${this.label}: ${this.done} of ${this.total}\n`);
  }

  end() {
    if (process.stdout.isTTY) process.stdout.write('\n');
  }

  draw() {
    const width = 30;
    const full = this.total === 0 ? width : Math.round((this.done / this.total) * width);
    process.stdout.write(
      `\r${this.label.padEnd(16)} [${'#'.repeat(full)}${' '.repeat(width - full)}] ${this.done} of ${this.total}`,
    );
  }
}
