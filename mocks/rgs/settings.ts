import type { Fields } from '../shared/fields';
import { LIST_FORMS, type ListForm } from '../shared/list-query';

/** What the game server goes by. One object for the whole app: a change takes effect with the next call. */
export class RgsSettings {
  /** Verifies the hub's webhooks. */
  hmacSecret = 'change_secret';
  /** False lets unsigned webhooks in; a signature that is there is verified all the same. */
  signatureRequired = true;
  /** Every webhook waits this long before anything else happens to it. */
  latencyMs = 0;
  /** How the list answers when it is asked for pages; `array`: it does not know that one can ask. */
  listForm: ListForm = 'items';

  constructor(values: Partial<RgsSettings> = {}) {
    Object.assign(this, values);
  }

  /** Takes what `PUT /admin/settings` may change; what is absent stays as it is. Throws 400 on a bad value. */
  change(fields: Fields): void {
    const latencyMs = fields.optionalInteger('latencyMs', 0, 600_000);
    const listForm = fields.optionalWord('listForm', LIST_FORMS);
    fields.finish();
    this.latencyMs = latencyMs ?? this.latencyMs;
    this.listForm = listForm ?? this.listForm;
  }

  /** As JSON, without the secret. */
  shown(): object {
    const { hmacSecret: _secret, ...rest } = this;
    return rest;
  }
}
