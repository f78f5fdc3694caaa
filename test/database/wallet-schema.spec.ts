import { randomUUID } from 'node:crypto';
import { ENDED, TRANSITIONS } from '../../src/wallet/transaction-state';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';

/** The last line of defence: what the code must never write, the database does not take. */
describe('the schema of the wallet', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database.drop());

  const sound = (): Record<string, unknown> => ({
    id: randomUUID(),
    operator_id: 1,
    rgs_id: 2,
    movement: 'debit',
    player_id: 'p',
    external_player_id: 'p',
    ref_id: randomUUID(),
    amount_minor: 1,
    currency: 'USD',
    exponent: 2,
    message_id: randomUUID(),
  });
  const insert = (table: string, row: Record<string, unknown>) => {
    const names = Object.keys(row);
    return database.query(
      `insert into ${table} (${names.join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')})`,
      Object.values(row),
    );
  };
  const wordsOf = async (constraint: string): Promise<string[]> => {
    const [row] = await database.query<{ text: string }>(
      'select pg_get_constraintdef(oid) as text from pg_constraint where conname = $1',
      [constraint],
    );
    return [...(row?.text ?? '').matchAll(/'(\w+)'/g)].map(([, word]) => word ?? '').sort();
  };

  it('knows the states of the state machine, and which of them are ends', async () => {
    expect(await wordsOf('wallet_transaction_state')).toEqual(Object.keys(TRANSITIONS).sort());
    expect(await wordsOf('wallet_transaction_settled_at')).toEqual([...ENDED].sort());
  });

  it('takes a sound row in every state', async () => {
    for (const state of Object.keys(TRANSITIONS)) {
      const settled = ENDED.has(state as keyof typeof TRANSITIONS);
      await insert('wallet_transaction', { ...sound(), state, settled_at: settled ? new Date() : null });
    }
    await insert('wallet_transaction', { ...sound(), movement: 'credit', amount_minor: 0 });
    await insert('wallet_transaction', { ...sound(), kind: 'free', amount_minor: 0, message_id: null });
    await insert('wallet_transaction', { ...sound(), kind: 'promo', amount_minor: 500, message_id: null });
    await insert('wallet_transaction', { ...sound(), amount_minor: '9007199254740991' });
  });

  it.each([
    { what: 'a state that does not exist', constraint: 'wallet_transaction_state', change: { state: 'lost' } },
    {
      what: 'a settled state without a time',
      constraint: 'wallet_transaction_settled_at',
      change: { state: 'confirmed' },
    },
    {
      what: 'a time without a settled state',
      constraint: 'wallet_transaction_settled_at',
      change: { state: 'unknown', settled_at: new Date() },
    },
    {
      what: 'a time on a parked transaction',
      constraint: 'wallet_transaction_settled_at',
      change: { state: 'parked', settled_at: new Date() },
    },
    {
      what: 'a time on a debit that is being paid back',
      constraint: 'wallet_transaction_settled_at',
      change: { state: 'rolling_back', settled_at: new Date() },
    },
    { what: 'a debit of nothing', constraint: 'wallet_transaction_amount', change: { amount_minor: 0 } },
    {
      what: 'a bet of money without a message to the operator',
      constraint: 'wallet_transaction_message',
      change: { message_id: null },
    },
    {
      what: 'a free win without a message to the operator',
      constraint: 'wallet_transaction_message',
      change: { movement: 'credit', kind: 'free', message_id: null },
    },
    {
      what: 'a negative credit',
      constraint: 'wallet_transaction_amount',
      change: { movement: 'credit', amount_minor: -1 },
    },
    {
      what: 'an amount that JSON cannot carry',
      constraint: 'wallet_transaction_amount',
      change: { amount_minor: '9007199254740992' },
    },
    { what: 'another movement', constraint: 'wallet_transaction_movement', change: { movement: 'bonus' } },
    { what: 'another kind', constraint: 'wallet_transaction_kind', change: { kind: 'loan' } },
  ])('refuses $what', async ({ change, constraint }) => {
    await expect(insert('wallet_transaction', { ...sound(), ...change })).rejects.toMatchObject({
      code: '23514',
      constraint,
    });
  });

  it('refuses a second transaction for a business key, and takes it for another partner, player or movement', async () => {
    const row = sound();
    await insert('wallet_transaction', row);
    await expect(insert('wallet_transaction', { ...row, id: randomUUID() })).rejects.toMatchObject({
      code: '23505',
      constraint: 'wallet_transaction_business_key',
    });
    for (const other of [{ rgs_id: 3 }, { operator_id: 4 }, { player_id: 'q' }, { movement: 'credit' }])
      await insert('wallet_transaction', { ...row, id: randomUUID(), ...other });
  });

  it('refuses a second webhook for an outcome, and an outcome that does not exist', async () => {
    const outcome = { transaction_id: randomUUID(), outcome: 'OK', message_id: randomUUID() };
    await insert('wallet_outcome', outcome);
    await expect(insert('wallet_outcome', { ...outcome, message_id: randomUUID() })).rejects.toMatchObject({
      code: '23505',
      constraint: 'wallet_outcome_pkey',
    });
    await expect(insert('wallet_outcome', { ...outcome, outcome: 'MAYBE' })).rejects.toMatchObject({
      code: '23514',
      constraint: 'wallet_outcome_outcome',
    });
  });

  it('refuses a second fingerprint for a key, and takes the key for another partner', async () => {
    const key = { rgs_id: 2, key: 'k', fingerprint: Buffer.from('a'), transaction_id: randomUUID() };
    await insert('idempotency_key', key);
    await expect(insert('idempotency_key', { ...key, fingerprint: Buffer.from('b') })).rejects.toMatchObject({
      code: '23505',
      constraint: 'idempotency_key_pkey',
    });
    await insert('idempotency_key', { ...key, rgs_id: 3 });
  });

  it.each([
    { what: 'an event of another kind', constraint: 'wallet_event_kind', change: { kind: 'guess' } },
    { what: 'an event from nowhere', constraint: 'wallet_event_source', change: { source: 'rumour' } },
  ])('refuses $what', async ({ change, constraint }) => {
    const event = {
      transaction_id: randomUUID(),
      n: 1,
      kind: 'transition',
      source: 'hub',
      from_state: 'initiated',
      to_state: 'unknown',
      ...change,
    };
    await expect(insert('wallet_event', event)).rejects.toMatchObject({ code: '23514', constraint });
  });

  it('takes a change along every arrow of the state machine, and refuses it along every other', async () => {
    const states = Object.keys(TRANSITIONS) as (keyof typeof TRANSITIONS)[];
    for (const from of states)
      for (const to of states) {
        const event = insert('wallet_event', {
          transaction_id: randomUUID(),
          n: 1,
          kind: 'transition',
          source: 'hub',
          from_state: from,
          to_state: to,
        });
        if (TRANSITIONS[from].includes(to)) await event;
        else await expect(event).rejects.toMatchObject({ code: '23514', constraint: 'wallet_event_arrow' });
      }
    await insert('wallet_event', {
      transaction_id: randomUUID(),
      n: 1,
      kind: 'contradiction',
      source: 'operator_callback',
      from_state: 'rejected',
      to_state: 'rejected',
    });
  });

  it('refuses a callback with a verdict that nobody gives', async () => {
    const callback = {
      operator_id: 1,
      body_sha256: Buffer.from('x'),
      body: '{}',
      ref_id: 'r',
      correlation_id: 'c',
      verdict: 'ignored',
    };
    await expect(insert('inbound_callback', callback)).rejects.toMatchObject({
      code: '23514',
      constraint: 'inbound_callback_verdict',
    });
  });
});
