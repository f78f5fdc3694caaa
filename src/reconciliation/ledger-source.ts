import { Injectable } from '@nestjs/common';
import { type Readable, pipeline } from 'node:stream';
import streamArray from 'stream-json/streamers/stream-array.js';
import { HubError, messageOf } from '../kernel/errors';
import { currencyExponent, toMajorUnits } from '../kernel/money';
import type { Partner } from '../partners/partner';
import { PartnerHttp } from '../partners/partner-http';
import { targetUrl } from '../outbox/sender';
import { pythonFloat } from './python-float';
import type { LedgerRow } from './reconciliation.store';

/** Silence on a list for this long means that its end will not come. */
const SILENCE_MS_MAX = 30_000;

/** A row of a partner's list, or null for one without a correlation id, which can be matched with nothing. */
export type SourceRow = LedgerRow | null;

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
      for await (const { value } of elements(body, gone)) {
        if (typeof value !== 'object' || value === null) throw new Error('the list holds something that is not a row');
        yield toRow(value as Record<string, unknown>);
      }
    } catch (error) {
      throw new HubError('upstream_failed', { detail: `the list of the ${partner.role === 'rgs' ? 'RGS' : 'operator'} could not be read: ${messageOf(error)}`, cause: error });
    }
  }
}

function elements(body: Readable, gone: AbortSignal): AsyncIterable<{ value: unknown }> {
  const stop = () => body.destroy(new Error('nobody waits for it any more'));
  if (gone.aborted) stop();
  gone.addEventListener('abort', stop, { once: true });
  let timer: NodeJS.Timeout;
  const restart = () => {
    clearTimeout(timer);
    timer = setTimeout(() => body.destroy(new Error(`silent for ${SILENCE_MS_MAX / 1000} seconds`)), SILENCE_MS_MAX);
  };
  restart();
  body.on('data', restart);
  // The error itself reaches the reader through the last stream; this callback only has to end the watch.
  return pipeline(body, streamArray.withParserAsStream(), () => {
    clearTimeout(timer);
    gone.removeEventListener('abort', stop);
  });
}

function rgsRow(row: Record<string, unknown>, rgs: Partner): SourceRow {
  const { correlationId, amountCents } = row;
  if (typeof correlationId !== 'string' || correlationId === '') return null;
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
