import { Random } from '../../tools/chaos/prng';
import { MoneyPlayer, MoneyStage, sample } from '../support/hub/money-player';
import { Machine } from '../../tools/model/machine';
import { type Scenario, scenario } from '../../tools/model/scenario';

/** Traces, and where their random numbers begin; PLAY_TRACES, PLAY_SEED and PLAY_FIRST choose others. */
const TRACES = Number(process.env['PLAY_TRACES'] ?? 15);
const FIRST = Number(process.env['PLAY_FIRST'] ?? 0);
const SEED = Number(process.env['PLAY_SEED'] ?? 1);
const EVERYTHING = {
  losses: 2,
  crashes: 1,
  stalls: 2,
  throttles: 1,
  contracts: 1,
  refusals: 1,
  callbacks: 2,
  replays: 1,
  persons: 2,
  rollbacks: 1,
};

/** Any operator, one bet, one win, or a bet with its win. */
function world(random: () => number): Scenario {
  const yes = (): boolean => random() < 0.5;
  const movements = ([['debit'], ['debit'], ['credit'], ['debit', 'credit']] as const)[Math.floor(random() * 4)] ?? [
    'debit',
  ];
  const later = yes();
  return scenario({
    name: 'played',
    movements,
    idempotent: yes(),
    status: yes(),
    finalRefusals: yes(),
    later,
    punctual: false,
    budgets: { ...EVERYTHING, accepts: later ? 1 : 0 },
  });
}

describe('traces of the model, played on a hub', () => {
  let stage: MoneyStage;
  beforeAll(async () => {
    stage = await MoneyStage.start();
  });
  afterAll(() => stage.stop());

  it(
    `agree with it after every step: ${TRACES} traces from seed ${SEED}`,
    async () => {
      const disagreements: string[] = [];
      let steps = 0;
      for (let trace = FIRST; trace < FIRST + TRACES; trace += 1) {
        const draws = new Random(SEED * 100_000 + trace);
        const random = (): number => draws.next();
        const machine = new Machine(world(random));
        const way = sample(machine, 10 + Math.floor(random() * 31), random);
        steps += way.length;
        const said = await MoneyPlayer.play(stage, machine.scenario, `p${SEED}-${trace}`, way);
        if (said !== null)
          disagreements.push(`trace ${trace} of seed ${SEED}, ${JSON.stringify(machine.scenario)}\n${said}`);
        if (disagreements.length === 3) break;
      }
      console.log(JSON.stringify({ traces: TRACES, steps, disagreements: disagreements.length }));
      expect(disagreements.join('\n\n')).toBe('');
    },
    60_000 + TRACES * 20_000,
  );
});
