import { type Violation, type Walk, walk } from './explore';
import { MUTANTS } from './mutants';
import { ASSUMPTIONS, type Scenario } from './scenario';
import { BREACHES, allScenarios, hunts } from './scenarios';

/** A part of a run that needs nothing of the others, so that each core takes the next. */
export type Job =
  | { readonly kind: 'world'; readonly index: number; readonly statesMax: number }
  | { readonly kind: 'hunt'; readonly index: number }
  | { readonly kind: 'mutant'; readonly index: number }
  | { readonly kind: 'promise'; readonly index: number };

export interface JobResult {
  readonly job: Job;
  readonly name: string;
  readonly ms: number;
  /** Of a world or a hunt. */
  readonly walk?: Omit<Walk, 'violations'>;
  readonly violations: readonly Violation[];
  /** Of a mutant: where it was found out. */
  readonly killedBy?: string;
}

export function run(job: Job): JobResult {
  const began = performance.now();
  const done = (rest: Omit<JobResult, 'job' | 'ms'>): JobResult => ({
    job,
    ms: Math.round(performance.now() - began),
    ...rest,
  });
  switch (job.kind) {
    case 'world': {
      const world = allScenarios()[job.index] as ReturnType<typeof allScenarios>[number];
      const { violations, ...walked } = walk(world, { statesMax: job.statesMax });
      return done({ name: world.name, walk: walked, violations });
    }
    case 'hunt': {
      const world = hunts()[job.index] as ReturnType<typeof hunts>[number];
      const { violations, ...walked } = walk(world);
      return done({ name: world.name, walk: walked, violations });
    }
    case 'mutant': {
      const mutant = MUTANTS[job.index] as (typeof MUTANTS)[number];
      // Small worlds first; a rule that keeps money from standing still needs the whole of one.
      const isHome = (world: Scenario): number => (world.name === mutant.world ? 0 : 1);
      for (const world of hunts().sort((a, b) => isHome(a) - isHome(b))) {
        const { violations } = walk(world, { ...mutant, first: true });
        if (violations[0] !== undefined)
          return done({
            name: mutant.name,
            killedBy: `${violations[0].rule} (${world.name}, ${violations[0].steps.length} steps)`,
            violations: violations.slice(0, 1),
          });
      }
      return done({ name: mutant.name, violations: [] });
    }
    case 'promise': {
      const assumption = ASSUMPTIONS[job.index] as (typeof ASSUMPTIONS)[number];
      return done({
        name: assumption,
        violations: walk(BREACHES[assumption], { liveness: false, statesMax: 400_000 }).violations,
      });
    }
  }
}
