import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../../config/config';
import { CONFIG } from '../../config/config.module';
import { HubError } from '../../kernel/errors';
import { DEFAULT_OPERATOR, DEFAULT_RGS, PartnerDirectory } from '../../partners/partner-directory';
import type { ReconRun, RunRequest } from '../run/run';
import { RunStore } from '../run/run.store';
import { RunWorker } from './run.worker';
import { StageStore } from '../matching/stage.store';

/** How often the end of a run is looked for that another process has. */
const LOOK_MS = 200;
const ENDED = new Set(['sealed', 'failed', 'cancelled']);

/** What the routes, the schedules and the command line ask of the engine. */
@Injectable()
export class RunRequests {
  /** Callers in this process that wait for a run. */
  private readonly waiting = new Map<string, number>();

  constructor(
    private readonly store: RunStore,
    private readonly stage: StageStore,
    private readonly worker: RunWorker,
    private readonly partners: PartnerDirectory,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** Begins a run, or joins the live one with the same parameters; `created` says which. Throws upstream_failed without a default pair of partners. */
  async request(request: RunRequest): Promise<{ run: ReconRun; created: boolean }> {
    const [operator, rgs] = [this.partners.byCode(DEFAULT_OPERATOR), this.partners.byCode(DEFAULT_RGS)];
    if (operator === undefined || rgs === undefined)
      throw new HubError('upstream_failed', { detail: 'the default pair of partners is not active' });
    const made = await this.store.create(
      request,
      { operatorId: operator.id, rgsId: rgs.id },
      this.config.reconListShards,
    );
    await this.worker.start(made.run.id);
    return made;
  }

  find(id: string): Promise<ReconRun | undefined> {
    return this.store.find(id);
  }

  /** Waits for the end, in whatever process. Rejects with what `gone` was aborted with. */
  async ended(id: string, gone: AbortSignal): Promise<ReconRun> {
    for (;;) {
      gone.throwIfAborted();
      const here = this.worker.ended(id);
      if (here !== undefined) await orGone(here, gone);
      const run = await this.store.find(id);
      if (run === undefined) throw new HubError('not_found');
      if (ENDED.has(run.state)) return run;
      // It has no holder yet, or another one: try to take it, so that a caller never waits for a process that died.
      await this.worker.start(id);
      if (this.worker.ended(id) === undefined)
        await delay(LOOK_MS, undefined, { signal: gone }).catch(() => gone.throwIfAborted());
    }
  }

  /** As `ended`; when the last caller in this process leaves early, the run is cancelled: no caller is left. */
  async endedUnlessAllLeave(id: string, gone: AbortSignal): Promise<ReconRun> {
    this.waiting.set(id, (this.waiting.get(id) ?? 0) + 1);
    try {
      return await this.ended(id, gone);
    } finally {
      const left = (this.waiting.get(id) ?? 1) - 1;
      if (left > 0) this.waiting.set(id, left);
      else {
        this.waiting.delete(id);
        if (gone.aborted && this.worker.ended(id) !== undefined) await this.cancel(id, 'every caller left');
      }
    }
  }

  /** Undefined when it has ended already, or never was. */
  async cancel(id: string, reason: string): Promise<ReconRun | undefined> {
    // First what is in flight here, then the run: so no caller waits for a list that is not needed.
    await this.worker.stop(id, reason);
    return this.stage.bulk(async (tx) => {
      const cancelled = await this.store.cancel(tx, id);
      if (cancelled === undefined) return undefined;
      if (cancelled.slot !== null) await this.stage.empty(tx, { slot: cancelled.slot });
      return cancelled.run;
    });
  }
}

/** Resolves with the work, or rejects when the caller leaves first. */
function orGone(work: Promise<void>, gone: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(gone.reason as Error);
    gone.addEventListener('abort', leave, { once: true });
    work.then(resolve, reject).finally(() => gone.removeEventListener('abort', leave));
  });
}
