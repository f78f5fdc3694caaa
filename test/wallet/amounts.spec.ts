import { randomUUID } from 'node:crypto';
import { startMockOperator } from '../../mocks/operator/start';
import { PartnerDirectory } from '../../src/partners/partner-directory';
import { expectProblem } from '../support/hub/problem';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const CURRENCIES = ['USD', 'EUR', 'JPY', 'KWD'];
const MAX = '9007199254740991';

let hub: TestHub;
let operator: Awaited<ReturnType<typeof startMockOperator>>;
beforeAll(async () => {
  operator = await startMockOperator({ supportedCurrencies: CURRENCIES });
  hub = await TestHub.start({ operator, env: { SUPPORTED_CURRENCIES: CURRENCIES.join(',') } });
  operator.settings.hubUrl = hub.url;
});
afterAll(async () => {
  await hub.stop();
  await operator.close();
});

type Movement = 'debit' | 'credit';

/** The amount is written into the body digit by digit, as a JSON writer of another language would. */
function post(movement: Movement, amount: string, currency = 'USD', refId = randomUUID()) {
  return hub.call(
    'POST',
    `/wallet/${movement}`,
    `{"playerId":"payer-${refId}","amountCents":${amount},"currency":"${currency}","refId":"${refId}"}`,
  );
}

/** The amount of a booking as it stood in the hub's request, byte for byte: the mock keeps the text of the number. */
async function amountAtOperator(refId: string): Promise<string | undefined> {
  return waitFor(
    `the operator booked ${refId}`,
    async () =>
      /"amount":([^,]+),/.exec(await (await fetch(`${operator.url}/v2/transactions?reference=${refId}`)).text())?.[1],
  );
}

describe('amountCents', () => {
  it.each<[string, number]>([
    ['500', 500],
    ['500.0', 500],
    ['500.000000000000000000000000', 500],
    ['5e2', 500],
    ['5E+2', 500],
    ['0.5e3', 500],
    ['50000e-2', 500],
    ['1', 1],
    ['100000000', 100_000_000],
  ])('%s is taken as %i by debit and credit alike', async (amount, minor) => {
    for (const movement of ['debit', 'credit'] as const) {
      const answer = await post(movement, amount);
      expect(answer.status).toBe(200);
      expect((await hub.transaction(answer.body.transactionId)).amountCents).toBe(minor);
    }
  });

  it.each([
    ['a fraction', '0.5'],
    ['a fraction that a double would round to a whole number', '499.99999999999999999'],
    ['a fraction far behind the point', '500.0000000000000000000001'],
    ['a fraction with an exponent', '5e-1'],
    ['less than nothing', '-1'],
    ['a great deal less than nothing', `-${MAX}`],
    ['text', '"500"'],
    ['empty text', '""'],
    ['text that is no number', '"all"'],
    ['2^53', '9007199254740992'],
    ['2^53 + 1, which a double would round', '9007199254740993'],
    ['2^63', '9223372036854775808'],
    ['1e21', '1e21'],
    ['1e400, which a double makes infinite', '1e400'],
    ['-1e400', '-1e400'],
    ['a number of 300 digits', '9'.repeat(300)],
    ['null', 'null'],
    ['true', 'true'],
    ['a list', '[500]'],
    ['an object', '{"value":500}'],
  ])('that is %s is 422 with the field named', async (_what, amount) => {
    for (const movement of ['debit', 'credit'] as const) {
      const refId = randomUUID();
      const answer = await post(movement, amount, 'USD', refId);
      expectProblem(answer, 'validation_failed');
      expect(new Set(answer.body.errors.map(({ field }: { field: string }) => field))).toEqual(
        new Set(['amountCents']),
      );
      expect((await hub.call('GET', `/wallet/transactions?refId=${refId}`)).body.items).toEqual([]);
    }
  });

  it.each(['0', '0.0', '-0', '0e9'])('%s is a lost round as a credit, and no stake as a debit', async (zero) => {
    const answer = await post('credit', zero);
    expect(answer.status).toBe(200);
    const settled = await hub.reaches(answer.body.transactionId, 'confirmed');
    // -0 is a number of its own in JSON and in JavaScript, but not in money.
    expect(Object.is(settled.amountCents, 0)).toBe(true);
    expect(await amountAtOperator(answer.body.refId)).toBe('0.00');
    expectProblem(await post('debit', zero), 'validation_failed');
  });

  it('that is missing is 422 with the field named', async () => {
    const answer = await hub.debit({ amountCents: undefined });
    expectProblem(answer, 'validation_failed');
    expect(answer.body.errors[0].field).toBe('amountCents');
  });
});

describe('a currency', () => {
  it.each(['TRY', 'usd', 'Usd', 'USDT', 'US', ' USD', 'USD ', 'ZZZ', '840', '$'])(
    '%j that is not in the list is 422 unsupported currency',
    async (currency) => {
      for (const movement of ['debit', 'credit'] as const) {
        const answer = await post(movement, '500', currency);
        expectProblem(answer, 'unsupported_currency');
        expect(answer.body).toMatchObject({ detail: 'unsupported currency', errors: [{ field: 'currency' }] });
      }
    },
  );
});

describe('what arrives at the operator', () => {
  it.each([
    ['USD', '500', '5.00'],
    ['USD', '1999', '19.99'],
    ['USD', '1', '0.01'],
    ['USD', '10', '0.10'],
    ['EUR', '100', '1.00'],
    ['EUR', '435', '4.35'],
    ['JPY', '500', '500'],
    ['JPY', '1', '1'],
    ['KWD', '500', '0.500'],
    ['KWD', '1', '0.001'],
    ['KWD', '12345', '12.345'],
    ['USD', MAX, '90071992547409.91'],
    ['JPY', MAX, MAX],
    ['KWD', MAX, '9007199254740.991'],
  ])('for %s %s is %s, byte for byte', async (currency, amount, major) => {
    const answer = await post('credit', amount, currency);
    await hub.reaches(answer.body.transactionId, 'confirmed');
    expect(await amountAtOperator(answer.body.refId)).toBe(major);
  });

  it("is a debit's amount just so", async () => {
    const answer = await post('debit', '1999');
    await hub.reaches(answer.body.transactionId, 'confirmed');
    expect(await amountAtOperator(answer.body.refId)).toBe('19.99');
    expect(await hub.player(`payer-${answer.body.refId}`)).toMatchObject({ net: { USD: '-1999' } });
  });

  it("is text where the operator's profile says so", async () => {
    const encode = async (encoding: string) => {
      await hub.database.query(`update partner set amount_encoding = $1 where code = 'operator'`, [encoding]);
      await hub.app.get(PartnerDirectory).refresh();
    };
    await encode('string');
    try {
      for (const [currency, amount, major] of [
        ['USD', '500', '"5.00"'],
        ['JPY', '500', '"500"'],
        ['KWD', '500', '"0.500"'],
        ['USD', MAX, '"90071992547409.91"'],
      ] as const) {
        const answer = await post('credit', amount, currency);
        await hub.reaches(answer.body.transactionId, 'confirmed');
        expect(await amountAtOperator(answer.body.refId)).toBe(major);
      }
    } finally {
      await encode('number');
    }
  });

  it("follows the operator's own count of decimals where it differs from ISO 4217", async () => {
    const count = async (exponents: string) => {
      await hub.database.query(`update partner set currency_exponents = $1 where code = 'operator'`, [exponents]);
      await hub.app.get(PartnerDirectory).refresh();
    };
    await count('{"EUR":3}');
    try {
      const answer = await post('credit', '500', 'EUR');
      // The mock counts cents, so it refuses nothing here: 0.500 is half a euro to it as well.
      expect(await amountAtOperator(answer.body.refId)).toBe('0.500');
    } finally {
      await count('{}');
    }
  });
});

describe('what arrives at the RGS', () => {
  it.each([
    ['USD', '1999'],
    ['JPY', '500'],
    ['KWD', '500'],
    ['USD', MAX],
  ])('for %s %s is the same whole number', async (currency, amount) => {
    const answer = await post('credit', amount, currency);
    const call = await waitFor('the RGS heard of it', async () =>
      (await hub.rgsCalls()).find(({ refId }) => refId === answer.body.refId),
    );
    expect(call.body).toContain(`"amountCents":${amount},`);
  });
});

describe("the operator's decimals", () => {
  /** A debit that waits for its callback. */
  async function pending(currency: string, amount: string) {
    await hub.operatorFault({ kind: 'pending', next: 1 });
    operator.settings.callbacks = false;
    const { body } = await post('debit', amount, currency);
    await waitFor('the operator has it', async () =>
      (await hub.operatorCalls()).some((call) => call.reference === body.refId && call.status === 202),
    );
    operator.settings.callbacks = true;
    return body;
  }
  const callback = (
    transaction: { refId: string; correlationId: string },
    currency: string,
    amount: string,
    balance = '0',
  ) =>
    hub.call(
      'POST',
      '/webhooks/incoming',
      `{"playerId":"payer-${transaction.refId}","amount":${amount},"balance":${balance},"currency":"${currency}","status":"OK","event":"withdraw","refId":"${transaction.refId}","correlationId":"${transaction.correlationId}"}`,
    );

  it.each([
    ['USD', '1999', '19.99', '80.01', 8001],
    ['USD', '1999', '19.990', '"80.01"', 8001],
    ['USD', '1999', '1.999e1', '8.001e1', 8001],
    ['USD', '1999', '"19.99"', '0.1', 10],
    ['JPY', '500', '500', '99500', 99_500],
    ['JPY', '500', '500.0', '99500.00', 99_500],
    ['KWD', '500', '0.500', '1.234', 1234],
    ['KWD', '500', '0.5', '0.001', 1],
  ])(
    '%s %s as %s is the same money, and a balance of %s is %i',
    async (currency, minor, amount, balance, balanceCents) => {
      const transaction = await pending(currency, minor);
      expect((await callback(transaction, currency, amount, balance)).body).toEqual({ status: 'accepted' });
      expect(await hub.reaches(transaction.transactionId, 'confirmed')).toMatchObject({
        amountCents: Number(minor),
        balanceCents,
      });
    },
  );

  it('that name another amount settle nothing, by however little they differ', async () => {
    const transaction = await pending('USD', '1999');
    for (const amount of [
      '19.98',
      '20',
      '1999',
      '19.991',
      '19.9900000000000001',
      '-19.99',
      '"19.9"',
      '0',
      '1e400',
      '1e99',
      '9'.repeat(5_000),
    ]) {
      const answer = await callback(transaction, 'USD', amount);
      expect([amount.slice(0, 20), [409, 422].includes(answer.status) ? 'refused' : answer.text]).toEqual([
        amount.slice(0, 20),
        'refused',
      ]);
      expectProblem(answer, answer.status === 409 ? 'callback_mismatch' : 'validation_failed');
      expect(answer.body.errors[0].field).toBe('amount');
    }
    expect((await hub.transaction(transaction.transactionId)).state).toBe('initiated');
    expect((await callback(transaction, 'USD', '19.99')).status).toBe(200);
    await hub.reaches(transaction.transactionId, 'confirmed');
  });
});
