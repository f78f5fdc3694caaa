import type { Random } from '../chaos/prng';
import type { Json } from '../../test/support/openapi-walk';

/** A movement that the hub took, as far as its callback must name it. */
export interface TakenMovement {
  readonly movement: 'debit' | 'credit';
  readonly playerId: string;
  readonly amountCents: number;
  readonly currency: string;
  readonly refId: string;
  readonly roundId: string | undefined;
  readonly transactionId: string;
}

const KEPT_MAX = 500;

/**
 * Names of things that exist in the hub, learnt from its own answers: without them most requests would only ever find
 * nothing.
 */
export class Pool {
  private readonly ids = new Map<string, string[]>();
  readonly movements: TakenMovement[] = [];

  add(kind: string, id: unknown): void {
    if (typeof id !== 'string') return;
    const known = this.ids.get(kind) ?? [];
    this.ids.set(kind, known);
    if (known.includes(id)) return;
    known.push(id);
    if (known.length > KEPT_MAX) known.shift();
  }

  took(movement: TakenMovement): void {
    this.movements.push(movement);
    if (this.movements.length > KEPT_MAX) this.movements.shift();
  }

  /** An id of this kind; undefined while there is none. */
  some(random: Random, kind: string): string | undefined {
    const known = this.ids.get(kind) ?? [];
    return known.length === 0 ? undefined : random.pick(known);
  }

  /** As some, and no other request gets it again: for what can be done once. */
  take(kind: string): string | undefined {
    return this.ids.get(kind)?.pop();
  }

  /** Remembers what an answer of 2xx names. */
  learn(operation: string, request: Json | undefined, answer: unknown): void {
    const rows = (
      Array.isArray(answer)
        ? answer
        : typeof answer === 'object' && answer !== null && Array.isArray((answer as Json).items)
          ? (answer as Json).items
          : [answer]
    ) as Json[];
    for (const row of rows.slice(0, 50)) {
      if (typeof row !== 'object' || row === null) continue;
      if (operation === 'listOutboxRecords') this.add(`outbox:${String(row.queue)}`, row.id);
      if (operation === 'listFailedTransactions') this.add('parked', row.transactionId);
      if (operation === 'listExceptions' || operation === 'getException') this.add('exception', row.id);
      if (operation === 'listRuns' || operation === 'getRun')
        this.add(row.state === 'sealed' ? 'sealed' : 'run', row.id);
      if (operation === 'startRun' || operation === 'retryRun') this.add('fresh', row.id);
      if (operation === 'cancelRun') this.add('cancelled', row.id);
      if (operation === 'listTransactions' || operation === 'getTransaction')
        this.add('transaction', row.transactionId);
    }
    const row = rows[0];
    if (
      (operation === 'debit' || operation === 'credit') &&
      request !== undefined &&
      typeof row?.transactionId === 'string'
    ) {
      this.add('transaction', row.transactionId);
      if (typeof request.roundId === 'string') this.add('round', request.roundId);
      this.took({
        movement: operation,
        playerId: String(request.playerId),
        amountCents: Number(request.amountCents),
        currency: String(request.currency),
        refId: String(request.refId),
        roundId: request.roundId as string | undefined,
        transactionId: row.transactionId,
      });
    }
  }
}
