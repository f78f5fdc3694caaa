import type { SigningKey } from './signature';

export type PartnerRole = 'operator' | 'rgs';
/** Within what a reference is unique at an operator. */
export type ReferenceScope = 'player' | 'operator';

/** Words in the `status` field of an operator's response, callback or row, as `protocolWord` writes them. */
export interface StatusWords {
  readonly applied: readonly string[];
  readonly pending: readonly string[];
  readonly refused: readonly string[];
}

/** One operator or one game server, with everything in which it differs from others. */
export interface Partner {
  readonly id: number;
  readonly code: string;
  readonly role: PartnerRole;
  /** Inactive: its tokens open nothing and nothing is sent to it; what was accepted before waits. */
  readonly active: boolean;
  /** Operator: root of its wallet API. RGS: the webhook URL itself. */
  readonly baseUrl: string;
  readonly currencies: ReadonlySet<string>;
  /** No longer taken for debits; credits still pass, since a win is never gated. */
  readonly retiredCurrencies: ReadonlySet<string>;
  readonly currencyExponents: Readonly<Record<string, number>>;
  readonly amountEncoding: 'number' | 'string';
  readonly amountMinorMax: bigint;
  readonly playerIdTemplate: string;
  readonly statusWords: StatusWords;
  readonly idempotentByReference: boolean;
  readonly statusQuery: boolean;
  readonly rollbackRoute: boolean;
  /** Whether it keeps refusals with the reference, so that a refused repeat speaks for every call before it. */
  readonly refusalIsFinal: boolean;
  /**
   * Whether it may accept a call and book it later, until the callback timeout: a call whose answer was lost may be
   * booked until then.
   */
  readonly answersLater: boolean;
  readonly timeoutMs: number;
  /** Live signing keys, newest first: the first signs, all verify. */
  readonly signingKeys: readonly string[];
  /** The same keys with their names. */
  readonly keys: readonly SigningKey[];
  /** Least version of the signature that its requests must have. */
  readonly signatureVersionRequired: 1 | 2;
}

/** What an operator and an RGS have agreed on. */
export interface PartnerPair {
  /**
   * player: the operator keys its books by player and reference, and sees the RGS's own refId. operator: by reference
   * alone, and the hub makes it.
   */
  readonly referenceScope: ReferenceScope;
}

/** Who a bearer token speaks for. */
export interface TokenOwner {
  readonly partner: Partner;
  /** For an RGS: the operator whose wallet its requests move. */
  readonly operator: Partner | undefined;
}
