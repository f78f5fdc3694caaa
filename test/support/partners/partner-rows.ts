import { createHash } from 'node:crypto';
import { Periodic } from '../../../src/scheduling/periodic';
import { PartnerDirectory } from '../../../src/partners/partner-directory';
import type { RequestOptions } from '../hub/signed-request';
import type { TestHub } from '../hub/test-hub';

export interface NewPartner {
  readonly code: string;
  readonly role: 'operator' | 'rgs';
  readonly baseUrl: string;
  readonly token: string;
  readonly signingKey: string;
  /** For an RGS: the operator whose wallet its token moves. */
  readonly operatorId?: number;
  readonly currencies?: readonly string[];
  /** Other columns of the row. */
  readonly columns?: Readonly<Record<string, unknown>>;
}

/** Inserts a partner with its token and signing key, and answers its id. `followPartners` makes hubs see it. */
export async function addPartner(hub: TestHub, partner: NewPartner): Promise<number> {
  const columns = {
    code: partner.code,
    role: partner.role,
    base_url: partner.baseUrl,
    currencies: partner.currencies ?? ['USD', 'EUR'],
    ...partner.columns,
  };
  const [row] = await hub.database.query<{ id: number }>(
    `insert into partner (${Object.keys(columns).join(', ')}) values (${Object.keys(columns)
      .map((_, index) => `$${index + 1}`)
      .join(', ')}) returning id`,
    Object.values(columns),
  );
  if (row === undefined) throw new Error('the partner was not inserted');
  await hub.database.query(
    `insert into partner_credential (partner_id, operator_id, kind, label, token_sha256) values ($1, $2, 'bearer', 'test', $3)`,
    [row.id, partner.operatorId ?? null, createHash('sha256').update(partner.token).digest()],
  );
  await hub.database.query(
    `insert into partner_credential (partner_id, kind, label, secret) values ($1, 'signing', 'test', $2)`,
    [row.id, partner.signingKey],
  );
  return row.id;
}

export async function partnerId(hub: TestHub, code: string): Promise<number> {
  const [row] = await hub.database.query<{ id: number }>('select id from partner where code = $1', [code]);
  if (row === undefined) throw new Error(`there is no partner ${code}`);
  return row.id;
}

/** Makes the hubs read the partner tables now; on their own they do so within five seconds. */
export async function followPartners(...hubs: readonly TestHub[]): Promise<void> {
  for (const hub of hubs) {
    await hub.app.get(PartnerDirectory).refresh();
    await hub.app.get(Periodic).run('outbox.follow_partners');
  }
}

/** How a partner proves who it is. */
export function as(partner: { readonly token: string; readonly signingKey: string }): RequestOptions {
  return { token: partner.token, secret: partner.signingKey };
}
