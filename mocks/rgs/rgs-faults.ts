import { Injectable } from '@nestjs/common';
import { DELAY_MS_MAX, readStatusFault, readThrottleFault } from '../shared/fault-params';
import { FaultBoard, type Fault, type FaultKinds } from '../shared/faults';
import type { Fields } from '../shared/fields';

/** What a game server can do wrong. `afterCommit` says that the webhook is stored all the same. */
const RGS_FAULT_KINDS = {
  /** Any HTTP answer, 410 among them. */
  status: (fields: Fields) => ({ ...readStatusFault(fields), ...readAfterCommit(fields) }),
  /** 429 or 503 with Retry-After. */
  throttle: (fields: Fields) => ({ ...readThrottleFault(fields), ...readAfterCommit(fields) }),
  /** Never answers. */
  hang: readAfterCommit,
  /** Breaks the connection. */
  reset: readAfterCommit,
  /** The right answer, late; stored at the end of the wait, with `afterCommit` at its start. */
  delay: (fields: Fields) => ({ ms: fields.integer('ms', 0, DELAY_MS_MAX), ...readAfterCommit(fields) }),
} satisfies FaultKinds;

export type RgsFault = Fault<typeof RGS_FAULT_KINDS>;

@Injectable()
export class RgsFaults extends FaultBoard<typeof RGS_FAULT_KINDS> {
  constructor() {
    super(RGS_FAULT_KINDS, { playerId: null, refId: null, event: ['debit', 'credit'] });
  }
}

function readAfterCommit(fields: Fields): { afterCommit: boolean } {
  return { afterCommit: fields.flag('afterCommit') };
}
