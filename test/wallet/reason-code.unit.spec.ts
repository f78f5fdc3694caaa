import { reasonCodeOf, reasonCodeOfFormer } from '../../src/wallet/reason-code';

describe("the hub's own word for a refusal", () => {
  it.each([
    [
      'insufficient_funds',
      [
        'insufficient_funds',
        'INSUFFICIENT_FUNDS',
        'InsufficientFunds',
        'insufficientBalance',
        'Insufficient funds.',
        'NOT_ENOUGH_MONEY',
        'no funds',
        'Not enough balance',
        'OUT_OF_MONEY',
        'balance too low',
      ],
    ],
    [
      'player_blocked',
      [
        'player_blocked',
        'PLAYER_IS_LOCKED',
        'Account suspended',
        'accountDisabled',
        'user is frozen',
        'SELF_EXCLUDED',
        'blocked',
      ],
    ],
    [
      'limit_reached',
      [
        'limit_reached',
        'BET_LIMIT_EXCEEDED',
        'lossLimitReached',
        'max bet',
        'stake too high',
        'amount exceeds the maximum',
        'cool-off',
      ],
    ],
    [
      'bet_not_allowed',
      [
        'bet_not_allowed',
        'GameBlocked',
        'bet refused',
        'not permitted in this jurisdiction',
        'GAME_NOT_AVAILABLE',
        'country restricted',
      ],
    ],
    ['other', ['REJECTED', 'E-1004', '', 'Kein Guthaben', 'HTTP 409']],
  ] as const)('is %s for what operators write for it', (code, words) => {
    for (const word of words) expect([word, reasonCodeOf('rejected_business', word)]).toEqual([word, code]);
  });

  it.each(['invalid signature', 'Unauthorized', 'HTTP 401', 'HTTP 404', 'unknown field currency', 'forbidden'])(
    'is operator_misconfigured when the call was refused and not the bet: %s',
    (reason) => {
      expect(reasonCodeOf('rejected_contract', reason)).toBe('operator_misconfigured');
    },
  );

  it('is that of the money also where the status speaks of the call', () => {
    expect(reasonCodeOf('rejected_contract', 'insufficient_funds')).toBe('insufficient_funds');
  });

  it("is the hub's own where the hub gave up the bet, and never for an operator that uses the same word", () => {
    expect([
      reasonCodeOf('expired', 'deadline'),
      reasonCodeOf('expired', 'rolled_back'),
      reasonCodeOf('absent', 'deadline'),
    ]).toEqual(['deadline', 'rolled_back', 'deadline']);
    expect([reasonCodeOf('rejected_business', 'deadline'), reasonCodeOf('rejected_business', 'rolled_back')]).toEqual([
      'other',
      'other',
    ]);
  });

  it.each(['applied', 'throttled', 'accepted', 'unknown'] as const)('is none while nothing was refused: %s', (said) => {
    expect(reasonCodeOf(said, 'HTTP 500')).toBeNull();
  });

  it('is found for movements that ended before it was stored', () => {
    expect(['deadline', 'rolled_back', 'insufficient_funds', 'REJECTED', null].map(reasonCodeOfFormer)).toEqual([
      'deadline',
      'rolled_back',
      'insufficient_funds',
      'other',
      null,
    ]);
  });
});
