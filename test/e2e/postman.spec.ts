import newman, { type RunSummary } from 'newman';
import { postmanCollection, postmanRequests } from '../support/postman';
import { TestHub } from '../support/hub/test-hub';

const CLEARS = 'Forget all movements and messages';

/**
 * The collection with a memory of one request: each finds the variables as somebody does who sends nothing but it. A
 * run for each would cost half a second each.
 */
function eachAlone(): object {
  const { event, variable, ...rest } = postmanCollection();
  const forget = [
    // A request that asks for itself again goes on with what it has.
    "if (pm.globals.get('sent') !== pm.info.requestName) {",
    '  pm.collectionVariables.clear();',
    ...variable.map(
      ({ key, value }) => `  pm.collectionVariables.set(${JSON.stringify(key)}, ${JSON.stringify(value)});`,
    ),
    "  pm.globals.set('sent', pm.info.requestName);",
    '}',
  ];
  return {
    ...rest,
    variable,
    event: event.map(({ listen, script }) => ({
      listen,
      script: { ...script, exec: [...(listen === 'prerequest' ? forget : []), ...script.exec] },
    })),
  };
}

describe('the Postman collection', () => {
  let hub: TestHub;
  /** Placed before any run. */
  let kept: string;
  beforeAll(async () => {
    hub = await TestHub.start();
    kept = (await hub.debit({ refId: 'kept' })).body.transactionId;
  });
  afterAll(() => hub.stop());

  const run = (
    variables: Record<string, string> = {},
    folder?: string,
    collection: object = postmanCollection(),
  ): Promise<RunSummary> =>
    new Promise((resolve, reject) => {
      const envVar = Object.entries({ baseUrl: hub.url, ...variables }).map(([key, value]) => ({ key, value }));
      newman.run(
        { collection, envVar, reporters: [], ...(folder === undefined ? {} : { folder }) },
        (error, summary) => (error === null ? resolve(summary) : reject(error)),
      );
    });
  const failuresOf = ({ run: { failures } }: RunSummary) =>
    failures.map(({ source, error }) => `${source?.name}: ${error.test ?? ''} ${error.message}`);

  const lookedAt = ({ run: { executions } }: RunSummary) => [
    ...new Set(executions.flatMap(({ item, assertions }) => ((assertions ?? []).length > 0 ? [item.name] : []))),
  ];

  it.each(['first', 'second'])('is green from top to bottom on the %s run', async () => {
    const summary = await run();
    expect(failuresOf(summary)).toEqual([]);
    // Every request went out and was looked at: an empty run would be green, too.
    expect(lookedAt(summary)).toEqual(
      postmanRequests()
        .map(({ name }) => name)
        .filter((name) => name !== CLEARS),
    );
  });

  it('empties the hub only for who says so', async () => {
    await run({}, CLEARS);
    expect((await hub.call('GET', '/wallet/transactions?refId=kept')).body.items).toMatchObject([
      { transactionId: kept },
    ]);
    expect(failuresOf(await run({ clearDatabase: 'true' }, CLEARS))).toEqual([]);
    expect((await hub.call('GET', '/wallet/transactions?refId=kept')).body.items).toHaveLength(0);
  });

  it('sends each of its requests alone: what one needs is made first', async () => {
    const summary = await run({}, undefined, eachAlone());
    expect(failuresOf(summary)).toEqual([]);
    expect(lookedAt(summary)).toEqual(
      postmanRequests()
        .map(({ name }) => name)
        .filter((name) => name !== CLEARS),
    );
  }, 60_000);

  it.each([
    ['another secret', { hmacSecret: 'not-the-secret' }, 'Take a stake'],
    ['another secret of the operator', { operatorHmacSecret: 'not-the-secret' }, 'Tell an outcome'],
    ['an unknown token', { opsToken: 'nobody' }, 'Metrics'],
  ])('is red with %s, so its signing and its tests are real', async (_what, variables, name) => {
    const summary = await run(variables, name);
    expect(failuresOf(summary).filter((failure) => failure.startsWith(`${name}:`))).not.toEqual([]);
  });
});
