import type { Fields } from '../shared/fields';

/** What the game server goes by. One object for the whole app: a change takes effect with the next call. */
export class RgsSettings {
  /** Verifies the hub's webhooks. */
  hmacSecret = 'change_secret';
  /** False lets unsigned webhooks in; a signature that is there is verified all the same. */
  signatureRequired = true;
  /** Every webhook waits this long before anything else happens to it. */
  latencyMs = 0;

  constructor(values: Partial<RgsSettings> = {}) {
    Object.assign(this, values);
  }

  /** Takes what `PUT /admin/settings` may change; what is absent stays as it is. Throws 400 on a bad value. */
  change(fields: Fields): void {
    const latencyMs = fields.optionalInteger('latencyMs', 0, 600_000);
    fields.finish();
    this.latencyMs = latencyMs ?? this.latencyMs;
  }

  /** As JSON, without the secret. */
  shown(): object {
    const { hmacSecret: _secret, ...rest } = this;
    return rest;
  }
}
