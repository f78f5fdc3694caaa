import { Injectable } from '@nestjs/common';
import { Clock } from '../../kernel/clock';
import { HubError } from '../../kernel/errors';
import type { ReconRun, RunRequest } from '../run/run';
import { RunStore } from '../run/run.store';
import { RunRequests } from '../engine/run-requests';
import type { ReconciliationQuery } from './reconciliation.dto';
import { WindowError, businessDays } from '../calendar/window';

/** The legacy hub's call: one request makes or joins a run, waits for its end and gets its file. */
@Injectable()
export class ReconciliationService {
  constructor(
    private readonly runs: RunRequests,
    private readonly store: RunStore,
    private readonly clock: Clock,
  ) {}

  /**
   * A sealed run. Equal calls at the same time are one run; when the last caller leaves, it is given up. Throws upstream_failed with the
   * name of the side, not_found, validation_failed, and what `gone` was aborted with.
   */
  async sealed(query: ReconciliationQuery, actor: string, gone: AbortSignal): Promise<ReconRun> {
    if (query.run !== undefined) return this.again(query.run);
    const request = requestOf(query, actor, this.clock.now());
    for (;;) {
      const { run } = await this.runs.request(request);
      const ended = await this.runs.endedUnlessAllLeave(run.id, gone);
      if (ended.state === 'sealed') return ended;
      if (ended.state === 'failed') throw failure(ended);
      // Its other callers left while we came; ours was not cancelled.
      gone.throwIfAborted();
    }
  }

  /** Begins a run and does not wait for it. */
  async begun(query: ReconciliationQuery, actor: string): Promise<ReconRun> {
    return (await this.runs.request(requestOf(query, actor, this.clock.now()))).run;
  }

  private async again(id: string): Promise<ReconRun> {
    const run = id === 'latest' ? await this.store.latestSealed({ legacy: true }) : await this.store.find(id);
    if (run?.state !== 'sealed') throw new HubError('not_found', { detail: 'there is no sealed run of this id' });
    return run;
  }
}

function requestOf(
  { from, to, tz = 'UTC', cutoff = '00:00', grace = 0 }: ReconciliationQuery,
  actor: string,
  now: number,
): RunRequest {
  if ((from === undefined) !== (to === undefined))
    throw new HubError('validation_failed', {
      errors: [{ field: from === undefined ? 'from' : 'to', message: 'from and to need each other' }],
    });
  const window = from === undefined || to === undefined ? null : { from: new Date(from), to: new Date(to) };
  if (window !== null) {
    try {
      businessDays({ ...window, zone: tz, cutoff });
    } catch (error) {
      if (error instanceof WindowError)
        throw new HubError('validation_failed', { errors: [{ field: 'to', message: error.message }] });
      throw error;
    }
    if (window.to.getTime() > now)
      throw new HubError('validation_failed', {
        errors: [{ field: 'to', message: 'the window has not ended yet; let it end by now' }],
      });
  }
  return {
    kind: 'legacy',
    window,
    businessDate: null,
    zone: tz,
    cutoff,
    graceSeconds: grace,
    allowPartial: true,
    dryRun: false,
    provisional: false,
    createdBy: actor,
    idempotencyKey: null,
    scheduleId: null,
    asOf: null,
  };
}

function failure({ error }: ReconRun): HubError {
  if (error?.side !== null && error?.side !== undefined)
    return new HubError('upstream_failed', { detail: error.message });
  return new HubError('internal_error', {
    detail: error?.message ?? 'internal error',
    cause: new Error(error?.reason),
  });
}
