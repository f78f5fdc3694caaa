/**
 * Unmatched callbacks of one operator that a process keeps a second, after a burst. A pair that the hub does not know
 * yet is a matter of milliseconds, and rare.
 */
const UNMATCHED_PER_SECOND = 50;
const UNMATCHED_BURST = 1_000;
/**
 * Different bodies about one transaction that are kept within a count's life: the first, some repeats, some
 * contradictions.
 */
const PER_TRANSACTION_MAX = 20;
const TRANSACTIONS_COUNTED_MAX = 10_000;
/** How long a count of the rows in the store is believed. */
const COUNT_AGE_MS_MAX = 10_000;

interface Account {
  tokens: number;
  at: number;
  rows: number;
  countedAt: number;
}

/** Which of an operator's callbacks are stored. All get a response; a body without further use is not stored. */
export class CallbackAllowance {
  private readonly operators = new Map<number, Account>();
  private readonly transactions = new Map<string, number>();

  /** `rowsMax` unmatched callbacks of one operator may be stored; `count` returns their number. */
  constructor(
    private readonly rowsMax: number,
    private readonly count: (operatorId: number, limit: number) => Promise<number>,
  ) {}

  /** Whether an unmatched callback is kept. */
  async takesUnmatched(operatorId: number, now: number): Promise<boolean> {
    const account = this.operators.get(operatorId) ?? {
      tokens: UNMATCHED_BURST,
      at: now,
      rows: 0,
      countedAt: -Infinity,
    };
    this.operators.set(operatorId, account);
    account.tokens = Math.min(account.tokens + ((now - account.at) * UNMATCHED_PER_SECOND) / 1000, UNMATCHED_BURST);
    account.at = now;
    if (account.tokens < 1) return false;
    if (now - account.countedAt > COUNT_AGE_MS_MAX) {
      // Set first: a caller that comes during the count must not count as well.
      account.countedAt = now;
      account.rows = await this.count(operatorId, this.rowsMax);
    }
    if (account.rows >= this.rowsMax) return false;
    account.tokens -= 1;
    account.rows += 1;
    return true;
  }

  /** Whether one more body about this transaction is kept, when it changes nothing. */
  takesAbout(transactionId: string): boolean {
    const seen = this.transactions.get(transactionId) ?? 0;
    if (seen >= PER_TRANSACTION_MAX) return false;
    if (this.transactions.size >= TRANSACTIONS_COUNTED_MAX) this.transactions.clear();
    this.transactions.set(transactionId, seen + 1);
    return true;
  }
}
