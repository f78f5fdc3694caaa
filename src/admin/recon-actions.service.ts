import { Inject, Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database, type Tx } from '../database/database';
import type { Staff } from '../http/caller';
import { Clock } from '../kernel/clock';
import { HubError } from '../kernel/errors';
import { currencyExponent } from '../kernel/money';
import { Logger } from '../observability/logger';
import { Outbox } from '../outbox/outbox';
import { PartnerDirectory } from '../partners/partner-directory';
import type { ActionRecord } from '../reconciliation/reports/action-chain';
import { ExceptionsService, actionView } from '../reconciliation/exceptions/exceptions.service';
import {
  type ExceptionChange,
  type ExceptionRecord,
  ExceptionsStore,
} from '../reconciliation/exceptions/exceptions.store';
import { AuditStore } from '../audit/audit.store';
import { OperatorInquiry } from './operator-inquiry';
import {
  type ActionResponse,
  type ActionRequest,
  BULK_FILTERED_MAX,
  type BulkResponse,
  type BulkItem,
  type BulkRequest,
  type ExceptionAction,
} from './recon-actions.dto';
import { WalletStore } from '../wallet/wallet.store';

/** How often one exception's message may be sent again, and its operator be asked, by hand. */
const ATTEMPTS_MAX: Partial<Record<ExceptionAction, number>> = { replay_outbox: 5, requery_operator: 20 };
/** Acts that neither close nor open, and so leave a request for approval as it is. */
const ASIDE: ReadonlySet<string> = new Set(['comment', 'assign', 'requery_operator', 'replay_outbox']);

/** What an act does, once it is known that it may be done. */
interface Effect {
  readonly change: ExceptionChange;
  readonly before: Record<string, unknown>;
  readonly after: Record<string, unknown>;
  readonly approval: ActionResponse['approval'];
}

interface Act {
  readonly staff: Staff;
  readonly request: Omit<ActionRequest, 'action'> & { readonly action: ExceptionAction };
  /** The caller's key; a repeat with it gets the first response. */
  readonly key: string | undefined;
  /** What the operator said, for requery_operator. */
  readonly finding?: Record<string, unknown>;
}

/** What people do about exceptions: each act, its place in the chain of acts and its audit entry in one transaction. */
@Injectable()
export class ReconActionsService {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly store: ExceptionsStore,
    private readonly exceptions: ExceptionsService,
    private readonly inquiry: OperatorInquiry,
    private readonly wallet: WalletStore,
    private readonly outbox: Outbox,
    private readonly partners: PartnerDirectory,
    private readonly audit: AuditStore,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** Throws not_found, forbidden, validation_failed, exception_state_conflict, second_person_required, idempotency_key_reused, replay_refused and upstream_failed. */
  async act(
    staff: Staff,
    id: string,
    request: ActionRequest,
    key: string | undefined,
  ): Promise<ActionResponse & { replayed: boolean }> {
    checkReason(request);
    const act: Act = { staff, request, key };
    if (request.action !== 'requery_operator') return this.database.transaction((tx) => this.actIn(tx, id, act));
    const earlier = await this.database.transaction(
      async (tx) => (await this.earlier(tx, id, act)) ?? (await this.check(tx, id, act), undefined),
    );
    if (earlier !== undefined) return earlier;
    // Outside any transaction: the operator may be slow, and no lock may be held meanwhile.
    const exception = await this.known(id);
    const finding = await this.inquiry.ask(
      { ...exception, refId: await this.operatorReference(exception) },
      await this.store.leg(id),
    );
    return this.database.transaction((tx) => this.actIn(tx, id, { ...act, finding }));
  }

  /** The operator does not know every movement by the RGS's name for it. */
  private async operatorReference({ correlationId, refId }: ExceptionRecord): Promise<string | null> {
    const movement =
      correlationId !== null && isUUID(correlationId)
        ? await this.wallet.find(this.database, correlationId)
        : undefined;
    return movement !== undefined && movement.refId === refId ? movement.operatorReference : refId;
  }

  /** Each in a transaction of its own, so one that is refused keeps no other from being done. Throws validation_failed and selection_changed. */
  async actOnMany(staff: Staff, request: BulkRequest): Promise<BulkResponse> {
    const { ids, filter, action, dryRun } = request;
    checkReason(request);
    if (ids !== undefined && filter !== undefined)
      throw new HubError('validation_failed', {
        errors: [{ field: 'ids', message: 'only one of ids and filter can be given' }],
      });
    if (filter !== undefined && request.note === undefined)
      throw new HubError('validation_failed', { errors: [{ field: 'note', message: 'a filter needs a note' }] });
    const selected =
      filter === undefined
        ? [...new Set(ids)]
        : await this.store.ids(new Date(this.clock.now()), filter, BULK_FILTERED_MAX + 1);
    if (selected.length > BULK_FILTERED_MAX)
      throw new HubError('validation_failed', {
        errors: [{ field: 'filter', message: `filter selects more than ${BULK_FILTERED_MAX}` }],
      });
    if (filter !== undefined && !dryRun) {
      if (request.expectedCount === undefined)
        throw new HubError('validation_failed', {
          errors: [
            { field: 'expectedCount', message: 'a filter needs expectedCount, which is the count of a dry run' },
          ],
        });
      if (request.expectedCount !== selected.length)
        throw new HubError('selection_changed', {
          detail: `the filter selects ${selected.length} exceptions now, not ${request.expectedCount}`,
        });
    }
    const act: Act = { staff, request: { ...request, action }, key: undefined };
    const items: BulkItem[] = [];
    for (const id of selected) items.push(await this.oneOfMany(id, act, dryRun));
    return { dryRun, count: selected.length, items };
  }

  private async oneOfMany(id: string, act: Act, dryRun: boolean): Promise<BulkItem> {
    try {
      if (dryRun) {
        await this.database.transaction((tx) => this.check(tx, id, act));
        return { id, result: 'would_do', code: null };
      }
      const { approval } = await this.database.transaction((tx) => this.actIn(tx, id, act));
      return { id, result: approval === 'requested' ? 'approval_requested' : 'done', code: null };
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      return { id, result: 'refused', code: error.code };
    }
  }

  private async actIn(tx: Tx, id: string, act: Act): Promise<ActionResponse & { replayed: boolean }> {
    const repeated = await this.earlier(tx, id, act);
    if (repeated !== undefined) return repeated;
    const { exception, done } = await this.check(tx, id, act);
    const { request, staff } = act;
    const effect = await this.effect(tx, exception, done, act);
    const after = await this.store.change(tx, id, effect.change, new Date(this.clock.now()));
    const attempt = done.filter(({ action }) => action === request.action).length + 1;
    const record = await this.store.addAction(tx, {
      exceptionId: id,
      actor: staff.actor,
      action: request.action,
      reasonCode: request.reasonCode,
      note: request.note ?? null,
      before: effect.before,
      after: effect.after,
      idempotencyKey: keyOf(id, act) ?? `recon:${id}:${request.action}:${attempt}`,
    });
    await this.audit.add(tx, {
      actor: staff.actor,
      action: 'exception.act',
      target: `exception/${id}`,
      before: effect.before,
      after: {
        ...effect.after,
        action: request.action,
        reasonCode: request.reasonCode,
        note: request.note ?? null,
        actionHash: record.hash,
      },
    });
    tx.afterCommit(() =>
      this.logger.event('info', 'reconciliation.acted', {
        exceptionId: id,
        actor: staff.actor,
        action: request.action,
        reasonCode: request.reasonCode,
        approval: effect.approval,
      }),
    );
    return {
      exception: this.exceptions.view(after),
      action: actionView(record),
      approval: effect.approval,
      replayed: false,
    };
  }

  /** Locks the exception; throws what doing it would throw. */
  private async check(
    tx: Tx,
    id: string,
    { staff, request }: Act,
  ): Promise<{ exception: ExceptionRecord; done: ActionRecord[] }> {
    const exception = await this.store.lock(tx, id);
    if (exception === undefined) throw new HubError('not_found');
    const done = await this.store.actions(tx, id);
    const { action } = request;
    if (action === 'replay_outbox' && staff.access !== 'ops')
      throw new HubError('forbidden', { detail: 'forbidden: sending a message again is for ops' });
    const open = openRequest(done, exception);
    if (
      action === 'reopen'
        ? exception.state === 'open' && open === null
        : action !== 'comment' && action !== 'assign' && exception.state !== 'open'
    )
      throw new HubError('exception_state_conflict', { detail: `the exception is ${exception.state}` });
    const limit = ATTEMPTS_MAX[action];
    if (limit !== undefined && done.filter((record) => record.action === action).length >= limit)
      throw new HubError('exception_state_conflict', { detail: `${action} was done ${limit} times already` });
    if (action === 'replay_outbox' && exception.outboxId === null)
      throw new HubError('exception_state_conflict', { detail: 'no message of the outbox belongs to the exception' });
    if ((action === 'accept' || action === 'ignore') && this.needsTwo(exception)) {
      if (!staff.isPerson)
        throw new HubError('second_person_required', {
          detail: "the token is also a partner's, so it is no person; each of the two needs a token of their own",
        });
      const isOwn = open !== null && personOf(open.actor) === personOf(staff.actor);
      if (open !== null && open.action !== action && !isOwn)
        throw new HubError('exception_state_conflict', {
          detail: `${open.action} was requested by ${open.actor} at ${open.at} (action ${open.id}) and waits for a second person; reopen withdraws it`,
        });
      if (open?.action === action && isOwn) throw new HubError('second_person_required');
    }
    return { exception, done };
  }

  private async effect(
    tx: Tx,
    exception: ExceptionRecord,
    done: readonly ActionRecord[],
    { staff, request, finding }: Act,
  ): Promise<Effect> {
    const { action, reasonCode, note, owner } = request;
    const { state } = exception;
    const plain = (
      change: ExceptionChange,
      before: Record<string, unknown>,
      after: Record<string, unknown>,
    ): Effect => ({ change, before, after, approval: 'not_needed' });
    switch (action) {
      case 'comment':
        return plain({}, { state }, { state });
      case 'assign':
        return plain(
          { owner: owner === undefined || owner === '' ? null : owner },
          { owner: exception.owner },
          { owner: owner === undefined || owner === '' ? null : owner },
        );
      case 'reopen':
        return plain(
          { state: 'open', resolution: null },
          { state, resolution: exception.resolution },
          { state: 'open' },
        );
      case 'requery_operator':
        return plain({}, { state }, { state, ...finding });
      case 'replay_outbox': {
        if (exception.outboxId === null || exception.outboxQueue === null)
          throw new HubError('exception_state_conflict', {
            detail: 'no message of the outbox belongs to the exception',
          });
        // Runs of earlier builds named the operator's message where the RGS had not been notified: sent again, it books.
        if (exception.class === 'missing_in_rgs' && exception.outboxQueue === 'operator')
          throw new HubError('exception_state_conflict', {
            detail:
              "the exception names the operator's message, and it is the RGS that was not notified; run the day again, and see GET /admin/failed-transactions",
          });
        const { before, after } = await this.outbox.replay(tx, exception.outboxQueue, exception.outboxId);
        const partner = this.partners.byId(
          exception.outboxQueue === 'operator' ? exception.operatorId : exception.rgsId,
        ).code;
        return plain(
          {},
          { status: before.status, attemptCount: before.attemptCount },
          {
            status: after.status,
            outboxId: exception.outboxId,
            queue: exception.outboxQueue,
            partner,
            event: after.eventType,
            attemptsBefore: before.attemptCount,
          },
        );
      }
      case 'accept':
      case 'ignore': {
        const closed = action === 'accept' ? 'accepted' : 'ignored';
        const first = this.needsTwo(exception) ? requestedBy(done, action, exception) : null;
        if (this.needsTwo(exception) && first === null)
          return {
            change: {},
            before: { state },
            after: { state, approval: 'requested', ...amountOf(exception) },
            approval: 'requested',
          };
        const after = {
          state: closed,
          ...(first === null ? {} : { approval: 'given', firstPerson: first, secondPerson: personOf(staff.actor) }),
        };
        return {
          change: { state: closed, resolution: reasonCode, note: note ?? null },
          before: { state },
          after,
          approval: first === null ? 'not_needed' : 'given',
        };
      }
    }
  }

  /** The stored response to the same request with the same key. */
  private async earlier(tx: Tx, id: string, act: Act): Promise<(ActionResponse & { replayed: boolean }) | undefined> {
    const key = keyOf(id, act);
    if (key === undefined) return undefined;
    // Behind the exception's lock, so that of two repeats at once the second finds what the first has done.
    const exception = await this.store.lock(tx, id);
    const record = await this.store.actionByKey(tx, key);
    if (record === undefined || exception === undefined) return undefined;
    const { action, reasonCode, note } = act.request;
    if (record.action !== action || record.reasonCode !== reasonCode || record.note !== (note ?? null))
      throw new HubError('idempotency_key_reused');
    const approval = (record.after as { approval?: 'requested' | 'given' } | null)?.approval ?? 'not_needed';
    return { exception: this.exceptions.view(exception), action: actionView(record), approval, replayed: true };
  }

  private async known(id: string): Promise<ExceptionRecord> {
    const exception = await this.store.find(id);
    if (exception === undefined) throw new HubError('not_found');
    return exception;
  }

  /** Above the limit, and where the amount is unknown. */
  private needsTwo({ amountMinor, currency, operatorId }: ExceptionRecord): boolean {
    if (amountMinor === null || currency === null || currency.includes('/')) return true;
    const exponent = currencyExponent(currency, this.partners.byId(operatorId).currencyExponents);
    return (
      (amountMinor < 0n ? -amountMinor : amountMinor) > BigInt(this.config.reconAcceptLimit) * 10n ** BigInt(exponent)
    );
  }
}

function checkReason({
  action,
  note,
  reasonCode,
  owner,
}: {
  action: ExceptionAction;
  note?: string;
  reasonCode: string;
  owner?: string;
}): void {
  if (note === undefined && (action === 'comment' || reasonCode === 'other'))
    throw new HubError('validation_failed', {
      errors: [
        { field: 'note', message: `note is required for ${action === 'comment' ? 'a comment' : 'reason other'}` },
      ],
    });
  if (owner === undefined && action === 'assign')
    throw new HubError('validation_failed', { errors: [{ field: 'owner', message: 'owner is required for assign' }] });
}

function keyOf(id: string, { key, staff }: Act): string | undefined {
  return key === undefined ? undefined : `${staff.actor}:${id}:${key}`;
}

/** Two roles of one token are one person. */
function personOf(actor: string): string {
  return actor.slice(actor.indexOf(':') + 1);
}

function amountOf({ amountMinor, currency }: ExceptionRecord): { amountMinor: string | null; currency: string | null } {
  return { amountMinor: amountMinor?.toString() ?? null, currency };
}

/** Who requested the same and waits for a second person; null if there is no such request. */
function requestedBy(
  done: readonly ActionRecord[],
  action: ExceptionAction,
  exception: ExceptionRecord,
): string | null {
  const open = openRequest(done, exception);
  return open?.action === action ? personOf(open.actor) : null;
}

/** The request that waits for a second person; null when there is none, or when the amount has changed since. */
function openRequest(done: readonly ActionRecord[], exception: ExceptionRecord): ActionRecord | null {
  const last = done.filter((record) => !ASIDE.has(record.action)).at(-1);
  const after = last?.after as
    { approval?: string; amountMinor?: string | null; currency?: string | null } | null | undefined;
  const { amountMinor, currency } = amountOf(exception);
  return last === undefined ||
    after?.approval !== 'requested' ||
    after.amountMinor !== amountMinor ||
    after.currency !== currency
    ? null
    : last;
}
