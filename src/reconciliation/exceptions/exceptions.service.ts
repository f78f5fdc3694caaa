import { Injectable } from '@nestjs/common';
import { Database } from '../../database/database';
import { Clock } from '../../kernel/clock';
import { HubError } from '../../kernel/errors';
import { readPage } from '../../kernel/page';
import { currencyExponent, toMajorUnits } from '../../kernel/money';
import { DEFAULT_OPERATOR, PartnerDirectory } from '../../partners/partner-directory';
import type { ActionRecord } from '../reports/action-chain';
import {
  AGE_BUCKETS,
  type ActionView,
  type AgeingView,
  type ExceptionDetail,
  type ExceptionPage,
  type ExceptionQuery,
  type ExceptionView,
} from './exceptions.dto';
import { type AgeBucket, type AgeingCell, type ExceptionRecord, ExceptionsStore } from './exceptions.store';

const BUCKETS: readonly (readonly [AgeBucket, number])[] = [
  ['<15m', 15 * 60],
  ['<24h', 24 * 3600],
  ['1-3d', 3 * 24 * 3600],
  ['3-7d', 7 * 24 * 3600],
];

/** Exceptions as finance sees them. */
@Injectable()
export class ExceptionsService {
  constructor(
    private readonly database: Database,
    private readonly store: ExceptionsStore,
    private readonly partners: PartnerDirectory,
    private readonly clock: Clock,
  ) {}

  async list({ limit, cursor, ...filter }: ExceptionQuery): Promise<ExceptionPage> {
    const now = new Date(this.clock.now());
    const page = await readPage(
      limit,
      (rows) => this.store.list(now, filter, cursor ?? null, rows),
      ({ id }) => id,
    );
    const ageing = await this.store.ageing(now, filter);
    return {
      items: page.items.map((exception) => this.view(exception)),
      ageing: ageing.map((cell) => this.ageing(cell)).sort(byAge),
      nextCursor: page.nextCursor,
    };
  }

  /** Throws not_found. */
  async one(id: string): Promise<ExceptionDetail> {
    const exception = await this.store.find(id);
    if (exception === undefined) throw new HubError('not_found');
    return { ...this.view(exception), actions: (await this.store.actions(this.database, id)).map(actionView) };
  }

  private ageing({ bucket, currency, count, amountMinor }: AgeingCell): AgeingView {
    const exponents = this.partners.byCode(DEFAULT_OPERATOR)?.currencyExponents;
    return {
      age: bucket,
      currency,
      count: Number(count),
      amount: toMajorUnits(amountMinor, currencyExponent(currency ?? '', exponents)),
    };
  }

  view(exception: ExceptionRecord): ExceptionView {
    const {
      firstSeen,
      lastSeen,
      anchorAt,
      amountMinor,
      currency,
      dueAt,
      resolvedAt,
      operatorId,
      rgsId: _rgsId,
      ...rest
    } = exception;
    const ageSeconds = Math.floor((this.clock.now() - (anchorAt ?? firstSeen).getTime()) / 1000);
    return {
      ...rest,
      firstSeen: firstSeen.toISOString(),
      lastSeen: lastSeen.toISOString(),
      anchorAt: anchorAt?.toISOString() ?? null,
      ageSeconds,
      age: BUCKETS.find(([, seconds]) => ageSeconds < seconds)?.[0] ?? '>7d',
      currency,
      amount:
        amountMinor === null
          ? null
          : toMajorUnits(
              amountMinor,
              currencyExponent(currency ?? '', this.partners.byId(operatorId).currencyExponents),
            ),
      dueAt: dueAt?.toISOString() ?? null,
      resolvedAt: resolvedAt?.toISOString() ?? null,
    };
  }
}

export function actionView({ idempotencyKey: _key, previousHash: _previous, ...action }: ActionRecord): ActionView {
  return action;
}

function byAge(a: AgeingView, b: AgeingView): number {
  return AGE_BUCKETS.indexOf(a.age) - AGE_BUCKETS.indexOf(b.age) || (a.currency ?? '').localeCompare(b.currency ?? '');
}
