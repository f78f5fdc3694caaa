import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/database/data-source';
import { HotDatabase, type Tx } from '../../src/database/database';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';

describe('a transaction of the hot path', () => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let hot: HotDatabase;

  beforeAll(async () => {
    database = await testDatabase();
    await database.query('create table thing (n integer primary key)');
    // One connection: whatever a transaction leaves behind on it, the next one would meet.
    dataSource = await new DataSource({
      ...dataSourceOptions(database.superuserUrl, {
        applicationName: 'hot-test',
        poolSize: 1,
        onPoolError: () => undefined,
      }),
      entities: [],
      migrations: [],
    }).initialize();
    hot = new HotDatabase(dataSource);
  });
  afterAll(async () => {
    await dataSource.destroy();
    await database.drop();
  });
  beforeEach(() => database.query('delete from thing'));

  const insert = (tx: Tx, n: number): Promise<unknown> => tx.rows('insert into thing values ($1)', [n]);
  const things = async (): Promise<number[]> =>
    (await database.query<{ n: number }>('select n from thing order by n')).map(({ n }) => n);

  it('commits, and then does what was left for after the commit', async () => {
    const order: string[] = [];
    const result = await hot.transaction(async (tx) => {
      tx.afterCommit(() => order.push('after'));
      await insert(tx, 1);
      await insert(tx, 2);
      order.push('work');
      return 'done';
    });
    expect([result, order, await things()]).toEqual(['done', ['work', 'after'], [1, 2]]);
  });

  it('rolls back when its work throws, and the connection is clean for the next', async () => {
    let after = false;
    await expect(
      hot.transaction(async (tx) => {
        tx.afterCommit(() => (after = true));
        await insert(tx, 3);
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect([after, await things()]).toEqual([false, []]);
    await hot.transaction((tx) => insert(tx, 4));
    expect(await things()).toEqual([4]);
  });

  it('does not pass for committed when somebody swallowed the error of a statement', async () => {
    await expect(
      hot.transaction(async (tx) => {
        await insert(tx, 5);
        await insert(tx, 5).catch(() => undefined);
      }),
    ).rejects.toThrow('was not committed');
    expect(await things()).toEqual([]);
  });

  it('outlives the loss of its connection', async () => {
    await expect(
      hot.transaction(async (tx) => {
        await insert(tx, 6);
        await database.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'hot-test'`,
        );
        await insert(tx, 7);
      }),
    ).rejects.toThrow();
    await hot.transaction((tx) => insert(tx, 8));
    expect(await things()).toEqual([8]);
  });

  it("reads by index whatever the table's size was when its statements were planned, and changes nothing for others", async () => {
    const settings = await hot.transaction((tx) => tx.rows<{ enable_seqscan: string }>('show enable_seqscan'));
    expect(settings).toEqual([{ enable_seqscan: 'off' }]);
    expect(await hot.rows('show enable_seqscan')).toEqual([{ enable_seqscan: 'on' }]);
  });
});
