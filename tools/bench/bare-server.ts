import express from 'express';
import { createHash } from 'node:crypto';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { Batcher } from '../../src/database/batcher';
import { toMajorUnits } from '../../src/kernel/money';

/**
 * What the hub's ingest costs without the hub: the same rows by the same statement in the same batches, but no guard,
 * no signature, no validation, no log and no metric. `node bare-server.js http` is node:http alone, `express` puts
 * Express in front.
 */
interface Debit {
  readonly playerId: string;
  readonly amountCents: number;
  readonly currency: string;
  readonly refId: string;
  readonly roundId: string;
}

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 2 });

const batcher = new Batcher<Record<string, unknown>, string>({
  run: async (rows) => {
    const result = await pool.query<{ place: number; transaction_id: string }>({
      name: 'accept',
      text: 'select place, verdict, transaction_id from wallet_accept($1)',
      values: [JSON.stringify(rows)],
    });
    const ids: string[] = [];
    for (const row of result.rows) ids[row.place] = row.transaction_id;
    return ids;
  },
  batchMax: 100,
  flightsMax: 2,
  queueMax: 4_000,
});

function rowOf(raw: Buffer, key: string): Record<string, unknown> {
  const { playerId, amountCents, currency, refId, roundId } = JSON.parse(raw.toString()) as Debit;
  const id = uuidv7();
  return {
    id,
    operator_id: 1,
    rgs_id: 2,
    movement: 'debit',
    player_id: playerId,
    external_player_id: playerId,
    ref_id: refId,
    amount_minor: String(amountCents),
    currency,
    exponent: 2,
    kind: 'regular',
    round_id: roundId,
    round_closed: false,
    game_id: null,
    session_id: null,
    meta: null,
    idempotency_key: key,
    fingerprint: createHash('sha256').update('POST /wallet/debit\n').update(raw).digest('hex'),
    message_id: uuidv7(),
    path: `/v2/players/${playerId}/withdraw`,
    body: `{"amount":${toMajorUnits(BigInt(amountCents), 2)},"currency":"${currency}","reference":"${refId}","correlationId":"${id}"}`,
    deadline_seconds: 60,
    waited: false,
  };
}

async function accept(raw: Buffer, key: string): Promise<string> {
  const row = rowOf(raw, key);
  const transactionId = await batcher.add(row);
  return JSON.stringify({
    status: 'initiated',
    refId: row.ref_id,
    correlationId: transactionId,
    balanceCents: null,
    reason: null,
    transactionId,
  });
}

function onNode(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    accept(Buffer.concat(chunks), String(request.headers['idempotency-key'])).then(
      (body) =>
        response
          .writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) })
          .end(body),
      () => response.writeHead(500, { 'Content-Length': 0 }).end(),
    );
  });
}

function onExpress(): express.Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(express.raw({ type: () => true, inflate: false }));
  app.post('/wallet/debit', (request, response, next) => {
    accept(request.body as Buffer, String(request.headers['idempotency-key'])).then(
      (body) => response.type('application/json').send(body),
      next,
    );
  });
  return app;
}

const server = http.createServer(process.argv[2] === 'express' ? onExpress() : onNode);
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
process.on('SIGTERM', () => process.exit(0));
