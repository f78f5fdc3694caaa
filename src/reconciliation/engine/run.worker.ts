import { Inject, Injectable, type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config } from '../../config/config';
import { CONFIG } from '../../config/config.module';
import { isStoreUnavailable, isTransient } from '../../database/pg-errors';
import { messageOf } from '../../kernel/errors';
import { Logger } from '../../observability/logger';
import { Metrics } from '../../observability/metrics';
import { Periodic } from '../../scheduling/periodic';
import { type HeldRun, type ReconRun, SLOTS } from '../run/run';
import { RunEngine } from './run-engine';
import { LeaseLostError, RunStore } from '../run/run.store';

/** How soon a run is taken that waited for a slot, or whose holder died; with short leases sooner, as configured. */
const POLL_MS_MAX = 2_000;
const STORE_RETRY_MS = 500;

interface Active {
  readonly stop: AbortController;
  /** Resolves when this process has nothing more to do with the run, however it ended. */
  readonly ended: Promise<void>;
}

/** Executes runs under a lease. Every process may: the one that gets a request starts immediately, and what is left behind is taken by the first that polls. */
@Injectable()
export class RunWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly owner = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  private readonly active = new Map<string, Active>();
  private isStopping = false;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly runs: RunStore,
    private readonly engine: RunEngine,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
    private readonly periodic: Periodic,
  ) {}

  onApplicationBootstrap(): void {
    this.periodic.every({
      name: 'reconciliation.poll',
      every: Math.min(POLL_MS_MAX, this.config.reconLeaseSeconds * 250),
      on: 'all',
      failure: 'reconciliation.poll_failed',
      work: () => this.poll(),
    });
  }

  /** Takes this run if it has no holder and there is a slot; else it waits for its turn. */
  async start(id: string): Promise<void> {
    if (this.isStopping || this.active.has(id)) return;
    const run = await this.runs.claim(this.owner, this.config.reconLeaseSeconds, id);
    if (run !== undefined) this.hold(run);
  }

  /** Resolves when this process is done with the run; undefined when it does not hold it. */
  ended(id: string): Promise<void> | undefined {
    return this.active.get(id)?.ended;
  }

  /** Stops a run that was cancelled, and waits until nothing of it is in flight. */
  async stop(id: string, reason: string): Promise<void> {
    const active = this.active.get(id);
    active?.stop.abort(new Error(reason));
    await active?.ended;
  }

  private async poll(): Promise<void> {
    if (this.isStopping || this.active.size >= SLOTS) return;
    try {
      const run = await this.runs.claim(this.owner, this.config.reconLeaseSeconds);
      if (run !== undefined) this.hold(run);
    } catch (error) {
      // The pools close under a poll that is under way.
      if (!this.isStopping) throw error;
    }
  }

  /** Before the pools close. What is in hand is given back, and another process goes on from its last page or bucket. */
  async beforeApplicationShutdown(): Promise<void> {
    this.isStopping = true;
    for (const { stop } of this.active.values()) stop.abort(new Error('the hub stops'));
    await Promise.all([...this.active.values()].map(({ ended }) => ended));
  }

  private hold(run: HeldRun): void {
    const stop = new AbortController();
    const ended = this.execute(run, stop).finally(() => this.active.delete(run.id));
    this.active.set(run.id, { stop, ended });
  }

  private async execute(run: HeldRun, stop: AbortController): Promise<void> {
    const beat = setInterval(() => void this.beat(run, stop), (this.config.reconLeaseSeconds * 1000) / 3);
    try {
      let current: HeldRun | undefined = run;
      while (current !== undefined) current = await this.once(current, stop.signal);
    } finally {
      clearInterval(beat);
    }
  }

  /** Never throws. Answers the run when it is worth going on at once: the store was away, and the run is still ours. */
  private async once(run: HeldRun, gone: AbortSignal): Promise<HeldRun | undefined> {
    try {
      const started = performance.now();
      this.count(await this.engine.execute(run, gone), performance.now() - started);
      return undefined;
    } catch (error) {
      // The heartbeat may notice first: what the engine throws then is only that its request was aborted.
      if (error instanceof LeaseLostError || gone.reason instanceof LeaseLostError) return this.lost(run);
      if (gone.aborted) {
        await this.runs
          .release(run)
          .catch((failure: unknown) =>
            this.logger.event('warn', 'reconciliation.release_failed', { runId: run.id, error: messageOf(failure) }),
          );
        return undefined;
      }
      this.logger.event('warn', 'reconciliation.interrupted', { runId: run.id, error: messageOf(error) });
      if (!isStoreUnavailable(error) && !isTransient(error)) return undefined;
      return this.again(run, gone);
    }
  }

  private count({ state, counts }: ReconRun, durationMs: number): void {
    this.metrics.reconRunSeconds.observe({ state }, durationMs / 1000);
    for (const [source, funnel] of Object.entries(counts?.funnel ?? {}))
      for (const result of ['rejected', 'matched', 'refused', 'inItems', 'outside'] as const)
        this.metrics.reconRows.inc({ source, result }, funnel[result]);
  }

  private async again(run: HeldRun, gone: AbortSignal): Promise<HeldRun | undefined> {
    while (!gone.aborted) {
      await delay(STORE_RETRY_MS);
      try {
        const now: ReconRun | undefined = await this.runs.find(run.id);
        return now?.leaseToken === run.leaseToken && now.slot !== null ? { ...now, slot: now.slot } : this.lost(run);
      } catch (error) {
        if (!isStoreUnavailable(error)) throw error;
      }
    }
    return undefined;
  }

  private lost(run: HeldRun): undefined {
    this.logger.event('info', 'reconciliation.lease_lost', { runId: run.id });
  }

  private async beat(run: HeldRun, stop: AbortController): Promise<void> {
    try {
      if (!(await this.runs.heartbeat(run, this.config.reconLeaseSeconds))) stop.abort(new LeaseLostError(run.id));
    } catch (error) {
      // The next beat may come through; if none does, the lease runs out and the fence keeps us from writing.
      this.logger.event('warn', 'reconciliation.heartbeat_failed', { runId: run.id, error: messageOf(error) });
    }
  }
}
