import { Injectable } from '@nestjs/common';
import { stringify } from 'csv-stringify/sync';
import { createHash } from 'node:crypto';
import type { ReconRun } from '../run/run';
import { type LegacyLine, LegacyFileStore } from './legacy-file.store';
import { pythonFloat } from './python-float';
import { guarded } from '../reports/report-csv';

const COLUMNS = ['refId', 'correlationId', 'direction', 'amount', 'inRGS', 'inOperator'];
const PAGE_ITEMS = 500;

/** The legacy hub's file: six columns, CRLF, Python's True and False and its way to print a float. */
@Injectable()
export class LegacyFile {
  constructor(private readonly store: LegacyFileStore) {}

  /** Blocks of the file. `raw`: without the formula guard, for machines. */
  async *blocks(runId: string, raw = false): AsyncGenerator<string> {
    yield csv([COLUMNS]);
    const last = await this.store.lastSeq(runId);
    for (let after = 0; after < last; after += PAGE_ITEMS) {
      const block = csv((await this.store.lines(runId, after, after + PAGE_ITEMS)).map((line) => cells(line, raw)));
      if (block !== '') yield block;
    }
  }

  async of({ id }: ReconRun): Promise<{ sha256: Buffer; bytes: number }> {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const block of this.blocks(id)) {
      hash.update(block);
      bytes += Buffer.byteLength(block);
    }
    return { sha256: hash.digest(), bytes };
  }
}

function cells({ refId, correlationId, direction, amount, inRgs }: LegacyLine, raw: boolean): string[] {
  const text = raw ? (cell: string) => cell : guarded;
  const number = pythonFloat(amount);
  return [
    text(refId),
    text(correlationId),
    text(direction),
    isNumber(number) ? number : text(number),
    inRgs ? 'True' : 'False',
    inRgs ? 'False' : 'True',
  ];
}

function csv(records: string[][]): string {
  return records.length === 0 ? '' : stringify(records, { record_delimiter: 'windows', quoted_match: /[\r\n]/ });
}

/** A negative amount begins like a formula and is none. */
function isNumber(cell: string): boolean {
  return /^-?\d+\.?\d*(e[+-]\d+)?$/.test(cell);
}
