import { brokenBy, walk } from '../../tools/model/explore';
import { run } from '../../tools/model/jobs';
import { MUTANTS } from '../../tools/model/mutants';
import { scenario } from '../../tools/model/scenario';
import { BREACHES, named } from '../../tools/model/scenarios';

const indexOf = (name: string): number => MUTANTS.findIndex((mutant) => mutant.name === name);

describe('the money machine, over every interleaving', () => {
  it('holds, and comes to rest, in more than 100 000 states', () => {
    const small = [
      'a bet',
      'a bet at an operator that books each call',
      'a bet that nobody can ask for',
      'a bet with no help at all',
      'a lane with no help',
      'a win',
    ];
    const walks = small.map((name) => walk(named(name)));
    expect(walks.flatMap(({ violations }) => violations)).toEqual([]);
    expect(walks.every(({ complete }) => complete)).toBe(true);
    expect(walks.reduce((sum, { states }) => sum + states, 0)).toBeGreaterThan(100_000);
  });

  it.each([41, 42, 43, 44])('broke with the rules before fault %i was fixed', (fault) => {
    const index = MUTANTS.findIndex((mutant) => mutant.fault === fault);
    expect(run({ kind: 'mutant', index }).killedBy).toBeDefined();
  });

  it.each([
    'an acceptance after a proof is no first one',
    'what was refused is repeated in the same attempt',
    'a lost call leaves out that it may have been accepted',
  ])('breaks when %s', (name) => {
    expect(run({ kind: 'mutant', index: indexOf(name) }).killedBy).toBeDefined();
  });

  it('says a shortest way to what breaks, which can be walked again', () => {
    const [violation] = walk(BREACHES.late, { first: true }).violations;
    if (violation === undefined) throw new Error('an operator that books whenever it pleases breaks something');
    expect(
      brokenBy(
        BREACHES.late,
        violation.steps.map(({ key }) => key),
      ),
    ).toBe(violation.rule);
    expect(
      brokenBy(scenario({ name: 'within the bound', idempotent: false, budgets: BREACHES.late.budgets }), [
        'place 0',
        'claim 0',
        'attempt 0',
        'reset 0',
        'settle 0',
      ]),
    ).toBeNull();
  });
});
