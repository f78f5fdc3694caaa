import { PartnerDirectory } from '../../src/partners/partner-directory';
import { PartnersStore } from '../../src/partners/partners.store';
import { TestHub } from '../support/hub/test-hub';

describe('the copy of the partners that a process keeps', () => {
  let hub: TestHub;
  beforeAll(async () => void (hub = await TestHub.start()));
  afterAll(() => hub.stop());

  it('is not replaced by a slow read that began before a newer one', async () => {
    const directory = hub.app.get(PartnerDirectory);
    const store = hub.app.get(PartnersStore, { strict: false });
    const read = store.snapshot.bind(store);
    let finish: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (finish = resolve));
    let old: () => void = () => undefined;
    const isRead = new Promise<void>((resolve) => (old = resolve));
    const spy = jest.spyOn(store, 'snapshot').mockImplementationOnce(async () => {
      const snapshot = await read();
      old();
      await held;
      return snapshot;
    });
    const slow = directory.refresh();
    await isRead;
    await hub.database.query(`update partner set base_url = 'http://127.0.0.1:1/new' where code = 'operator'`);
    await directory.refresh();
    finish();
    await slow;
    spy.mockRestore();
    expect(directory.byCode('operator')?.baseUrl).toBe('http://127.0.0.1:1/new');
  });
});
