import { Injectable } from '@nestjs/common';
import { HubError, messageOf } from '../kernel/errors';
import { jsonList } from '../partners/json-list';
import { undoReference } from '../partners/operator-wire';
import { PartnerDirectory } from '../partners/partner-directory';
import { PartnerHttp } from '../partners/partner-http';
import { targetUrl } from '../outbox/sender';
import type { ExceptionRecord } from '../reconciliation/exceptions.store';

const INQUIRY_MS_MAX = 20_000;
/** Copies that are counted and shown; an operator that books one reference more often has another problem. */
const ROWS_MAX = 10;

/** Asks an operator what it booked under one reference. Reads only. */
@Injectable()
export class OperatorInquiry {
  constructor(
    private readonly partners: PartnerDirectory,
    private readonly http: PartnerHttp,
  ) {}

  /** Throws exception_state_conflict when there is nothing to ask by, or the operator cannot be asked, and upstream_failed when it does not answer. */
  async ask({ operatorId, refId }: ExceptionRecord, leg: 'movement' | 'undo'): Promise<{ operatorHas: 'booking' | 'nothing'; reference: string; rows: unknown[] }> {
    const operator = this.partners.byId(operatorId);
    if (refId === null || refId === '') throw new HubError('exception_state_conflict', { detail: 'the exception has no reference to ask by' });
    if (!operator.statusQuery) throw new HubError('exception_state_conflict', { detail: 'the operator cannot be asked about single movements' });
    const reference = leg === 'undo' && !/^rollback:/i.test(refId) ? undoReference(refId) : refId;
    const rows: unknown[] = [];
    try {
      const deadline = AbortSignal.timeout(INQUIRY_MS_MAX);
      const { body } = await this.http.stream(operator, targetUrl(operator, `/v2/transactions?reference=${encodeURIComponent(reference)}`), 'application/json', 1, deadline);
      // An operator that does not know the parameter answers its whole list.
      for await (const row of jsonList(body, deadline)) {
        if ((row.reference ?? row.refId) !== reference) continue;
        rows.push(shown(row));
        if (rows.length === ROWS_MAX) {
          body.destroy();
          break;
        }
      }
    } catch (error) {
      throw new HubError('upstream_failed', { detail: `the operator could not be asked: ${messageOf(error)}`, cause: error });
    }
    return { operatorHas: rows.length > 0 ? 'booking' : 'nothing', reference, rows };
  }
}

/** The parts that say what was booked, as text: what a partner sends is kept for ever, so no more of it than is needed. */
function shown(row: Record<string, unknown>): Record<string, string> {
  const names = ['correlationId', 'direction', 'event', 'amount', 'currency', 'status', 'createdAt'];
  return Object.fromEntries(names.flatMap((name) => (typeof row[name] === 'string' || typeof row[name] === 'number' ? [[name, String(row[name]).replaceAll('\u0000', '').toWellFormed().slice(0, 100)]] : [])));
}
