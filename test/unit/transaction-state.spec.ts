import fc from 'fast-check';
import { type Decision, type Evidence, SETTLED, TRANSITIONS, type TransactionState, decide, endOf } from '../../src/wallet/transaction-state';

const STATES = Object.keys(TRANSITIONS) as TransactionState[];
const CLASSES: readonly Evidence['class'][] = ['applied', 'rejected_business', 'rejected_contract', 'throttled', 'accepted', 'unknown'];
const FLAGS = [false, true];

const EVERY_INPUT: readonly Evidence[] = CLASSES.flatMap((outcome) =>
  STATES.flatMap((state) =>
    (['debit', 'credit'] as const).flatMap((movement) =>
      (['operator_response', 'operator_callback'] as const).flatMap((source) =>
        FLAGS.flatMap((lastAttempt) => FLAGS.flatMap((idempotentByReference) => FLAGS.map((repeated) => ({ class: outcome, state, movement, source, lastAttempt, idempotentByReference, repeated })))),
      ),
    ),
  ),
);

type Wanted = 'stay' | 'contradiction' | `-> ${TransactionState}`;

interface Line {
  readonly said: Evidence['class'];
  readonly while: readonly TransactionState[];
  readonly when?: Partial<Evidence>;
  /** Another condition, for what single fields cannot say. */
  readonly if?: (evidence: Evidence) => boolean;
  readonly then: Wanted;
  readonly told?: Decision['notice'];
  readonly message: Decision['message'];
}

const TOLD_AND_DONE = ['confirmed', 'compensated', 'rolling_back', 'rolled_back'] as const;
const GONE = ['compensating', 'compensated', 'rolling_back', 'rolled_back'] as const;
const OPEN = ['initiated', 'unknown', 'parked', 'compensating'] as const;
const response = { source: 'operator_response' } as const;
const callback = { source: 'operator_callback' } as const;
/** Nothing more will be tried, or may be. */
const spent = ({ lastAttempt, idempotentByReference }: Evidence) => lastAttempt || !idempotentByReference;
const mayRepeat = (evidence: Evidence) => !spent(evidence);
/** An operator's "accepted" to a first request is news; to a repeat it is silence. */
const silence = (evidence: Evidence) => evidence.class === 'unknown' || evidence.repeated;

/** The whole of money-flow's table. Each possible input must meet exactly one line. */
const TABLE: readonly Line[] = [
  { said: 'applied', while: ['initiated', 'unknown', 'parked'], then: '-> confirmed', told: 'OK', message: 'sent' },
  { said: 'applied', while: ['confirmed'], then: 'stay', message: 'sent' },
  { said: 'applied', while: ['rejected', ...GONE], then: 'contradiction', message: 'sent' },

  { said: 'rejected_business', while: ['initiated', 'unknown', 'parked'], when: { movement: 'debit' }, then: '-> rejected', told: 'REJECTED', message: 'dead' },
  { said: 'rejected_business', while: ['initiated', 'unknown'], when: { movement: 'credit' }, then: '-> parked', message: 'dead' },
  { said: 'rejected_business', while: ['parked'], when: { movement: 'credit' }, then: 'stay', message: 'dead' },
  { said: 'rejected_business', while: ['rejected'], then: 'stay', message: 'dead' },
  { said: 'rejected_business', while: ['confirmed', ...GONE], then: 'contradiction', message: 'dead' },

  { said: 'rejected_contract', while: ['initiated'], when: { movement: 'debit', repeated: false }, then: '-> rejected', told: 'REJECTED', message: 'dead' },
  { said: 'rejected_contract', while: ['initiated'], when: { movement: 'credit', repeated: false }, then: '-> parked', message: 'dead' },
  { said: 'rejected_contract', while: ['initiated'], when: { repeated: true, lastAttempt: false }, then: '-> unknown', message: 'if_unknown' },
  { said: 'rejected_contract', while: ['initiated'], when: { repeated: true, lastAttempt: true, movement: 'debit' }, then: '-> parked', message: 'blocked' },
  { said: 'rejected_contract', while: ['initiated'], when: { repeated: true, lastAttempt: true, movement: 'credit' }, then: '-> parked', message: 'dead' },
  { said: 'rejected_contract', while: ['unknown'], when: { lastAttempt: false }, then: 'stay', message: 'if_unknown' },
  { said: 'rejected_contract', while: ['unknown'], when: { lastAttempt: true, movement: 'debit' }, then: '-> parked', message: 'blocked' },
  { said: 'rejected_contract', while: ['unknown'], when: { lastAttempt: true, movement: 'credit' }, then: '-> parked', message: 'dead' },
  { said: 'rejected_contract', while: ['parked'], when: { movement: 'debit' }, then: 'stay', message: 'blocked' },
  { said: 'rejected_contract', while: ['parked'], when: { movement: 'credit' }, then: 'stay', message: 'dead' },
  { said: 'rejected_contract', while: ['rejected', 'confirmed', ...GONE], then: 'stay', message: 'dead' },

  { said: 'throttled', while: OPEN, then: 'stay', message: 'proposed' },
  { said: 'throttled', while: TOLD_AND_DONE, then: 'stay', message: 'sent' },
  { said: 'throttled', while: ['rejected'], then: 'stay', message: 'dead' },

  { said: 'accepted', while: OPEN, when: { repeated: false }, then: 'stay', message: 'proposed' },
  ...(['accepted', 'unknown'] as const).flatMap((said): Line[] => [
    { said, while: OPEN, when: callback, if: silence, then: 'stay', message: 'proposed' },
    { said, while: ['initiated'], when: response, if: (e) => silence(e) && mayRepeat(e), then: '-> unknown', message: 'proposed' },
    { said, while: ['unknown', 'parked', 'compensating'], when: response, if: (e) => silence(e) && mayRepeat(e), then: 'stay', message: 'proposed' },
    { said, while: ['initiated', 'unknown', 'compensating'], when: { ...response, movement: 'debit' }, if: (e) => silence(e) && spent(e), then: '-> parked', message: 'blocked' },
    { said, while: ['initiated', 'unknown', 'compensating'], when: { ...response, movement: 'credit' }, if: (e) => silence(e) && spent(e), then: '-> parked', message: 'dead' },
    { said, while: ['parked'], when: { ...response, movement: 'debit' }, if: (e) => silence(e) && spent(e), then: 'stay', message: 'blocked' },
    { said, while: ['parked'], when: { ...response, movement: 'credit' }, if: (e) => silence(e) && spent(e), then: 'stay', message: 'dead' },
    { said, while: TOLD_AND_DONE, then: 'stay', message: 'sent' },
    { said, while: ['rejected'], then: 'stay', message: 'dead' },
  ]),
];

const fits = (line: Line, evidence: Evidence): boolean =>
  line.said === evidence.class &&
  line.while.includes(evidence.state) &&
  Object.entries(line.when ?? {}).every(([field, value]) => evidence[field as keyof Evidence] === value) &&
  (line.if === undefined || line.if(evidence));

const shown = ({ to, contradiction, notice, message }: Decision): string => `${contradiction ? 'contradiction' : to === null ? 'stay' : `-> ${to}`}, told ${notice ?? 'nothing'}, message ${message}`;

describe('what an operator\'s word does to a transaction', () => {
  it('is said by exactly one line of the table for each of the 1728 possible inputs', () => {
    expect(EVERY_INPUT).toHaveLength(1728);
    const odd = EVERY_INPUT.map((evidence) => ({ evidence, lines: TABLE.filter((line) => fits(line, evidence)).length })).filter(({ lines }) => lines !== 1);
    expect(odd).toEqual([]);
  });

  it.each(TABLE.map((line) => ({ ...line, name: `${line.said} while ${line.while.join(' or ')}${line.when === undefined ? '' : ` ${JSON.stringify(line.when)}`} (line ${TABLE.indexOf(line) + 1})` })))('$name: $then', (line) => {
    const inputs = EVERY_INPUT.filter((evidence) => fits(line, evidence));
    expect(inputs.length).toBeGreaterThan(0);
    for (const evidence of inputs) expect({ evidence, decision: shown(decide(evidence)) }).toEqual({ evidence, decision: `${line.then}, told ${line.told ?? 'nothing'}, message ${line.message}` });
  });
});

const anyEvidence: fc.Arbitrary<Evidence> = fc.constantFrom(...EVERY_INPUT);

describe('the state machine', () => {
  it('has the arrows that docs/architecture.md draws, and no others', () => {
    expect(TRANSITIONS).toEqual({
      initiated: ['confirmed', 'rejected', 'unknown', 'parked'],
      unknown: ['confirmed', 'rejected', 'compensating', 'parked'],
      compensating: ['compensated', 'parked'],
      confirmed: ['rolling_back'],
      rolling_back: ['rolled_back'],
      parked: ['confirmed', 'rejected', 'compensated'],
      rejected: [],
      compensated: [],
      rolled_back: [],
    });
  });

  it('moves only along its arrows', () => {
    for (const evidence of EVERY_INPUT) {
      const { to } = decide(evidence);
      if (to !== null) expect({ evidence, allowed: TRANSITIONS[evidence.state] }).toEqual({ evidence, allowed: expect.arrayContaining([to]) });
    }
  });

  it('never changes a settled transaction on an operator\'s word, and raises a contradiction only against one that is settled or on its way back', () => {
    for (const evidence of EVERY_INPUT) {
      const decision = decide(evidence);
      if (SETTLED.has(evidence.state)) expect(decision.to).toBeNull();
      if (decision.contradiction) expect(SETTLED.has(evidence.state) || evidence.state === 'compensating').toBe(true);
    }
  });

  it('tells the RGS exactly when the effect becomes known, and marks a message sent only when it was applied', () => {
    for (const evidence of EVERY_INPUT) {
      const { to, notice, message } = decide(evidence);
      expect({ evidence, told: notice }).toEqual({ evidence, told: to === 'confirmed' ? 'OK' : to === 'rejected' ? 'REJECTED' : null });
      if (message === 'sent') expect({ evidence, sentFor: evidence.class === 'applied' || (SETTLED.has(evidence.state) && evidence.state !== 'rejected') }).toEqual({ evidence, sentFor: true });
    }
  });

  it('never calls a credit rejected: a player who is owed money stays owed it', () => {
    for (const evidence of EVERY_INPUT.filter(({ movement }) => movement === 'credit')) expect(decide(evidence).to).not.toBe('rejected');
  });

  it('from the start, whatever is said in whatever order, tells one outcome at most and stays in it', () => {
    fc.assert(
      fc.property(fc.constantFrom('debit' as const, 'credit' as const), fc.boolean(), fc.array(anyEvidence, { maxLength: 30 }), (movement, idempotentByReference, words) => {
        let state: TransactionState = 'initiated';
        const told: string[] = [];
        for (const word of words) {
          const { to, notice } = decide({ ...word, state, movement, idempotentByReference });
          if (to !== null) {
            expect(TRANSITIONS[state]).toContain(to);
            state = to;
          }
          if (notice !== null) told.push(notice);
        }
        expect(told.length).toBeLessThanOrEqual(1);
        expect(told).toEqual(state === 'confirmed' ? ['OK'] : state === 'rejected' ? ['REJECTED'] : []);
      }),
      { numRuns: 2000 },
    );
  });

  it('ends the message of a rejected transaction as dead and of any other settled one as sent', () => {
    expect(Object.fromEntries([...SETTLED].map((state) => [state, endOf(state)]))).toEqual({ confirmed: 'sent', rejected: 'dead', compensated: 'sent', rolling_back: 'sent', rolled_back: 'sent' });
  });
});
