import 'reflect-metadata';
import fc from 'fast-check';
import { plainToInstance } from 'class-transformer';
import { getMetadataStorage, validateSync } from 'class-validator';
import { StrictValidationPipe } from '../../src/http/validation';
import { CreditRequest, DebitRequest } from '../../src/wallet/wallet.dto';
import { OperatorCallback } from '../../src/webhooks/operator-callbacks.dto';

type Class = new () => object;

/** The long way alone: what the decorators say, without the quick look before them. */
function faultsByDecorators(metatype: Class, body: object): string[] {
  return validateSync(plainToInstance(metatype, body), {
    whitelist: true,
    forbidNonWhitelisted: true,
    forbidUnknownValues: true,
  }).map(({ property }) => property);
}

async function byPipe(metatype: Class, body: object): Promise<object | null> {
  try {
    return (await new StrictValidationPipe().transform(body, { type: 'body', metatype })) as object;
  } catch {
    return null;
  }
}

const odd = fc.constantFrom<unknown>(
  undefined,
  null,
  '',
  ' ',
  '😀',
  '\ud800',
  'a\u0000',
  'tab\t',
  '\u007f',
  'é',
  'x'.repeat(16),
  'x'.repeat(17),
  'x'.repeat(64),
  'x'.repeat(65),
  'x'.repeat(128),
  'x'.repeat(129),
  '😀'.repeat(100),
  'x'.repeat(257),
  0,
  -0,
  1,
  -1,
  0.5,
  2 ** 53,
  Number.MAX_SAFE_INTEGER,
  Number.NaN,
  Infinity,
  '5.00',
  '1e3',
  true,
  false,
  [],
  {},
  'regular',
  'jackpot',
  'withdraw',
  'deposit',
  'Deposit',
  'rollback:bet-1',
  'Rollback:',
  '.',
  '..',
);
const text = fc.oneof(
  { weight: 6, arbitrary: fc.string({ minLength: 1, maxLength: 20 }) },
  { weight: 1, arbitrary: odd },
);
const rarely = (arbitrary: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 6, arbitrary }, { weight: 1, arbitrary: odd });

const movement = fc.record(
  {
    playerId: text,
    refId: text,
    currency: rarely(fc.constant('USD')),
    amountCents: rarely(fc.integer({ min: -2, max: 1000 })),
    roundId: text,
    roundClosed: rarely(fc.boolean()),
    kind: rarely(fc.constantFrom('regular', 'free', 'promo', 'jackpot')),
    gameId: text,
    sessionId: text,
    meta: fc.constantFrom<unknown>({ table: 4 }, [], 'x'),
    stranger: fc.constant(1),
  },
  { requiredKeys: [] },
);
const usualMovement = fc.record(
  {
    playerId: fc.stringMatching(/^[\x20-\x7e]{1,128}$/),
    refId: fc.stringMatching(/^[\x20-\x7e]{1,128}$/),
    currency: fc.constant('USD'),
    amountCents: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    roundClosed: fc.boolean(),
  },
  { requiredKeys: ['playerId', 'refId', 'currency', 'amountCents'] },
);
const callback = fc.record(
  {
    playerId: text,
    amount: rarely(fc.double()),
    currency: rarely(fc.constant('USD')),
    status: rarely(fc.constant('OK')),
    event: rarely(fc.constantFrom('withdraw', 'deposit')),
    refId: text,
    correlationId: text,
    reason: text,
    balance: rarely(fc.double()),
    stranger: fc.constant(1),
  },
  { requiredKeys: ['playerId', 'amount'] },
);

const usualCallback = callback.map((body) => ({
  ...body,
  playerId: 'player-1',
  amount: 5,
  currency: 'USD',
  status: 'OK',
  event: 'withdraw',
  refId: 'bet-1',
  correlationId: 'c',
}));

const MOVEMENT_RULES = {
  playerId: 'isString isLength isPlainText',
  currency: 'isString isLength isPlainText',
  refId: 'isString isLength isPlainText isFreeReference',
  roundId: 'isOptional isString isLength isPlainText',
  roundClosed: 'isOptional isBoolean',
  kind: 'isOptional isIn',
  gameId: 'isOptional isString isLength isPlainText',
  sessionId: 'isOptional isString isLength isPlainText',
  meta: 'isOptional isMeta',
};
const CALLBACK_RULES = {
  playerId: 'isString isLength isPlainText',
  amount: 'isDecimal',
  currency: 'isString isLength isPlainText',
  status: 'isString isLength isPlainText',
  event: 'isIn',
  refId: 'isString isLength isPlainText',
  correlationId: 'isString isLength isPlainText',
  reason: 'isOptional isString isLength isStorableText',
  balance: 'isOptional isDecimal',
};

describe('the quick look at the bodies of busy routes', () => {
  it.each<[string, Class, fc.Arbitrary<object>]>([
    ['debits', DebitRequest, fc.oneof(movement, usualMovement)],
    ['credits', CreditRequest, fc.oneof(movement, usualMovement)],
    ['callbacks', OperatorCallback, fc.oneof(callback, usualCallback)],
  ])('takes of %s exactly what their decorators take, and makes the same of it', async (_name, metatype, bodies) => {
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        const faults = faultsByDecorators(metatype, { ...body });
        const read = await byPipe(metatype, { ...body });
        expect({ body, taken: read !== null }).toEqual({ body, taken: faults.length === 0 });
        if (read === null) return;
        taken += 1;
        expect(read).toBeInstanceOf(metatype);
        // Null in an optional field is as if it were not there.
        expect(read).toEqual(
          plainToInstance(metatype, Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))),
        );
      }),
      { numRuns: 500 },
    );
    expect(taken).toBeGreaterThan(20);
  });

  // A rule that is new to a class is new to its quick look too, and no generator above can be trusted to hit it.
  it.each<[string, Class, Record<string, string>]>([
    ['debits', DebitRequest, { ...MOVEMENT_RULES, amountCents: 'isInt isStake max' }],
    ['credits', CreditRequest, { ...MOVEMENT_RULES, amountCents: 'isInt min max' }],
    ['callbacks', OperatorCallback, CALLBACK_RULES],
  ])('knows every rule of %s', (_name, metatype, rules) => {
    const found: Record<string, string> = {};
    for (const { propertyName, type, name } of getMetadataStorage().getTargetValidationMetadatas(
      metatype,
      '',
      false,
      false,
    )) {
      const rule = name ?? type;
      found[propertyName] = [...(found[propertyName]?.split(' ') ?? []), rule].sort().join(' ');
    }
    expect(found).toEqual(
      Object.fromEntries(Object.entries(rules).map(([field, list]) => [field, list.split(' ').sort().join(' ')])),
    );
  });
});
