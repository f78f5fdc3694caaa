import newman, { type RunSummary } from 'newman';
import { postmanCollection, postmanRequests } from '../support/postman';
import { TestHub } from '../support/test-hub';

const CLEARS = 'Forget all movements and messages';

describe('the Postman collection', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start();
  });
  afterAll(() => hub.stop());

  const run = (variables: Record<string, string> = {}, folder?: string): Promise<RunSummary> =>
    new Promise((resolve, reject) => {
      const envVar = Object.entries({ baseUrl: hub.url, ...variables }).map(([key, value]) => ({ key, value }));
      newman.run({ collection: postmanCollection(), envVar, reporters: [], ...(folder === undefined ? {} : { folder }) }, (error, summary) => (error === null ? resolve(summary) : reject(error)));
    });
  const failuresOf = ({ run: { failures } }: RunSummary) => failures.map(({ source, error }) => `${source?.name}: ${error.test ?? ''} ${error.message}`);

  it.each(['first', 'second'])('is green from top to bottom on the %s run', async () => {
    const summary = await run();
    expect(failuresOf(summary)).toEqual([]);
    // Every request went out and was looked at: an empty run would be green, too.
    expect([...new Set(summary.run.executions.map(({ item }) => item.name))]).toEqual(postmanRequests().map(({ name }) => name).filter((name) => name !== CLEARS));
    for (const { item, assertions } of summary.run.executions) expect({ name: item.name, looked: (assertions ?? []).length > 0 }).toEqual({ name: item.name, looked: true });
  });

  it('empties the hub only for who says so', async () => {
    const { body } = await hub.debit({ refId: 'kept' });
    await run();
    expect((await hub.call('GET', '/wallet/transactions?refId=kept')).body.items).toMatchObject([{ transactionId: body.transactionId }]);
    await run({}, CLEARS);
    expect((await hub.call('GET', '/wallet/transactions?refId=kept')).body.items).toHaveLength(1);
    expect(failuresOf(await run({ clearDatabase: 'true' }, CLEARS))).toEqual([]);
    expect((await hub.call('GET', '/wallet/transactions?refId=kept')).body.items).toHaveLength(0);
  });

  it('sends each of its requests alone: what one needs is made first', async () => {
    const red: string[] = [];
    for (const { name } of postmanRequests().filter((each) => each.name !== CLEARS)) {
      const summary = await run({}, name);
      const looked = summary.run.executions.some(({ item, assertions }) => item.name === name && (assertions ?? []).length > 0);
      red.push(...failuresOf(summary), ...(looked ? [] : [`${name}: was not sent`]));
    }
    expect(red).toEqual([]);
  }, 180_000);

  it.each([
    ['another secret', { hmacSecret: 'not-the-secret' }, 'Take a stake'],
    ['another secret of the operator', { operatorHmacSecret: 'not-the-secret' }, 'Tell an outcome'],
    ['an unknown token', { opsToken: 'nobody' }, 'Metrics'],
  ])('is red with %s, so its signing and its tests are real', async (_what, variables, name) => {
    const summary = await run(variables);
    expect(failuresOf(summary).filter((failure) => failure.startsWith(`${name}:`))).not.toEqual([]);
  });
});
