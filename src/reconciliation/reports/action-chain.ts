import { sha256Hex } from '../../audit/hub-key';
import { canonicalJson } from '../../json/canonical-json';

/** What a person did about an exception. */
export interface ActionRecord {
  /** 1, 2, 3, … over all exceptions. */
  readonly id: string;
  readonly exceptionId: string;
  readonly actor: string;
  readonly action: string;
  readonly reasonCode: string;
  readonly note: string | null;
  readonly before: unknown;
  readonly after: unknown;
  readonly idempotencyKey: string;
  /** UTC, to the microsecond. */
  readonly at: string;
  /** Hex; of the first, 64 zeros. */
  readonly previousHash: string;
  readonly hash: string;
}

export const ACTIONS_GENESIS = '0'.repeat(64);

/** Hex SHA-256 over every part of the record. Canonical, since the store keeps documents without the order of their keys. */
export function actionHash({
  previousHash,
  id,
  exceptionId,
  actor,
  action,
  reasonCode,
  note,
  before,
  after,
  idempotencyKey,
  at,
}: Omit<ActionRecord, 'hash'>): string {
  return sha256Hex(
    canonicalJson([previousHash, id, exceptionId, actor, action, reasonCode, note, before, after, idempotencyKey, at]),
  );
}

/** Walks the chain from its beginning; null when it is whole, else what is wrong with the first record that is. */
export async function brokenAction(
  records: AsyncIterable<ActionRecord>,
): Promise<{ count: number; last: string; broken: string | null }> {
  let last = ACTIONS_GENESIS;
  let count = 0;
  for await (const record of records) {
    count += 1;
    const broken =
      record.id !== String(count)
        ? `action ${count} is missing`
        : record.previousHash !== last
          ? `action ${count} does not follow action ${count - 1}`
          : actionHash(record) !== record.hash
            ? `action ${count} was changed`
            : null;
    if (broken !== null) return { count, last, broken };
    last = record.hash;
  }
  return { count, last, broken: null };
}
