import { type Assumption, type Scenario, type ScenarioOptions, scenario } from './scenario';

const yes = [true, false] as const;

function nameOf({
  idempotent,
  status,
  finalRefusals,
  later,
}: Pick<Scenario, 'idempotent' | 'status' | 'finalRefusals' | 'later'>): string {
  return [
    idempotent ? 'recognises repeats' : 'books each call',
    status ? 'can be asked' : 'cannot be asked',
    ...(finalRefusals ? ['keeps refusals'] : []),
    ...(later ? ['answers later'] : []),
  ].join(', ');
}

/** All that operators can be. The rollback route is left out: it names another path on the wire and decides nothing. */
const OPERATORS = yes.flatMap((idempotent) =>
  yes.flatMap((status) =>
    yes.flatMap((finalRefusals) => yes.map((later) => ({ idempotent, status, finalRefusals, later }))),
  ),
);

/**
 * Worlds of one bet, of one win, and of a lane with a bet, its win and a second bet; each with other things that go
 * wrong.
 */
export function allScenarios(): Scenario[] {
  return OPERATORS.flatMap((operator): Scenario[] => {
    const name = nameOf(operator);
    const accepts = operator.later ? 1 : 0;
    const worlds: ScenarioOptions[] = [
      {
        name: `a bet, people and processes: ${name}`,
        budgets: {
          losses: 1,
          crashes: 1,
          rollbacks: 1,
          persons: 1,
          ...(operator.later ? { accepts } : { replays: 1, refusals: 1 }),
        },
      },
      { name: `a bet and slow processes: ${name}`, budgets: { losses: 1, stalls: 2, rollbacks: 1, accepts } },
      {
        name: `a bet, network and operator: ${name}`,
        budgets: {
          losses: 1,
          rollbacks: 1,
          callbacks: 1,
          refusals: 1,
          contracts: 1,
          throttles: operator.later ? 0 : 1,
          accepts,
        },
      },
      {
        name: `a win: ${name}`,
        movements: ['credit'],
        budgets: {
          losses: 1,
          crashes: 1,
          replays: 1,
          persons: 1,
          refusals: 1,
          contracts: 1,
          callbacks: accepts,
          accepts,
        },
      },
      operator.later
        ? { name: `a bet and its win: ${name}`, movements: ['debit', 'credit'], budgets: { losses: 1, accepts } }
        : {
            name: `a bet, its win and a second bet: ${name}`,
            movements: ['debit', 'credit', 'debit'],
            budgets: { losses: 1, refusals: 1 },
          },
    ];
    return worlds.map((options) => scenario({ ...options, ...operator }));
  });
}

const RESTLESS: NonNullable<ScenarioOptions['budgets']> = {
  losses: 1,
  crashes: 1,
  rollbacks: 1,
  persons: 1,
  refusals: 1,
};

/** Small worlds, one after the other, in which each weakened rule must be found out. */
export function hunts(): Scenario[] {
  return [
    scenario({ name: 'a bet', budgets: { losses: 2, rollbacks: 1, refusals: 1 } }),
    scenario({
      name: 'a bet at an operator that books each call',
      idempotent: false,
      budgets: { losses: 1, rollbacks: 1, crashes: 1, refusals: 1 },
    }),
    scenario({ name: 'a bet that nobody can ask for', status: false, budgets: { ...RESTLESS } }),
    scenario({
      name: 'a bet with no help at all',
      idempotent: false,
      status: false,
      later: true,
      budgets: { ...RESTLESS, rollbacks: 2, replays: 1, accepts: 1, callbacks: 1 },
    }),
    scenario({
      name: 'a bet, refused and repeated',
      status: false,
      finalRefusals: true,
      budgets: { losses: 1, refusals: 1, contracts: 1, throttles: 1, callbacks: 1 },
    }),
    scenario({
      name: 'a bet and its callbacks',
      later: true,
      finalRefusals: true,
      budgets: { losses: 1, rollbacks: 1, accepts: 1, callbacks: 1 },
    }),
    scenario({
      name: 'a bet, accepted and replayed',
      later: true,
      status: false,
      budgets: { losses: 1, accepts: 1, replays: 1, contracts: 1, refusals: 1, persons: 1 },
    }),
    scenario({ name: 'a lane', movements: ['debit', 'credit', 'debit'] }),
    scenario({ name: 'two bets', movements: ['debit', 'debit'], budgets: { rollbacks: 1 } }),
    scenario({ name: 'a bet and its win', movements: ['debit', 'credit'], budgets: { losses: 1, rollbacks: 1 } }),
    scenario({
      name: 'a lane with no help',
      movements: ['debit', 'credit'],
      idempotent: false,
      status: false,
      budgets: { losses: 1, rollbacks: 1, refusals: 1, persons: 1 },
    }),
    scenario({
      name: 'a bet and a process that dies late',
      idempotent: false,
      status: false,
      later: true,
      budgets: { stalls: 1, crashes: 1, accepts: 1, persons: 1 },
    }),
    scenario({
      name: 'a bet, replayed',
      idempotent: false,
      budgets: { losses: 1, replays: 2, contracts: 1, crashes: 1 },
    }),
    scenario({
      name: 'a bet, accepted later',
      idempotent: false,
      later: true,
      budgets: { losses: 1, crashes: 1, accepts: 1, rollbacks: 1 },
    }),
    scenario({ name: 'a bet and slow processes', idempotent: false, budgets: { stalls: 3, losses: 1, rollbacks: 1 } }),
    scenario({
      name: 'a repayment, replayed',
      idempotent: false,
      budgets: { rollbacks: 1, replays: 1, refusals: 1, persons: 1, losses: 1 },
    }),
    scenario({
      name: 'a win',
      movements: ['credit'],
      budgets: { losses: 2, crashes: 1, replays: 1, persons: 1, refusals: 1, contracts: 1 },
    }),
    scenario({
      name: 'a win and its callbacks',
      movements: ['credit'],
      finalRefusals: true,
      budgets: { crashes: 1, refusals: 1, callbacks: 1 },
    }),
    scenario({
      name: 'a repayment whose bet is forgotten',
      status: false,
      forgetful: true,
      budgets: { rollbacks: 1, refusals: 1, replays: 2, breaches: 1 },
    }),
    scenario({
      name: 'an operator that contradicts itself',
      beyond: ['misread'],
      judged: 'incidents',
      idempotent: false,
      budgets: { breaches: 1, callbacks: 2, rollbacks: 1, refusals: 1 },
    }),
  ];
}

/** What each promise is worth: the world in which it is broken. */
export const BREACHES: Readonly<Record<Assumption, Scenario>> = {
  late: scenario({
    name: 'late',
    idempotent: false,
    beyond: ['late'],
    budgets: { losses: 1, rollbacks: 1, persons: 1 },
  }),
  slow: scenario({
    name: 'slow',
    idempotent: false,
    later: true,
    beyond: ['slow'],
    budgets: { losses: 1, accepts: 1, rollbacks: 1, persons: 1 },
  }),
  undeclared: scenario({
    name: 'undeclared',
    idempotent: false,
    beyond: ['undeclared'],
    budgets: { losses: 1, accepts: 1, rollbacks: 1, persons: 1 },
  }),
  forgets: scenario({ name: 'forgets', beyond: ['forgets'], budgets: { losses: 2, rollbacks: 1, breaches: 1 } }),
  doubles: scenario({ name: 'doubles', beyond: ['doubles'], budgets: { losses: 2, rollbacks: 1 } }),
  lags: scenario({
    name: 'lags',
    idempotent: false,
    beyond: ['lags'],
    budgets: { losses: 1, rollbacks: 1, breaches: 2 },
  }),
  reopens: scenario({
    name: 'reopens',
    later: true,
    beyond: ['reopens'],
    budgets: { losses: 1, accepts: 1, callbacks: 1, breaches: 1 },
  }),
  unkept: scenario({ name: 'unkept', finalRefusals: true, beyond: ['unkept'], budgets: { losses: 1, refusals: 1 } }),
  misread: scenario({ name: 'misread', beyond: ['misread'], budgets: { breaches: 1, losses: 1 } }),
  errs: scenario({
    name: 'errs',
    idempotent: false,
    status: false,
    beyond: ['errs'],
    budgets: { losses: 1, persons: 1, breaches: 1 },
  }),
  frozen: scenario({
    name: 'frozen',
    idempotent: false,
    beyond: ['frozen'],
    budgets: { stalls: 3, losses: 1, breaches: 1 },
  }),
};

/** A world by its name. */
export function named(name: string): Scenario {
  const found = [...hunts(), ...allScenarios(), ...Object.values(BREACHES)].find((each) => each.name === name);
  if (found === undefined) throw new Error(`no world is called "${name}"`);
  return found;
}
