import { setTimeout as delay } from 'node:timers/promises';
import type { Disturbance, PlannedDisturbance } from './plan';
import type { World } from './world';

const DELAYED_FOR_MS = 1_500;
const READY_MS = 60_000;

/**
 * Carries out the plan of disturbances, each when its share of the work is done. Hubs, database and network are struck
 * independently of each other.
 */
export class Disturber {
  readonly done: Record<string, number> = {};
  /** What did not go as it should, in words: a process that did not come back, for example. */
  readonly failures: string[] = [];

  constructor(
    private readonly world: World,
    private readonly progress: () => number,
    private readonly log: (line: string) => void,
  ) {}

  get kills(): number {
    return (this.done.kill_hub ?? 0) + (this.done.kill_postgres ?? 0);
  }

  /** Resolves when everything was done and undone again. */
  async run(planned: readonly PlannedDisturbance[]): Promise<void> {
    const lanes = new Map<string, PlannedDisturbance[]>();
    for (const disturbance of planned) {
      const lane = laneOf(disturbance.what);
      lanes.set(lane, [...(lanes.get(lane) ?? []), disturbance]);
    }
    await Promise.all(
      [...lanes.values()].map(async (lane) => {
        for (const { at, what } of lane) {
          while (this.progress() < at) await delay(20);
          await this.strike(what).catch((error: unknown) =>
            this.failures.push(`${what.kind}: ${error instanceof Error ? error.message : String(error)}`),
          );
          this.done[what.kind === 'network' ? `network_${what.effect}` : what.kind] =
            (this.done[what.kind === 'network' ? `network_${what.effect}` : what.kind] ?? 0) + 1;
        }
      }),
    );
  }

  private async strike(what: Disturbance): Promise<void> {
    this.log(JSON.stringify(what));
    switch (what.kind) {
      case 'kill_hub':
      case 'stop_hub': {
        const hub = this.world.hubs[what.hub];
        if (hub === undefined) throw new Error(`there is no hub ${what.hub}`);
        const code = await hub.end(what.kind === 'kill_hub' ? 'SIGKILL' : 'SIGTERM');
        if (what.kind === 'stop_hub' && code !== 0 && code !== null)
          this.failures.push(`hub ${what.hub} ended with code ${code} after SIGTERM`);
        await delay(what.downMs);
        hub.start();
        return hub.ready(READY_MS);
      }
      case 'kill_postgres':
        return this.world.killPostgres(what.downMs);
      case 'network': {
        const cable = this.world.cable(what.link, what.hub);
        switch (what.effect) {
          case 'cut':
            return cable.cut(what.share);
          case 'refuse':
            return cable.refuseFor(what.ms);
          case 'delay':
            return cable.delayFor(what.ms, DELAYED_FOR_MS);
          case 'swallow':
            return cable.swallowFor(what.share, what.ms);
        }
      }
    }
  }
}

/** What must not happen twice at the same time. */
function laneOf(what: Disturbance): string {
  switch (what.kind) {
    case 'kill_hub':
    case 'stop_hub':
      return 'hubs';
    case 'kill_postgres':
      return 'postgres';
    case 'network':
      return 'network';
  }
}
