import { Injectable } from '@nestjs/common';
import { HubError, messageOf } from '../kernel/errors';
import { openList } from '../partners/lists/list-response';
import { type ListedRow, type LookUp, lookUp } from '../partners/lists/look-up';
import { classOfStatusWord, reversalReference } from '../partners/operator-wire';
import type { Partner } from '../partners/partner';
import { PartnerDirectory } from '../partners/partner-directory';
import { PartnerHttp } from '../partners/partner-http';
import { targetUrl } from '../outbox/sender';
import type { ExceptionRecord } from '../reconciliation/exceptions/exceptions.store';

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
  async ask(
    { operatorId, refId }: ExceptionRecord,
    leg: 'movement' | 'undo',
  ): Promise<{ operatorHas: 'booking' | 'nothing'; reference: string; rows: unknown[] }> {
    const operator = this.partners.byId(operatorId);
    if (refId === null || refId === '')
      throw new HubError('exception_state_conflict', { detail: 'the exception has no reference to ask by' });
    if (!operator.statusQuery)
      throw new HubError('exception_state_conflict', { detail: 'the operator cannot be asked about single movements' });
    const reference = leg === 'undo' && !/^rollback:/i.test(refId) ? reversalReference(refId) : refId;
    const said = await this.look(operator, reference);
    if (said.verdict === 'no_answer')
      throw new HubError('upstream_failed', { detail: `the operator's list is no answer: ${said.reason}` });
    const rows = said.verdict === 'absent' ? [] : said.rows.map(shown);
    return { operatorHas: rows.length > 0 ? 'booking' : 'nothing', reference, rows };
  }

  /** Read as settlement reads it, but for what the exception is about: amount, player and correlation id are what the person wants to see. */
  private async look(operator: Partner, reference: string): Promise<LookUp> {
    const url = targetUrl(operator, `/v2/transactions?reference=${encodeURIComponent(reference)}`);
    try {
      const answer = await openList(this.http, operator, url, 1, AbortSignal.timeout(INQUIRY_MS_MAX));
      const asked = {
        reference,
        directions: ['withdraw', 'deposit', 'rollback'],
        playerIds: [],
        amount: null,
        currency: null,
        correlationId: null,
      } as const;
      return await lookUp(answer, asked, {
        url,
        isApplied: (word) => classOfStatusWord(operator, word) === 'applied',
        rowsWanted: ROWS_MAX,
      });
    } catch (error) {
      throw new HubError('upstream_failed', {
        detail: `the operator could not be asked: ${messageOf(error)}`,
        cause: error,
      });
    }
  }
}

/** The parts that say what was booked, as text: what a partner sends is kept forever, so only what is needed. */
function shown(row: ListedRow): Record<string, string> {
  const names = ['correlationId', 'direction', 'event', 'amount', 'currency', 'status', 'createdAt'];
  return Object.fromEntries(
    names.flatMap((name) =>
      typeof row[name] === 'string' || typeof row[name] === 'number'
        ? [[name, String(row[name]).replaceAll('\u0000', '').toWellFormed().slice(0, 100)]]
        : [],
    ),
  );
}
