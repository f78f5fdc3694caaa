import { Injectable } from '@nestjs/common';
import { HubError, messageOf } from '../kernel/errors';
import { currencyExponent, toMajorUnits } from '../kernel/money';
import { jsonList } from '../partners/json-list';
import type { Partner } from '../partners/partner';
import { PartnerHttp } from '../partners/partner-http';
import { targetUrl } from '../outbox/sender';
import { pythonFloat } from './python-float';
import type { LedgerRow } from './reconciliation.store';

/** A row of a partner's list; null for one without a correlation id, which can be matched with nothing; 'not_booked' for news of a refusal. */
export type SourceRow = LedgerRow | 'not_booked' | null;

/** Reads the partners' lists row by row as they arrive. Every fault, also a list that breaks off, is upstream_failed with the side's name. */
@Injectable()
export class LedgerSource {
  constructor(private readonly http: PartnerHttp) {}

  rgs(rgs: Partner, gone: AbortSignal): AsyncGenerator<SourceRow> {
    return this.read(rgs, rgs.baseUrl, gone, (row) => rgsRow(row, rgs));
  }

  operator(operator: Partner, gone: AbortSignal): AsyncGenerator<SourceRow> {
    return this.read(operator, targetUrl(operator, '/v2/transactions'), gone, operatorRow);
  }

  private async *read(partner: Partner, url: string, gone: AbortSignal, toRow: (row: Record<string, unknown>) => SourceRow): AsyncGenerator<SourceRow> {
    try {
      const { body } = await this.http.stream(partner, url, 'application/json');
      for await (const row of jsonList(body, gone)) yield toRow(row);
    } catch (error) {
      throw new HubError('upstream_failed', { detail: `the list of the ${partner.role === 'rgs' ? 'RGS' : 'operator'} could not be read: ${messageOf(error)}`, cause: error });
    }
  }
}

function rgsRow(row: Record<string, unknown>, rgs: Partner): SourceRow {
  const { correlationId, amountCents } = row;
  if (typeof correlationId !== 'string' || correlationId === '') return null;
  // The RGS was told that nothing was booked, so the operator rightly has nothing: not a line of a list of bookings.
  if (row.status === 'REJECTED') return 'not_booked';
  const exponent = currencyExponent(text(row.currency), rgs.currencyExponents);
  return {
    correlationId,
    refId: text(row.refId ?? row.reference),
    direction: text(row.event ?? row.direction),
    amount: typeof amountCents === 'number' && Number.isSafeInteger(amountCents) ? pythonFloat(toMajorUnits(BigInt(amountCents), exponent)) : text(amountCents),
  };
}

function operatorRow(row: Record<string, unknown>): SourceRow {
  const { correlationId } = row;
  if (typeof correlationId !== 'string' || correlationId === '') return null;
  return { correlationId, refId: text(row.refId ?? row.reference), direction: text(row.direction ?? row.event), amount: pythonFloat(text(row.amount)) };
}

/** NUL cannot be stored as text and has no business in a file. */
function text(value: unknown): string {
  if (typeof value === 'string') return value.replaceAll('\u0000', '');
  return typeof value === 'number' ? String(value) : '';
}
