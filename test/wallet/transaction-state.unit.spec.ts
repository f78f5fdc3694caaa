import fc from 'fast-check';
import {
  type Transition,
  type TransitionInput,
  SETTLED,
  TRANSITIONS,
  type TransactionState,
  decide,
  finalMessageOutcome,
  isOutcomeKnown,
} from '../../src/wallet/transaction-state';

const STATES = Object.keys(TRANSITIONS) as TransactionState[];
const CLASSES: readonly TransitionInput['class'][] = [
  'applied',
  'rejected_business',
  'rejected_contract',
  'throttled',
  'accepted',
  'unknown',
  'absent',
  'expired',
];
const MOVEMENTS = ['debit', 'credit'] as const;
const SOURCES = ['operator_response', 'operator_callback', 'operator_list'] as const;
const ABOUT = ['movement', 'reversal'] as const;
const FLAGS = [
  'lastAttempt',
  'resolvable',
  'repeated',
  'inFlight',
  'refusalIsFinal',
  'unwanted',
  'absentProven',
  'reversing',
] as const;

const product = <A, B>(left: readonly A[], right: readonly B[]): readonly (A & B)[] =>
  left.flatMap((a) => right.map((b) => ({ ...a, ...b })));
const every = <K extends string, V>(name: K, values: readonly V[]) =>
  values.map((value) => ({ [name]: value }) as Record<K, V>);

const EVERY_INPUT: readonly TransitionInput[] = FLAGS.reduce<readonly object[]>(
  (inputs, flag) => product(inputs, every(flag, [false, true])),
  product(
    product(
      product(product(every('class', CLASSES), every('state', STATES)), every('movement', MOVEMENTS)),
      every('source', SOURCES),
    ),
    every('about', ABOUT),
  ),
) as readonly TransitionInput[];

type Wanted = 'stay' | 'contradiction' | `-> ${TransactionState}`;

interface Line {
  readonly about: TransitionInput['about'];
  readonly said: readonly TransitionInput['class'][];
  readonly while: readonly TransactionState[];
  readonly when?: Partial<TransitionInput>;
  /** Another condition, for what single fields cannot say. */
  readonly if?: (evidence: TransitionInput) => boolean;
  readonly then: Wanted;
  readonly told?: Transition['notification'];
  readonly message: Transition['message'];
}

const OPEN = ['initiated', 'unknown'] as const;
/** The movement is known to be applied and told, or about to be undone. */
const APPLIED_ONCE = ['confirmed', 'compensating', 'compensated', 'rolling_back', 'rolled_back'] as const;
const UNDONE = ['compensated', 'rolled_back'] as const;
const PAYING_BACK = ['compensating', 'rolling_back', 'parked'] as const;
const STANDS = ['initiated', 'unknown', 'confirmed', 'rejected'] as const;
const debit = { movement: 'debit' } as const;
const credit = { movement: 'credit' } as const;
const callback = ({ source }: TransitionInput) => source === 'operator_callback';
/** Nothing more will be tried, or may be. */
const spent = ({ lastAttempt, resolvable }: TransitionInput) => lastAttempt || !resolvable;
const heard = (evidence: TransitionInput) => !callback(evidence);
/** A refusal that says nothing of an earlier call, which may be booked yet. */
const early = ({ source, inFlight, refusalIsFinal }: TransitionInput) =>
  source === 'operator_response' && inFlight && !refusalIsFinal;
const final = (evidence: TransitionInput) => !early(evidence);

/** A message about a movement whose place is not known stays with a person when there is nothing left to try. */
const givesUp = (said: TransitionInput['class'], if_: (evidence: TransitionInput) => boolean): Line[] => [
  { about: 'movement', said: [said], while: OPEN, when: debit, if: if_, then: '-> parked', message: 'blocked' },
  { about: 'movement', said: [said], while: OPEN, when: credit, if: if_, then: '-> parked', message: 'dead' },
  {
    about: 'movement',
    said: [said],
    while: ['parked'],
    when: { ...debit, reversing: false },
    if: if_,
    then: 'stay',
    message: 'blocked',
  },
  {
    about: 'movement',
    said: [said],
    while: ['parked'],
    when: { ...credit, reversing: false },
    if: if_,
    then: 'stay',
    message: 'dead',
  },
];

/**
 * The whole of money-flow's table for the movement itself, and for the message that pays a bet back. Each possible
 * input must meet exactly one line.
 */
const TABLE: readonly Line[] = [
  {
    about: 'movement',
    said: ['applied'],
    while: OPEN,
    when: { unwanted: false },
    then: '-> confirmed',
    told: 'OK',
    message: 'sent',
  },
  {
    about: 'movement',
    said: ['applied'],
    while: OPEN,
    when: { unwanted: true },
    then: '-> compensating',
    message: 'sent',
  },
  {
    about: 'movement',
    said: ['applied'],
    while: ['parked'],
    when: { unwanted: false, reversing: false },
    then: '-> confirmed',
    told: 'OK',
    message: 'sent',
  },
  {
    about: 'movement',
    said: ['applied'],
    while: ['parked'],
    when: { unwanted: true, reversing: false },
    then: '-> compensating',
    message: 'sent',
  },
  { about: 'movement', said: ['applied'], while: ['rejected'], then: 'contradiction', message: 'sent' },
  { about: 'movement', said: ['applied'], while: APPLIED_ONCE, then: 'stay', message: 'sent' },

  {
    about: 'movement',
    said: ['rejected_business'],
    while: OPEN,
    when: debit,
    if: final,
    then: '-> rejected',
    told: 'REJECTED',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_business'],
    while: OPEN,
    when: credit,
    if: final,
    then: '-> parked',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_business'],
    while: ['parked'],
    when: { ...debit, reversing: false },
    if: final,
    then: '-> rejected',
    told: 'REJECTED',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_business'],
    while: ['parked'],
    when: { ...credit, reversing: false },
    if: final,
    then: 'stay',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_business'],
    while: ['initiated'],
    when: { lastAttempt: false },
    if: early,
    then: '-> unknown',
    message: 'after_landing',
  },
  {
    about: 'movement',
    said: ['rejected_business'],
    while: ['unknown'],
    when: { lastAttempt: false },
    if: early,
    then: 'stay',
    message: 'after_landing',
  },
  {
    about: 'movement',
    said: ['rejected_business'],
    while: ['parked'],
    when: { lastAttempt: false, reversing: false },
    if: early,
    then: 'stay',
    message: 'after_landing',
  },
  ...givesUp('rejected_business', (e) => early(e) && e.lastAttempt),
  { about: 'movement', said: ['rejected_business'], while: ['rejected'], then: 'stay', message: 'dead' },
  { about: 'movement', said: ['rejected_business'], while: APPLIED_ONCE, then: 'contradiction', message: 'dead' },

  // Wrong credentials or a wrong path: the first request was not applied; of a repeat it says nothing about the request
  // before it.
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: OPEN,
    when: { ...debit, repeated: false },
    then: '-> rejected',
    told: 'REJECTED',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: OPEN,
    when: { ...credit, repeated: false },
    then: '-> parked',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['initiated'],
    when: { repeated: true, lastAttempt: false },
    then: '-> unknown',
    message: 'if_unknown',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['initiated'],
    when: { ...debit, repeated: true, lastAttempt: true },
    then: '-> parked',
    message: 'blocked',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['initiated'],
    when: { ...credit, repeated: true, lastAttempt: true },
    then: '-> parked',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['unknown'],
    when: { repeated: true, lastAttempt: false },
    then: 'stay',
    message: 'if_unknown',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['unknown'],
    when: { repeated: true, ...debit, lastAttempt: true },
    then: '-> parked',
    message: 'blocked',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['unknown'],
    when: { repeated: true, ...credit, lastAttempt: true },
    then: '-> parked',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['parked'],
    when: { ...debit, reversing: false },
    then: 'stay',
    message: 'blocked',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['parked'],
    when: { ...credit, reversing: false },
    then: 'stay',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['rejected', ...APPLIED_ONCE],
    then: 'stay',
    message: 'dead',
  },

  // A call that was turned away moved nothing, but one before it may have: then nothing later may read as "never left".
  {
    about: 'movement',
    said: ['throttled'],
    while: ['initiated'],
    when: { repeated: false },
    then: 'stay',
    message: 'proposed',
  },
  {
    about: 'movement',
    said: ['throttled'],
    while: ['initiated'],
    when: { repeated: true },
    then: '-> unknown',
    message: 'proposed',
  },
  { about: 'movement', said: ['throttled'], while: ['unknown'], then: 'stay', message: 'proposed' },
  {
    about: 'movement',
    said: ['throttled'],
    while: ['parked'],
    when: { reversing: false },
    then: 'stay',
    message: 'proposed',
  },
  {
    about: 'movement',
    said: ['throttled', 'accepted', 'unknown', 'absent', 'expired'],
    while: ['rejected'],
    then: 'stay',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['throttled', 'accepted', 'unknown', 'absent', 'expired'],
    while: APPLIED_ONCE,
    then: 'stay',
    message: 'sent',
  },

  // An operator's "accepted" to a first request is news; to a repeat it is silence.
  { about: 'movement', said: ['accepted'], while: OPEN, when: { repeated: false }, then: 'stay', message: 'proposed' },
  {
    about: 'movement',
    said: ['accepted'],
    while: ['parked'],
    when: { repeated: false, reversing: false },
    then: 'stay',
    message: 'proposed',
  },
  ...(['accepted', 'unknown'] as const).flatMap((said): Line[] => {
    const silence = (evidence: TransitionInput) => said === 'unknown' || evidence.repeated;
    return [
      {
        about: 'movement',
        said: [said],
        while: OPEN,
        if: (e) => silence(e) && callback(e),
        then: 'stay',
        message: 'proposed',
      },
      {
        about: 'movement',
        said: [said],
        while: ['parked'],
        when: { reversing: false },
        if: (e) => silence(e) && callback(e),
        then: 'stay',
        message: 'proposed',
      },
      {
        about: 'movement',
        said: [said],
        while: ['initiated'],
        if: (e) => silence(e) && heard(e) && !spent(e),
        then: '-> unknown',
        message: 'proposed',
      },
      {
        about: 'movement',
        said: [said],
        while: ['unknown'],
        if: (e) => silence(e) && heard(e) && !spent(e),
        then: 'stay',
        message: 'proposed',
      },
      {
        about: 'movement',
        said: [said],
        while: ['parked'],
        when: { reversing: false },
        if: (e) => silence(e) && heard(e) && !spent(e),
        then: 'stay',
        message: 'proposed',
      },
      ...givesUp(said, (e) => silence(e) && heard(e) && spent(e)),
    ];
  }),

  // Absent once is no proof; twice it is: a bet that nobody wants is over, any other goes once more.
  ...(
    [
      { while: OPEN, when: {} },
      { while: ['parked'], when: { reversing: false } },
    ] as const
  ).flatMap((place): Line[] => [
    {
      about: 'movement',
      said: ['absent'],
      while: place.while,
      when: { ...place.when, absentProven: false },
      then: 'stay',
      message: 'ask_again',
    },
    {
      about: 'movement',
      said: ['absent'],
      while: place.while,
      when: { ...place.when, absentProven: true, unwanted: false },
      then: 'stay',
      message: 'again',
    },
    {
      about: 'movement',
      said: ['absent'],
      while: place.while,
      when: { ...place.when, absentProven: true, unwanted: true },
      then: '-> rejected',
      told: 'REJECTED',
      message: 'dead',
    },
  ]),

  { about: 'movement', said: ['expired'], while: OPEN, then: '-> rejected', told: 'REJECTED', message: 'dead' },
  {
    about: 'movement',
    said: ['expired'],
    while: ['parked'],
    when: { reversing: false },
    then: 'stay',
    message: 'dead',
  },

  // Parked for its repayment: the movement is known to be applied, so no word about it begins anything.
  {
    about: 'movement',
    said: ['applied', 'throttled', 'accepted', 'unknown', 'absent', 'expired'],
    while: ['parked'],
    when: { reversing: true },
    then: 'stay',
    message: 'sent',
  },
  {
    about: 'movement',
    said: ['rejected_business'],
    while: ['parked'],
    when: { reversing: true },
    then: 'contradiction',
    message: 'dead',
  },
  {
    about: 'movement',
    said: ['rejected_contract'],
    while: ['parked'],
    when: { reversing: true },
    then: 'stay',
    message: 'dead',
  },

  {
    about: 'reversal',
    said: ['applied'],
    while: ['compensating', 'parked'],
    then: '-> compensated',
    told: 'ROLLED_BACK',
    message: 'sent',
  },
  {
    about: 'reversal',
    said: ['applied'],
    while: ['rolling_back'],
    then: '-> rolled_back',
    told: 'ROLLED_BACK',
    message: 'sent',
  },
  {
    about: 'reversal',
    said: ['rejected_business', 'rejected_contract', 'expired'],
    while: ['compensating', 'rolling_back'],
    if: (e) => final(e) || e.lastAttempt,
    then: '-> parked',
    message: 'dead',
  },
  {
    about: 'reversal',
    said: ['rejected_business', 'rejected_contract', 'expired'],
    while: ['parked'],
    if: (e) => final(e) || e.lastAttempt,
    then: 'stay',
    message: 'dead',
  },
  {
    about: 'reversal',
    said: ['rejected_business', 'rejected_contract', 'expired'],
    while: PAYING_BACK,
    when: { lastAttempt: false },
    if: early,
    then: 'stay',
    message: 'after_landing',
  },
  { about: 'reversal', said: ['throttled'], while: PAYING_BACK, then: 'stay', message: 'proposed' },
  {
    about: 'reversal',
    said: ['absent'],
    while: PAYING_BACK,
    when: { absentProven: false },
    then: 'stay',
    message: 'ask_again',
  },
  {
    about: 'reversal',
    said: ['absent'],
    while: PAYING_BACK,
    when: { absentProven: true },
    then: 'stay',
    message: 'again',
  },
  {
    about: 'reversal',
    said: ['accepted'],
    while: PAYING_BACK,
    when: { repeated: false },
    then: 'stay',
    message: 'proposed',
  },
  ...(['accepted', 'unknown'] as const).flatMap((said): Line[] => {
    const silence = (evidence: TransitionInput) => said === 'unknown' || evidence.repeated;
    return [
      {
        about: 'reversal',
        said: [said],
        while: PAYING_BACK,
        if: (e) => silence(e) && (callback(e) || !spent(e)),
        then: 'stay',
        message: 'proposed',
      },
      {
        about: 'reversal',
        said: [said],
        while: ['parked'],
        if: (e) => silence(e) && heard(e) && spent(e),
        then: 'stay',
        message: 'dead',
      },
      {
        about: 'reversal',
        said: [said],
        while: ['compensating', 'rolling_back'],
        if: (e) => silence(e) && heard(e) && spent(e),
        then: '-> parked',
        message: 'dead',
      },
    ];
  }),

  {
    about: 'reversal',
    said: ['applied', 'throttled', 'accepted', 'unknown', 'absent'],
    while: UNDONE,
    then: 'stay',
    message: 'sent',
  },
  { about: 'reversal', said: ['rejected_business'], while: UNDONE, then: 'contradiction', message: 'dead' },
  { about: 'reversal', said: ['rejected_contract', 'expired'], while: UNDONE, then: 'stay', message: 'dead' },

  // A person decided that the bet stands while its repayment was on its way: nothing more is sent, and a repayment that
  // arrived is an incident.
  { about: 'reversal', said: ['applied'], while: STANDS, then: 'contradiction', message: 'sent' },
  {
    about: 'reversal',
    said: ['rejected_business', 'rejected_contract', 'expired', 'throttled', 'accepted', 'unknown', 'absent'],
    while: STANDS,
    then: 'stay',
    message: 'dead',
  },
];

const fits = (line: Line, evidence: TransitionInput): boolean =>
  line.about === evidence.about &&
  line.said.includes(evidence.class) &&
  line.while.includes(evidence.state) &&
  Object.entries(line.when ?? {}).every(([field, value]) => evidence[field as keyof TransitionInput] === value) &&
  (line.if === undefined || line.if(evidence));

const shown = ({ to, contradiction, notification, message }: Transition): string =>
  `${contradiction ? 'contradiction' : to === null ? 'stay' : `-> ${to}`}, told ${notification ?? 'nothing'}, message ${message}`;

describe("what an operator's word does to a transaction", () => {
  it('is said by exactly one line of the table for each of the 221184 possible inputs', () => {
    expect(EVERY_INPUT).toHaveLength(
      CLASSES.length * STATES.length * MOVEMENTS.length * SOURCES.length * ABOUT.length * 2 ** FLAGS.length,
    );
    expect(EVERY_INPUT).toHaveLength(221_184);
    const odd = EVERY_INPUT.map((evidence) => ({
      evidence,
      lines: TABLE.filter((line) => fits(line, evidence)).length,
    })).filter(({ lines }) => lines !== 1);
    expect(odd.slice(0, 5)).toEqual([]);
  });

  it.each(
    TABLE.map((line, index) => ({
      line,
      name: `${line.about}: ${line.said.join(' or ')} while ${line.while.join(' or ')}${line.when === undefined ? '' : ` ${JSON.stringify(line.when)}`} (line ${index + 1}): ${line.then}`,
    })),
  )('$name', ({ line }) => {
    const inputs = EVERY_INPUT.filter((evidence) => fits(line, evidence));
    expect(inputs.length).toBeGreaterThan(0);
    const wanted = `${line.then}, told ${line.told ?? 'nothing'}, message ${line.message}`;
    const wrong = inputs
      .map((evidence) => ({ evidence, decision: shown(decide(evidence)) }))
      .filter(({ decision }) => decision !== wanted);
    expect(wrong.slice(0, 3)).toEqual([]);
  });
});

const anyEvidence: fc.Arbitrary<TransitionInput> = fc
  .integer({ min: 0, max: EVERY_INPUT.length - 1 })
  .map((place) => EVERY_INPUT[place] as TransitionInput);
const debits = EVERY_INPUT.filter(({ movement }) => movement === 'debit');
/** Arrows that an operator's word can cause; the rest are made by the RGS's rollback or by a person. */
const DECIDED = new Set(
  EVERY_INPUT.flatMap((evidence) => [`${evidence.state} -> ${decide(evidence).to ?? evidence.state}`]).filter(
    (arrow) => !/^(\w+) -> \1$/.test(arrow),
  ),
);

describe('the state machine', () => {
  it('has the arrows of money-flow, and no others', () => {
    expect(TRANSITIONS).toEqual({
      initiated: ['confirmed', 'rejected', 'unknown', 'compensating', 'parked'],
      unknown: ['confirmed', 'rejected', 'compensating', 'parked'],
      compensating: ['compensated', 'parked'],
      confirmed: ['rolling_back'],
      rolling_back: ['rolled_back', 'parked'],
      parked: ['confirmed', 'rejected', 'compensating', 'compensated'],
      rejected: [],
      compensated: [],
      rolled_back: [],
    });
  });

  it("moves on an operator's word only along its arrows, and along every one but the rollback's own", () => {
    const drawn = STATES.flatMap((from) => TRANSITIONS[from].map((to) => `${from} -> ${to}`));
    expect([...DECIDED].sort()).toEqual(drawn.filter((arrow) => arrow !== 'confirmed -> rolling_back').sort());
  });

  it('never changes a settled transaction on a word about the movement, and raises a contradiction only against what is known', () => {
    const wrong = EVERY_INPUT.filter((evidence) => evidence.about === 'movement').filter((evidence) => {
      const { to, contradiction } = decide(evidence);
      return (
        (to !== null && isOutcomeKnown(evidence.state)) ||
        (contradiction && !isOutcomeKnown(evidence.state) && !(evidence.state === 'parked' && evidence.reversing))
      );
    });
    expect(wrong).toEqual([]);
  });

  it('tells the RGS exactly when the effect becomes known', () => {
    const TOLD: Partial<Record<TransactionState, Transition['notification']>> = {
      confirmed: 'OK',
      rejected: 'REJECTED',
      compensated: 'ROLLED_BACK',
      rolled_back: 'ROLLED_BACK',
    };
    const wrong = EVERY_INPUT.filter((evidence) => {
      const { to, notification } = decide(evidence);
      return notification !== (to === null ? null : (TOLD[to] ?? null));
    });
    expect(wrong.slice(0, 3)).toEqual([]);
  });

  it('calls a message sent only when the operator said applied, or when that was known before', () => {
    const wrong = EVERY_INPUT.filter((evidence) => {
      const appliedBefore =
        evidence.about === 'reversal'
          ? evidence.state === 'compensated' || evidence.state === 'rolled_back'
          : (isOutcomeKnown(evidence.state) && evidence.state !== 'rejected') || evidence.reversing;
      return decide(evidence).message === 'sent' && evidence.class !== 'applied' && !appliedBefore;
    });
    expect(wrong.slice(0, 3)).toEqual([]);
  });

  it('never calls a credit rejected by an operator that refuses it: a player who is owed money stays owed it', () => {
    const REFUSALS: readonly TransitionInput['class'][] = ['rejected_business', 'rejected_contract'];
    const wrong = EVERY_INPUT.filter(
      (evidence) =>
        evidence.movement === 'credit' && REFUSALS.includes(evidence.class) && decide(evidence).to === 'rejected',
    );
    expect(wrong).toEqual([]);
  });

  it('never compensates on a guess: only an operator\'s own "applied" starts or ends paying back', () => {
    const wrong = debits.filter(
      (evidence) =>
        ['compensating', 'compensated', 'rolled_back'].includes(decide(evidence).to ?? '') &&
        evidence.class !== 'applied',
    );
    expect(wrong).toEqual([]);
  });

  it('never gives a bet up for absent when it was said once only', () => {
    const wrong = EVERY_INPUT.filter(
      (evidence) =>
        evidence.class === 'absent' &&
        !evidence.absentProven &&
        (decide(evidence).to !== null || decide(evidence).message === 'again'),
    );
    expect(wrong).toEqual([]);
  });

  it('from the start, whatever is said in whatever order, tells each outcome once, and never both that a bet counts and that it was refused', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...MOVEMENTS),
        fc.boolean(),
        fc.array(anyEvidence, { maxLength: 40 }),
        (movement, resolvable, words) => {
          let state: TransactionState = 'initiated';
          let reversing = false;
          const told: string[] = [];
          for (const word of words) {
            if (word.about === 'reversal' && !reversing) continue;
            const { to, notification } = decide({
              ...word,
              unwanted: word.unwanted && movement === 'debit',
              state,
              movement,
              resolvable,
              reversing,
            });
            if (to !== null) {
              expect(TRANSITIONS[state]).toContain(to);
              state = to;
              reversing ||= to === 'compensating';
            }
            if (notification !== null) told.push(notification);
          }
          expect(told).toEqual([...new Set(told)]);
          expect(told.length).toBeLessThanOrEqual(1);
          expect(told).toEqual(
            state === 'confirmed'
              ? ['OK']
              : state === 'rejected'
                ? ['REJECTED']
                : state === 'compensated'
                  ? ['ROLLED_BACK']
                  : [],
          );
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('ends the message of a rejected transaction as dead and of any other settled one as sent', () => {
    expect(Object.fromEntries([...SETTLED].map((state) => [state, finalMessageOutcome(state)]))).toEqual({
      confirmed: 'sent',
      rejected: 'dead',
      compensated: 'sent',
      rolling_back: 'sent',
      rolled_back: 'sent',
    });
  });
});
