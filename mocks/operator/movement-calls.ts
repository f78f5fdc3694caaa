import { Injectable } from '@nestjs/common';
import { CallLog, type LoggedCall } from '../shared/call-log';
import type { Direction } from './movement';

/** A call to withdraw or deposit, as `GET /admin/calls` shows it. */
export interface MovementCall extends LoggedCall {
  playerId: string;
  direction: Direction;
  /** Null when the call was refused unread: a bad signature or a malformed body. */
  reference: string | null;
  correlationId: string | null;
  /** The `Idempotency-Key` header. */
  idempotencyKey: string | null;
  /** This call moved money. */
  applied: boolean;
  /** The reference was on the books with the same data, so nothing moved. */
  repeat: boolean;
  /** The kind of fault that it met. */
  fault: string | null;
  /**
   * The HTTP status of the answer; null while there is none, and forever when the call hung, was reset or its client
   * left.
   */
  status: number | null;
}

/** The log of movement calls with its totals, which are counted on the way: the log may have millions of rows. */
@Injectable()
export class MovementCalls extends CallLog<MovementCall> {
  private applied = 0;
  private repeats = 0;

  markApplied(call: MovementCall): void {
    call.applied = true;
    this.applied++;
  }

  markRepeat(call: MovementCall): void {
    call.repeat = true;
    this.repeats++;
  }

  totals(): { calls: number; applied: number; repeats: number } {
    return { calls: this.size, applied: this.applied, repeats: this.repeats };
  }

  override clear(): void {
    super.clear();
    this.applied = 0;
    this.repeats = 0;
  }
}
