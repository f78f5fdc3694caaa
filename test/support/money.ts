import { PartnerDirectory } from '../../src/partners/partner-directory';
import type { HttpAnswer, RequestOptions } from './hub/signed-request';
import type { TestDatabase } from './hub/test-database';
import type { TestHub } from './hub/test-hub';

export function rollback(hub: TestHub, body: Record<string, unknown>, options?: RequestOptions): Promise<HttpAnswer> {
  return hub.call('POST', '/wallet/rollback', body, options);
}

/** A request that waits for its outcome. */
export const wait = (seconds: number | string, more: RequestOptions = {}): RequestOptions => ({
  ...more,
  headers: { ...more.headers, prefer: `wait=${seconds}` },
});

/** The states that a transaction went through. */
export async function arrows(hub: TestHub, transactionId: string): Promise<string[]> {
  const { timeline } = await hub.transaction(transactionId);
  return timeline
    .filter(({ event }: { event: string }) => event !== 'contradiction')
    .map(({ to }: { to: string }) => to);
}

/** What the RGS was told of a player's movements, in order of arrival, each as "refId status". */
export async function told(hub: TestHub, playerId: string): Promise<string[]> {
  return (await hub.rgsReceived())
    .filter((webhook) => webhook.playerId === playerId)
    .map(({ refId, status }) => `${refId} ${status}`);
}

/** The operator's bookings of a player, each as "direction reference". */
export async function booked(hub: TestHub, playerId: string): Promise<string[]> {
  return (await hub.operatorBooks())
    .filter((booking) => booking.playerId === playerId)
    .map(({ direction, reference }) => `${direction} ${reference}`);
}

/** Calls for a player that reached the operator, booked or not. */
export async function callsOf(hub: TestHub, playerId: string): Promise<any[]> {
  return (await hub.operatorCalls()).filter((call) => call.playerId === playerId);
}

/** Changes columns of the operator's row and makes the hubs see them. */
export async function configureOperator(
  columns: Readonly<Record<string, unknown>>,
  ...hubs: readonly TestHub[]
): Promise<void> {
  const names = Object.keys(columns);
  await hubs[0]?.database.query(
    `update partner set ${names.map((name, index) => `${name} = $${index + 1}`).join(', ')} where code = 'operator'`,
    Object.values(columns),
  );
  for (const hub of hubs) await hub.app.get(PartnerDirectory).refresh();
}

/** Nothing goes to the operator until `resume`; what is accepted meanwhile waits unsent. */
export async function holdOperator(database: TestDatabase): Promise<void> {
  await database.query(
    `update outbox_destination set paused_at = now(), pause_reason = 'test' where queue = 'operator'`,
  );
}

export async function releaseOperator(database: TestDatabase): Promise<void> {
  await database.query(`update outbox_destination set paused_at = null, pause_reason = null where queue = 'operator'`);
}

/** As a replica leaves a message that was killed between sending and settling: leased, with its lease over. */
export async function leaseLost(database: TestDatabase, transactionId: string, until = '0 seconds'): Promise<void> {
  const rows = await database.query(
    `update outbox_head h set leased = true, token = token + 1, claims = claims + 1, owner = 'dead', visible_at = clock_timestamp() + $2::interval,
       first_sent_at = coalesce(first_sent_at, clock_timestamp()), may_land_until = greatest(may_land_until, clock_timestamp() + interval '1 second')
     from wallet_transaction t where t.id = $1 and h.message_id = t.message_id returning h.message_id`,
    [transactionId, until],
  );
  if (rows.length !== 1) throw new Error(`the message of ${transactionId} is not at the head of its lane`);
}

/**
 * The manual clock: moves everything that was written with a time back by so many seconds, which to the hub is the same
 * as time passing. What became due meanwhile is due now: how long ago makes no difference to a queue, and the claim
 * need not look that far back.
 */
export async function timePasses(database: TestDatabase, seconds: number): Promise<void> {
  const ago = `- $1::float8 * interval '1 second'`;
  await database.query(
    `update outbox_head set visible_at = greatest(visible_at ${ago}, least(visible_at, clock_timestamp())) where visible_at < 'infinity'`,
    [seconds],
  );
  for (const table of ['outbox_head', 'outbox_dead'])
    await database.query(
      `update ${table} set first_sent_at = first_sent_at ${ago}, may_land_until = may_land_until ${ago} where first_sent_at is not null`,
      [seconds],
    );
  await database.query(`update outbox_message set expires_at = expires_at ${ago} where expires_at is not null`, [
    seconds,
  ]);
  await database.query(
    `update outbox_destination set not_before = not_before ${ago}, open_until = open_until ${ago}, window_start = window_start ${ago}, tokens_at = tokens_at ${ago}`,
    [seconds],
  );
  await database.query(
    `update wallet_transaction set created_at = created_at ${ago}, absent_at = absent_at ${ago}, deadline_at = deadline_at ${ago}, settled_at = settled_at ${ago}`,
    [seconds],
  );
  await database.query(`update wallet_round set opened_at = opened_at ${ago}, closed_at = closed_at ${ago}`, [seconds]);
  await database.query(`update wallet_parked set at = at ${ago}`, [seconds]);
}

/** As if the time were over in which a lost call may still be booked. */
export async function nothingInFlight(database: TestDatabase): Promise<void> {
  for (const table of ['outbox_head', 'outbox_dead'])
    await database.query(
      `update ${table} set may_land_until = least(may_land_until, clock_timestamp()) where may_land_until is not null`,
    );
}

/** Value of a counter with these labels; 0 while it was never raised. */
export async function metric(
  hub: TestHub,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { text } = await hub.call('GET', '/metrics');
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const line = text
    .split('\n')
    .find((each) => new RegExp(`^${name}[{ ]`).test(each) && wanted.every((part) => each.includes(part)));
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1));
}
