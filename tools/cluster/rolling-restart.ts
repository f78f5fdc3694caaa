import { randomUUID } from 'node:crypto';
import { signedRequest } from '../../test/support/hub/signed-request';
import { waitFor } from '../../test/support/wait-for';
import type { Cluster } from './cluster';
import type { NextBuild } from './next-build';

/** Everybody asks for the outcome now and then, so that there are waiting callers in every process that stops. */
const WAIT_EVERY = 10;
const DRAINED_MS = 120_000;

export interface RollingRestart {
  readonly requests: number;
  readonly seconds: number;
  /** Answers other than 200 or 202, and requests without an answer. */
  readonly failed: number;
  readonly reasons: readonly string[];
  /** Accepted, but not in the operator's books, or not told to the RGS. */
  readonly lost: number;
  /** More than once in the operator's books. */
  readonly doubled: number;
  /** Processes whose end was not an orderly one. */
  readonly badExits: number;
  readonly restarts: number;
  /** Requests that the balancer moved to another process, since a connection was refused. */
  readonly moved: number;
  /** Requests and callbacks that the balancer itself could not pass on. */
  readonly balancerFailures: readonly string[];
  /** Answers that a stopping process gave to callers who wait. */
  readonly sentHome: number;
  /** The migration that the next build brought along; absent: the same build was started again. */
  readonly upgradedBy?: string;
}

/**
 * Restarts every process of the cluster, one after the other (`inPairs`: an api and a worker at once), while `callers`
 * game servers keep betting; then holds the operator's books against what was accepted. With `next`, the first of them
 * migrates, and both builds serve until the last is replaced.
 */
export async function rollingRestart(
  cluster: Cluster,
  options: {
    readonly callers: number;
    readonly inPairs?: boolean;
    readonly next?: NextBuild | undefined;
    readonly log: (line: string) => void;
  },
): Promise<RollingRestart> {
  const accepted: string[] = [];
  const reasons: string[] = [];
  let failed = 0;
  let sentHome = 0;
  let going = true;
  const run = randomUUID().slice(0, 8);
  const caller = async (index: number): Promise<void> => {
    for (let n = 0; going; n += 1) {
      const refId = `${run}-${index}-${n}`;
      const wait = n % WAIT_EVERY === 0;
      const answer = await signedRequest(
        'POST',
        `${cluster.balancer.url}/wallet/debit`,
        { playerId: `${run}-player-${(index * 7 + n) % 500}`, amountCents: 100 + (n % 50), currency: 'USD', refId },
        wait ? { headers: { prefer: 'wait=5' } } : {},
      ).catch((error: unknown) => String(error));
      if (typeof answer !== 'string' && (answer.status === 200 || (wait && answer.status === 202))) {
        accepted.push(refId);
        if (answer.status === 202) sentHome += 1;
      } else {
        failed += 1;
        if (reasons.length < 10) reasons.push(typeof answer === 'string' ? answer : `${answer.status} ${answer.text}`);
      }
    }
  };
  const startedAt = performance.now();
  const movedBefore = cluster.balancer.counts.moved;
  const load = Promise.all(Array.from({ length: options.callers }, (_, index) => caller(index)));
  await waitFor('the load flows', () => accepted.length > options.callers * 10, 30_000);
  const exits: (number | null)[] = [];
  const turns =
    options.inPairs === true
      ? cluster.api.map((api, index) => [api, ...cluster.workers.slice(index, index + 1)])
      : cluster.processes.map((slot) => [slot]);
  for (const slots of turns) {
    const before = accepted.length;
    exits.push(...(await Promise.all(slots.map((slot) => cluster.restart(slot, options.next?.program)))));
    options.log(
      `${slots.map((slot) => `process ${slot.index + 1} of ${cluster.processes.length} (${cluster.api.includes(slot) ? 'api' : 'worker'})`).join(' and ')} restarted; ${accepted.length - before} debits meanwhile, ${failed} failed so far`,
    );
  }
  going = false;
  await load;
  const seconds = (performance.now() - startedAt) / 1000;
  await waitFor(
    'everything is delivered',
    async () => (await cluster.query<{ n: number }>('select count(*)::integer as n from outbox_head'))[0]?.n === 0,
    DRAINED_MS,
  );

  if (options.next !== undefined) await expectUpgraded(cluster, options.next);
  const books = (await (await fetch(`${cluster.operator.url}/v2/transactions`)).json()) as { reference: string }[];
  const told = (await (await fetch(`${cluster.rgs.url}/webhooks`)).json()) as { refId: string; status: string }[];
  const booked = new Map<string, number>();
  for (const { reference } of books) booked.set(reference, (booked.get(reference) ?? 0) + 1);
  const toldOk = new Set(told.filter(({ status }) => status === 'OK').map(({ refId }) => refId));
  return {
    requests: accepted.length + failed,
    seconds: Math.round(seconds * 10) / 10,
    failed,
    reasons,
    lost: accepted.filter((refId) => !booked.has(refId) || !toldOk.has(refId)).length,
    doubled: [...booked].filter(([reference, times]) => reference.startsWith(`${run}-`) && times > 1).length,
    badExits: exits.filter((code) => code !== 0).length + cluster.processes.flatMap(({ crashes }) => crashes).length,
    restarts: exits.length,
    moved: cluster.balancer.counts.moved - movedBefore,
    balancerFailures: cluster.balancer.counts.reasons,
    sentHome,
    ...(options.next === undefined ? {} : { upgradedBy: options.next.migration }),
  };
}

/** Otherwise the rest proves nothing. */
async function expectUpgraded(cluster: Cluster, { migration, changed }: NextBuild): Promise<void> {
  const [found] = await cluster.query<{ migrated: boolean; is_changed: boolean }>(
    `select exists (select from migrations where name = $1) as migrated,
       exists (select from pg_proc where proname = $2 and strpos(prosrc, $3) > 0) as is_changed`,
    [migration, changed.name, changed.mark],
  );
  if (found?.migrated !== true || !found.is_changed)
    throw new Error(`the next build has not written ${changed.name} by ${migration}: ${JSON.stringify(found)}`);
}

/** What must be none. */
export function isClean(result: RollingRestart): boolean {
  return result.failed + result.lost + result.doubled + result.badExits + result.balancerFailures.length === 0;
}
