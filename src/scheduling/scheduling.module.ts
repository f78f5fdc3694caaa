import { Global, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { IDLE_LOOK_MS, IdleMemory } from '../observability/idle-memory';
import { Periodic } from './periodic';

@Global()
@Module({ providers: [Periodic], exports: [Periodic] })
export class SchedulingModule implements OnApplicationBootstrap {
  constructor(
    private readonly periodic: Periodic,
    private readonly memory: IdleMemory,
  ) {}

  /** Here and not there: observability stands below the scheduler, which logs and counts. */
  onApplicationBootstrap(): void {
    this.periodic.every({ name: 'memory.collect', every: IDLE_LOOK_MS, on: 'all', work: () => this.memory.look() });
  }
}
