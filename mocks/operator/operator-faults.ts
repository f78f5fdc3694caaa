import { Injectable } from '@nestjs/common';
import { FaultBoard, type Fault, type FaultKinds } from '../shared/faults';
import { DELAY_MS_MAX, readStatusFault, readThrottleFault } from '../shared/fault-params';
import type { Fields } from '../shared/fields';
import { DIRECTIONS } from './movement';

/**
 * What a wallet can do wrong. `afterCommit` says that the money moves all the same.
 * `callback` on a fault that breaks the answer: whether the booked movement is called back nonetheless; by default it
 * is not, as the callback would settle the very doubt that the fault is there to cause.
 */
const OPERATOR_FAULT_KINDS = {
  /** Any HTTP answer, before anything is booked. */
  status: readStatusFault,
  /** Books, then answers with this status instead. */
  status_after_commit: (fields: Fields) => ({ ...readStatusFault(fields), callback: fields.flag('callback') }),
  /** 429 or 503 with Retry-After; nothing is booked. */
  throttle: readThrottleFault,
  /** Never answers. */
  hang: readBrokenAnswer,
  /** Breaks the connection. */
  reset: readBrokenAnswer,
  /** The right answer, late; the money moves at the end of the wait, with `afterCommit` at its start. */
  delay: (fields: Fields) => ({ ms: fields.integer('ms', 0, DELAY_MS_MAX), afterCommit: fields.flag('afterCommit') }),
  /** Books, calls back and waits until the hub has answered that, waits `delayMs` more, then answers. */
  callback_before_answer: (fields: Fields) => ({ delayMs: fields.integer('delayMs', 0, DELAY_MS_MAX, 0) }),
  /** The callback goes out `count` times, all at once. */
  duplicate_callbacks: (fields: Fields) => ({ count: fields.integer('count', 1, 1000, 2) }),
  late_callback: (fields: Fields) => ({ delayMs: fields.integer('delayMs', 0, DELAY_MS_MAX) }),
  /**
   * Holds callbacks until `window` of them are there, or `flushMs` after the first, then sends them in reverse order.
   */
  out_of_order_callbacks: (fields: Fields) => ({
    window: fields.integer('window', 2, 100_000),
    flushMs: fields.integer('flushMs', 1, DELAY_MS_MAX, 500),
  }),
  /** The right answer, then a callback with this status in place of the right one. */
  contradicting_callback: (fields: Fields) => ({ status: fields.text('status') }),
  no_callback: () => ({}),
  /** 200 with `{"status": "ERROR", …}`; nothing is booked. */
  error_body: (fields: Fields) => ({ body: fields.anything('body') }),
  /**
   * 202 `{"status": "PENDING"}`; the callback decides: what the books say, or with `reject` a refusal that moved
   * nothing.
   */
  pending: (fields: Fields) => ({ reject: fields.flag('reject') }),
  /** 200 with a status word that no contract knows. */
  unknown_word: (fields: Fields) => ({ ...readBrokenAnswer(fields), word: fields.optionalText('word') ?? 'MAYBE' }),
  /** 200 with a body that is no JSON. */
  unreadable: (fields: Fields) => ({
    ...readBrokenAnswer(fields),
    form: fields.word('form', ['html', 'truncated'], 'html'),
  }),
  /** A refusal for business reasons, called back as such; nothing is booked. */
  refuse: (fields: Fields) => ({ reason: fields.optionalText('reason') ?? 'limit_reached' }),
  /** The right answer, one byte of the body every `ms` milliseconds. */
  slow_drip: (fields: Fields) => ({ ms: fields.integer('ms', 1, DELAY_MS_MAX) }),
  /** The right answer with so many bytes of padding. */
  huge_body: (fields: Fields) => ({ bytes: fields.integer('bytes', 0, 1_000_000_000) }),
} satisfies FaultKinds;

export type OperatorFault = Fault<typeof OPERATOR_FAULT_KINDS>;

@Injectable()
export class OperatorFaults extends FaultBoard<typeof OPERATOR_FAULT_KINDS> {
  constructor() {
    super(OPERATOR_FAULT_KINDS, { playerId: null, reference: null, direction: DIRECTIONS });
  }
}

function readBrokenAnswer(fields: Fields): { afterCommit: boolean; callback: boolean } {
  return { afterCommit: fields.flag('afterCommit'), callback: fields.flag('callback') };
}
