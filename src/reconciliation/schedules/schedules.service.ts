import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { Clock } from '../../kernel/clock';
import { HubError } from '../../kernel/errors';
import { Logger } from '../../observability/logger';
import { Periodic } from '../../scheduling/periodic';
import { RunStarts } from '../runs/run-starts';
import { CronError, checkCron, dueDates, nextFire } from '../calendar/schedule-times';
import type { ScheduleRequest, ScheduleView } from './schedule.dto';
import { type Schedule, type ScheduledRun, ScheduleStore } from './schedule.store';
import {
  WindowError,
  businessDateOf,
  businessWindow,
  checkCutoff,
  checkZone,
  lastClosedDate,
} from '../calendar/window';

const TICK_MS = 15_000;
/** A run that failed is started over after so long, until its day is too old to be caught up. */
const RETRY_AFTER_MS = 15 * 60_000;

/** Begins a run for every business day, also for those that passed while no hub was up. */
@Injectable()
export class SchedulesService implements OnApplicationBootstrap {
  constructor(
    private readonly store: ScheduleStore,
    private readonly starts: RunStarts,
    private readonly clock: Clock,
    private readonly periodic: Periodic,
    private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    this.periodic.every({
      name: 'reconciliation.schedules',
      every: TICK_MS,
      on: 'workers',
      failure: 'reconciliation.schedules_failed',
      work: () => this.tick(),
    });
  }

  async list(): Promise<ScheduleView[]> {
    return (await this.store.all()).map((schedule) => this.view(schedule));
  }

  /** Throws validation_failed. */
  async put(actor: string, name: string, request: ScheduleRequest): Promise<ScheduleView> {
    const { cron, zone, cutoff } = request;
    const now = new Date(this.clock.now());
    const first = fielded('zone', () => {
      checkZone(zone);
      checkCutoff(cutoff);
      checkCron(cron, zone, now);
      // The day that has just ended is the first to be run; what was before a schedule is not missed.
      const begins = businessWindow(lastClosedDate(now, zone, cutoff), zone, cutoff).from;
      return businessDateOf(new Date(begins.getTime() - 1), zone, cutoff);
    });
    const schedule = await this.store.put(name, request, actor, first);
    this.logger.event('info', 'reconciliation.schedule_changed', {
      name,
      actor,
      cron,
      zone,
      cutoff,
      enabled: schedule.enabled,
    });
    return this.view(schedule);
  }

  /** Throws not_found. */
  async remove(actor: string, name: string): Promise<ScheduleView> {
    const removed = await this.store.remove(name);
    if (removed === undefined) throw new HubError('not_found');
    this.logger.event('info', 'reconciliation.schedule_removed', { name, actor });
    return this.view(removed);
  }

  /** Every replica may look: of two that find a day due, the key of the run lets one begin it. */
  async tick(): Promise<void> {
    for (const schedule of await this.store.all()) if (schedule.enabled) await this.look(schedule);
  }

  private async look(schedule: Schedule): Promise<void> {
    const now = this.clock.now();
    try {
      const { due, missed } = dueDates(schedule, new Date(now));
      if (missed !== null) {
        await this.store.advance(
          schedule.id,
          missed,
          null,
          `no report for the days up to ${missed}: they are older than ${schedule.catchUpDays} days`,
        );
        this.logger.event('error', 'reconciliation.days_missed', { schedule: schedule.name, upTo: missed });
      }
      if (due.length === 0) return;
      const runs = new Map((await this.store.runs(schedule, due)).map((run) => [run.businessDate, run]));
      await this.settle(schedule, due, runs);
      for (const date of due) {
        const run = runs.get(date);
        if (run === undefined || (run.state === 'failed' && now - (run.finishedAt?.getTime() ?? 0) >= RETRY_AFTER_MS))
          await this.begin(schedule, date, (run?.attempts ?? 0) + 1);
      }
    } catch (error) {
      if (!(error instanceof WindowError) && !(error instanceof CronError) && !(error instanceof HubError)) throw error;
      // One schedule that cannot be understood any more must not keep the others from being run.
      await this.store.note(schedule.id, error.message);
      this.logger.event('error', 'reconciliation.schedule_failed', { schedule: schedule.name, error: error.message });
    }
  }

  /** Moves on over the days that are dealt with: sealed, or called off by a person. The first that is not holds the rest, which are run all the same. */
  private async settle(
    schedule: Schedule,
    due: readonly string[],
    runs: ReadonlyMap<string, ScheduledRun>,
  ): Promise<void> {
    for (const date of due) {
      const run = runs.get(date);
      if (run?.state === 'sealed') await this.store.advance(schedule.id, date, run.id, null);
      else if (run?.state === 'cancelled')
        await this.store.advance(schedule.id, date, null, `the run of ${date} was cancelled`);
      else {
        if (run?.state === 'failed')
          await this.store.note(schedule.id, `the run of ${date} failed: ${run.error ?? 'no reason given'}`);
        return;
      }
    }
  }

  private async begin(
    { id, name, zone, cutoff, graceSeconds }: Schedule,
    date: string,
    attempt: number,
  ): Promise<void> {
    const { from, to } = businessWindow(date, zone, cutoff);
    const { runId, replayed } = await this.starts.once({
      kind: 'scheduled',
      window: { from, to },
      businessDate: date,
      zone,
      cutoff,
      graceSeconds,
      allowPartial: false,
      dryRun: false,
      provisional: false,
      createdBy: `schedule:${name}`,
      idempotencyKey: `${id}/${date}/${zone}/${cutoff}/${graceSeconds}/${attempt}`,
      scheduleId: id,
      asOf: null,
    });
    if (!replayed)
      this.logger.event('info', 'reconciliation.scheduled', { schedule: name, businessDate: date, runId, attempt });
  }

  private view({ id: _id, updatedAt, ...schedule }: Schedule): ScheduleView {
    return {
      ...schedule,
      nextFireAt: schedule.enabled
        ? nextFire(schedule.cron, schedule.zone, new Date(this.clock.now())).toISOString()
        : null,
      updatedAt: updatedAt.toISOString(),
    };
  }
}

function fielded<T>(fallback: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof CronError)
      throw new HubError('validation_failed', { errors: [{ field: 'cron', message: error.message }] });
    if (error instanceof WindowError)
      throw new HubError('validation_failed', {
        errors: [
          {
            field: error.field === 'zone' || error.field === 'cutoff' ? error.field : fallback,
            message: error.message,
          },
        ],
      });
    throw error;
  }
}
