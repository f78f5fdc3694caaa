import newman, { type RunSummary } from 'newman';
import { postmanCollection, postmanRequests } from '../support/postman';
import { TestHub } from '../support/test-hub';

describe('the Postman collection', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start();
  });
  afterAll(() => hub.stop());

  const run = (variables: Record<string, string> = {}): Promise<RunSummary> =>
    new Promise((resolve, reject) => {
      const envVar = Object.entries({ baseUrl: hub.url, ...variables }).map(([key, value]) => ({ key, value }));
      newman.run({ collection: postmanCollection(), envVar, reporters: [] }, (error, summary) => (error === null ? resolve(summary) : reject(error)));
    });
  const failuresOf = ({ run: { failures } }: RunSummary) => failures.map(({ source, error }) => `${source?.name}: ${error.test ?? ''} ${error.message}`);

  it.each(['first', 'second'])('is green from top to bottom on the %s run', async () => {
    const summary = await run();
    expect(failuresOf(summary)).toEqual([]);
    // Every request went out and was looked at: an empty run would be green, too.
    expect([...new Set(summary.run.executions.map(({ item }) => item.name))]).toEqual(postmanRequests().map(({ name }) => name));
    for (const { item, assertions } of summary.run.executions) expect({ name: item.name, looked: (assertions ?? []).length > 0 }).toEqual({ name: item.name, looked: true });
  });

  it.each([
    ['another secret', { hmacSecret: 'not-the-secret' }, 'Take a stake'],
    ['another secret of the operator', { operatorHmacSecret: 'not-the-secret' }, 'Tell an outcome'],
    ['an unknown token', { opsToken: 'nobody' }, 'Metrics'],
  ])('is red with %s, so its signing and its tests are real', async (_what, variables, name) => {
    const summary = await run(variables);
    expect(failuresOf(summary).filter((failure) => failure.startsWith(`${name}:`))).not.toEqual([]);
  });
});
