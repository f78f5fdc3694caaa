import { Inject, Injectable } from '@nestjs/common';
import { CronExpression, SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database, type Tx } from '../database/database';
import { Clock } from '../kernel/clock';
import { messageOf } from '../kernel/errors';
import { invariant } from '../kernel/invariant';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';

export interface PeriodicTask {
  /** Also the name of its interval in Nest's registry, and the label of its metrics. */
  readonly name: string;
  /** Milliseconds, or each full hour: by the clock, so that processes that live for less than an hour do it too. */
  readonly every: number | 'hour';
  /** Which processes do it; `workers`: not those that only answer requests. */
  readonly on: 'all' | 'workers';
  /** Log event of a failed run, where the runbook has one of its own. */
  readonly failure?: string;
  readonly work: () => Promise<void> | void;
}

/** A right that one replica at a time has. */
export interface Leadership {
  /** The transaction that holds the right, and so far no table. */
  readonly tx: Tx;
  /** False once it is lost. Throws when the store is away. */
  isHeld(): Promise<boolean>;
}

/**
 * What is done now and then, beside requests: which process does it, one run at a time, and what happens when it fails.
 * A failed run is logged and counted, and the next one tries again.
 */
@Injectable()
export class Periodic {
  private readonly tasks = new Map<string, PeriodicTask>();
  private readonly running = new Map<string, Promise<void>>();

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly registry: SchedulerRegistry,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {}

  /** From now on, first after one period. Nest ends it when the application closes. */
  every(task: PeriodicTask): void {
    this.tasks.set(task.name, task);
    const tick = (): void => void this.tick(task);
    if (task.every === 'hour')
      this.registry.addCronJob(
        task.name,
        CronJob.from({ cronTime: CronExpression.EVERY_HOUR, onTick: tick, start: true, unrefTimeout: true }),
      );
    else this.registry.addInterval(task.name, setInterval(tick, task.every).unref());
  }

  /** Does it now, after a run that is under way, as the clock would. */
  async run(name: string): Promise<void> {
    const task = this.tasks.get(name);
    invariant(task !== undefined, () => `there is no periodic task ${name}`);
    await this.running.get(name);
    await this.tick(task);
  }

  /** Resolves when it is not running and will not run again. */
  async stop(name: string): Promise<void> {
    if (this.registry.doesExist('interval', name)) this.registry.deleteInterval(name);
    await this.running.get(name);
  }

  /**
   * Runs `work` while no other replica has this right; undefined: another one has it. `unhurried`: statements of its
   * transaction may take a minute.
   */
  async lead<T>(
    right: string,
    work: (leadership: Leadership) => Promise<T>,
    pace: 'hurried' | 'unhurried' = 'hurried',
  ): Promise<T | undefined> {
    const led = async (tx: Tx): Promise<T | undefined> => {
      const isHeld = async (): Promise<boolean> => {
        const [row] = await tx.rows<{ held: boolean }>('select pg_try_advisory_xact_lock(hashtext($1)) as held', [
          right,
        ]);
        return row?.held === true;
      };
      return (await isHeld()) ? await work({ tx, isHeld }) : undefined;
    };
    return pace === 'unhurried' ? this.database.unhurriedTransaction(led) : this.database.transaction(led);
  }

  /** Never throws. A run that takes longer than a period is not joined by another one. */
  private async tick(task: PeriodicTask): Promise<void> {
    if (this.running.has(task.name) || (task.on === 'workers' && this.config.role === 'api')) return;
    const run = this.attempt(task).finally(() => this.running.delete(task.name));
    this.running.set(task.name, run);
    await run;
  }

  private async attempt({ name, work, failure = 'periodic.failed' }: PeriodicTask): Promise<void> {
    try {
      await work();
      this.metrics.periodicLastSuccess.set({ task: name }, Math.floor(this.clock.now() / 1000));
    } catch (error) {
      this.metrics.periodicFailures.inc({ task: name });
      this.logger.event('warn', failure, { task: name, error: messageOf(error) });
    }
  }
}
