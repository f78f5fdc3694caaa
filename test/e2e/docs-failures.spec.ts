import { readFileSync } from 'node:fs';
import path from 'node:path';
import { rollback, wait } from '../support/money';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const PAGE = readFileSync(path.resolve(__dirname, '../../docs/failures.md'), 'utf8');

/** The fault that the page's line about `what` arms, and at which mock. */
function faultOf(what: string): { port: string; fault: Record<string, unknown> } {
  const line = PAGE.split('\n').find((each) => each.startsWith(`| ${what}`)) ?? '';
  const [, port = '', json = ''] =
    /localhost:(\d+)\/admin\/faults -H 'Content-Type: application\/json' -d '(\{.*?\})'/.exec(line) ?? [];
  return { port, fault: JSON.parse(json) as Record<string, unknown> };
}

describe('docs/failures.md shows, with the command that it gives,', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({ env: { OPERATOR_TIMEOUT_MS: '5000', OUTBOX_LEASE_SECONDS: '7', MAX_RETRIES: '3' } });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const arm = async (what: string): Promise<void> => {
    const { port, fault } = faultOf(what);
    await control(port === '8001' ? hub.operator.url : hub.rgs.url, 'POST', '/admin/faults', fault);
  };

  it('REJECTED', async () => {
    await arm('`REJECTED`');
    expect((await hub.debit({}, wait(5))).body).toMatchObject({ status: 'REJECTED', reasonCode: 'insufficient_funds' });
  });

  it('202 and an open outcome, with a slow operator', async () => {
    await arm('202');
    const open = await hub.debit({}, wait(1));
    expect([open.status, open.headers.get('location')]).toEqual([
      202,
      `/wallet/transactions/${open.body.transactionId}`,
    ]);
    await hub.reaches(open.body.transactionId, 'confirmed');
  });

  it('unknown, cleared up by a repeat and booked once', async () => {
    await arm('`unknown`');
    const { body } = await hub.debit({ playerId: 'ann' });
    await hub.reaches(body.transactionId, 'confirmed');
    expect((await hub.transaction(body.transactionId)).timeline.map(({ to }: { to: string }) => to)).toContain(
      'unknown',
    );
    expect((await hub.player('ann')).movements).toBe(1);
  });

  it('ROLLED_BACK', async () => {
    await hub.debit({ playerId: 'bea', refId: 'bet' }, wait(5));
    await rollback(hub, { playerId: 'bea', refId: 'undo', originalRefId: 'bet' }, wait(5));
    await waitFor('the RGS is told', async () =>
      (await hub.rgsReceived()).some(({ status }) => status === 'ROLLED_BACK'),
    );
  });

  it('the same webhook twice', async () => {
    await arm('the same webhook');
    await hub.debit({});
    const calls = await waitFor('a repeat', async () => {
      const seen = await hub.rgsCalls();
      return seen.length > 1 ? seen : undefined;
    });
    expect(new Set(calls.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(await hub.rgsReceived()).toHaveLength(1);
  });

  it('a slow operator', () => {
    expect(faultOf('a slow operator').fault).toMatchObject({ kind: 'delay' });
  });
});
