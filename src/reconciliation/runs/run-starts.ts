import { Injectable } from '@nestjs/common';
import { isUniqueViolation } from '../../database/pg-errors';
import { Clock } from '../../kernel/clock';
import { HubError } from '../../kernel/errors';
import { DEFAULT_OPERATOR, DEFAULT_RGS, PartnerDirectory } from '../../partners/partner-directory';
import { type ReconRun, type RunRequest, paramsHash } from '../run/run';
import { RunRequests } from '../engine/run-requests';
import { RunStore } from '../run/run.store';
import { StartRunRequest } from './start-run.dto';
import { WindowError, businessDays, businessWindow, checkCutoff, checkZone } from '../calendar/window';

/** Runs that people and schedules begin, each once for each key. */
@Injectable()
export class RunStarts {
  constructor(
    private readonly runs: RunRequests,
    private readonly store: RunStore,
    private readonly partners: PartnerDirectory,
    private readonly clock: Clock,
  ) {}

  /** Throws validation_failed, idempotency_key_reused and upstream_failed. */
  async start(
    actor: string,
    request: StartRunRequest,
    key: string | undefined,
  ): Promise<{ runId: string; replayed: boolean }> {
    const { kind, zone, cutoff, graceSeconds, allowPartial, dryRun } = request;
    const { window, businessDate } = windowOf(request);
    return this.once({
      kind,
      window,
      businessDate,
      provisional: this.isProvisional(request, window),
      zone,
      cutoff,
      graceSeconds,
      allowPartial,
      dryRun,
      createdBy: actor,
      idempotencyKey: key ?? null,
      scheduleId: null,
      asOf: null,
    });
  }

  /** The same again, as of now. Throws not_found and run_state_conflict. */
  async retry(actor: string, id: string): Promise<{ runId: string }> {
    const run = await this.find(id);
    if (run.state !== 'failed' && run.state !== 'cancelled')
      throw new HubError('run_state_conflict', { detail: `the run is ${run.state}` });
    if (run.kind === 'legacy')
      throw new HubError('run_state_conflict', {
        detail: 'a run of GET /reconciliation_data is repeated by calling it again',
      });
    const { kind, window, businessDate, zone, cutoff, graceSeconds, rules } = run;
    return this.once({
      kind,
      window,
      businessDate,
      zone,
      cutoff,
      graceSeconds,
      allowPartial: rules.allowPartial,
      dryRun: rules.dryRun,
      provisional: this.isProvisional({ ...new StartRunRequest(), provisional: rules.provisional === true }, window),
      createdBy: actor,
      idempotencyKey: null,
      scheduleId: null,
      asOf: null,
    });
  }

  /**
   * Whether the window is still open. Unless that was asked for, it is refused: a day that has not ended is sealed with what it has, signed,
   * and would be filed as the day. Throws validation_failed.
   */
  private isProvisional({ provisional, businessDate }: StartRunRequest, window: RunRequest['window']): boolean {
    const now = this.clock.now();
    if (window === null || window.to.getTime() <= now) return false;
    const field = businessDate === undefined ? 'to' : 'businessDate';
    const what = businessDate ?? 'the window';
    if (window.from.getTime() > now)
      throw new HubError('validation_failed', {
        errors: [{ field, message: `${what} has not begun yet: it begins at ${window.from.toISOString()}` }],
      });
    if (!provisional)
      throw new HubError('validation_failed', {
        errors: [
          {
            field,
            message: `${what} has not ended yet: it ends at ${window.to.toISOString()}; provisional takes it as far as it is`,
          },
        ],
      });
    return true;
  }

  /** Throws not_found and run_state_conflict. */
  async cancel(actor: string, id: string): Promise<void> {
    await this.find(id);
    const cancelled = await this.runs.cancel(id, `cancelled by ${actor}`);
    if (cancelled === undefined) throw new HubError('run_state_conflict', { detail: 'the run has ended' });
  }

  /** One run for one key of one caller, also when several processes ask at the same moment. */
  async once(request: RunRequest): Promise<{ runId: string; replayed: boolean }> {
    const known = await this.earlier(request);
    if (known !== undefined) return { runId: known, replayed: true };
    try {
      const { run } = await this.runs.request(request);
      return { runId: run.id, replayed: false };
    } catch (error) {
      if (!isUniqueViolation(error, 'run_idempotency')) throw error;
      const meanwhile = await this.earlier(request);
      if (meanwhile === undefined) throw error;
      return { runId: meanwhile, replayed: true };
    }
  }

  private async earlier(request: RunRequest): Promise<string | undefined> {
    if (request.idempotencyKey === null) return undefined;
    const known = await this.store.byKey(request.createdBy, request.idempotencyKey);
    if (known === undefined) return undefined;
    const [operator, rgs] = [this.partners.byCode(DEFAULT_OPERATOR), this.partners.byCode(DEFAULT_RGS)];
    if (
      operator !== undefined &&
      rgs !== undefined &&
      !known.paramsHash.equals(paramsHash(request, { operatorId: operator.id, rgsId: rgs.id }))
    )
      throw new HubError('idempotency_key_reused');
    return known.id;
  }

  private async find(id: string): Promise<ReconRun> {
    const run = await this.runs.find(id);
    if (run === undefined) throw new HubError('not_found');
    return run;
  }
}

/** Throws validation_failed with the field that is wrong. */
function windowOf({
  businessDate,
  from,
  to,
  zone,
  cutoff,
}: StartRunRequest): Pick<RunRequest, 'window' | 'businessDate'> {
  try {
    checkZone(zone);
    checkCutoff(cutoff);
    if (businessDate !== undefined) {
      if (from !== undefined || to !== undefined)
        throw new WindowError('date', 'businessDate cannot stand together with from and to');
      const day = businessWindow(businessDate, zone, cutoff);
      return { businessDate, window: { from: day.from, to: day.to } };
    }
    if (from === undefined && to === undefined) return { businessDate: null, window: null };
    if (from === undefined || to === undefined) throw new WindowError('window', 'from and to must stand together');
    const window = { from: new Date(from), to: new Date(to) };
    businessDays({ ...window, zone, cutoff });
    return { businessDate: null, window };
  } catch (error) {
    if (!(error instanceof WindowError)) throw error;
    const field = { date: 'businessDate', zone: 'zone', cutoff: 'cutoff', window: 'from' }[error.field];
    throw new HubError('validation_failed', { errors: [{ field, message: error.message }] });
  }
}
