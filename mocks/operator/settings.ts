import type { Fields } from '../shared/fields';
import { LIST_FORMS, type ListForm } from '../shared/list-query';

export const REFERENCE_SCOPES = ['player', 'operator'] as const;
export type ReferenceScope = (typeof REFERENCE_SCOPES)[number];

/** What the wallet goes by. One object for the whole app: a change takes effect with the next call. */
export class OperatorSettings {
  /** Where callbacks go, without a trailing slash: `{hubUrl}/webhooks/incoming`. */
  hubUrl = 'http://localhost:8000';
  /** The bearer token that callbacks carry. */
  token = 'change_token';
  /** Verifies the hub's calls and signs the callbacks. */
  hmacSecret = 'change_secret';
  /** False lets unsigned calls in; a signature that is there is verified all the same. */
  signatureRequired = true;
  /** Off silences every callback, those that a fault asks for as well. */
  callbacks = true;
  /** What a player has in each currency when first seen. */
  startingBalanceMinor = 100_000_000n;
  supportedCurrencies: readonly string[] = ['USD', 'EUR'];
  /** Every movement call waits this long before anything else happens to it. */
  latencyMs = 0;
  /** Every callback waits this long before it is sent. */
  callbackDelayMs = 0;
  /**
   * What a reference is unique for: `player`, or `operator`, which takes a second player's movement of that name for a
   * repeat.
   */
  referenceScope: ReferenceScope = 'player';
  /** How the list answers when it is asked for pages; `array`: it does not know that one can ask. */
  listForm: ListForm = 'items';

  constructor(values: Partial<OperatorSettings> = {}) {
    Object.assign(this, values);
    this.hubUrl = withoutTrailingSlash(this.hubUrl);
  }

  /** Takes what `PUT /admin/settings` may change; what is absent stays as it is. Throws 400 on a bad value. */
  change(fields: Fields): void {
    const hubUrl = fields.optionalUrl('hubUrl');
    const callbacks = fields.optionalFlag('callbacks');
    const startingBalanceMinor = fields.optionalMinor('startingBalanceMinor');
    const latencyMs = fields.optionalInteger('latencyMs', 0, 600_000);
    const callbackDelayMs = fields.optionalInteger('callbackDelayMs', 0, 600_000);
    const listForm = fields.optionalWord('listForm', LIST_FORMS);
    const referenceScope = fields.optionalWord('referenceScope', REFERENCE_SCOPES);
    fields.finish();
    this.hubUrl = withoutTrailingSlash(hubUrl ?? this.hubUrl);
    this.callbacks = callbacks ?? this.callbacks;
    this.startingBalanceMinor = startingBalanceMinor ?? this.startingBalanceMinor;
    this.latencyMs = latencyMs ?? this.latencyMs;
    this.callbackDelayMs = callbackDelayMs ?? this.callbackDelayMs;
    this.referenceScope = referenceScope ?? this.referenceScope;
    this.listForm = listForm ?? this.listForm;
  }

  /** As JSON, without the token and the secret. */
  shown(): object {
    const { token: _token, hmacSecret: _secret, startingBalanceMinor, ...rest } = this;
    return { ...rest, startingBalanceMinor: startingBalanceMinor.toString() };
  }
}

function withoutTrailingSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
