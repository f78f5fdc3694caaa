import { Injectable } from '@nestjs/common';
import { BulkDatabase } from '../../database/bulk-database';
import type { Parameter, Row, Sql } from '../../database/database';
import { currencyExponent } from '../../kernel/money';
import { CLASS_RULES, DUE_HOURS } from './classes';
import { type Funnel, type PlacedRows, type MatchedRows, checkTotals, funnelOf } from './conservation';
import { type DayBounds, dayBounds, windowBounds } from '../calendar/day-bounds';
import { legsOfSql } from './hub-legs';
import type { HeldRun, RunCounts } from '../run/run';
import { RunStore } from '../run/run.store';
import * as sql from './seal-sql';
import { SOURCE, STAGE_COLUMNS, packCurrency, unpackCurrency } from './stage-lines';
import type { Progress, StagedSource } from './stage.store';

/** What the sums say that they must not; the run is not sealed, whatever its items say. */
export class BridgeError extends Error {
  constructor(detail: string) {
    super(`the totals do not add up: ${detail}`);
    this.name = 'BridgeError';
  }
}

export interface SealInput {
  readonly progress: ReadonlyMap<StagedSource, Progress>;
  /** Currencies of the partners, so that most rows' packed currency need not be computed. */
  readonly currencies: readonly string[];
  /** Decimals where the operator counts other than ISO 4217. */
  readonly exponents: Readonly<Record<string, number>>;
}

/** Keys to look at are copied out when they are less than one in so many staged rows. */
const COPIED_PART_MIN = 12;

/** Turns what the buckets named into items, totals and exceptions, in one commit: all of it or nothing. */
@Injectable()
export class SealStore {
  constructor(
    private readonly database: BulkDatabase,
    private readonly runs: RunStore,
  ) {}

  /** Throws BridgeError when the classified rows are not exactly those that were staged. */
  async write(run: HeldRun, input: SealInput): Promise<RunCounts> {
    return this.database.bulk(async (tx) => {
      await this.runs.fence(tx, run);
      await tx.rows(`analyze recon.broken_${run.slot}`);
      await this.lookUp(tx, run, input.currencies);
      const looked = await this.looked(tx, run, input.progress);
      const { from, to } = edges(run);
      await temporary(tx, 'stray', sql.straySql(looked), [from, to, run.padSeconds]);
      await temporary(tx, 'pivot', sql.pivotSql(looked));
      await temporary(tx, 'link_rgs', sql.LINK_CANDIDATES[0]);
      await temporary(tx, 'link_op', sql.LINK_CANDIDATES[1]);
      await temporary(tx, 'link', sql.LINK_SQL);
      await temporary(tx, 'unfinished', sql.OUTBOX_SQL);
      await temporary(tx, 'message', sql.MESSAGES_SQL);
      const days = await this.days(tx, run);
      await temporary(tx, 'found', sql.CLASSIFY_SQL, [
        from,
        to,
        run.asOf,
        run.graceSeconds,
        run.hardLimitSeconds,
        run.padSeconds,
        days.from.map((at) => at.toISOString()),
        days.dates,
      ]);
      await this.exceptions(tx, run);
      await this.items(tx, run, input.exponents);
      const funnel = await this.totals(tx, run, looked, input.progress);
      const counts = await this.counts(tx, run, funnel);
      await this.runs.itemsWritten(tx, run, counts);
      return counts;
    });
  }

  /** The hub owns a movement at the time at which it took it, also when that was outside the window and its padding. Without a window all is staged. */
  private async lookUp(tx: Sql, run: HeldRun, currencies: readonly string[]): Promise<void> {
    if (run.window === null) return;
    await temporary(tx, 'lacks_hub', sql.lacksHubSql(run.slot));
    await tx.rows(
      `insert into recon.stage_${run.slot} (${STAGE_COLUMNS}) select ${STAGE_COLUMNS} from (${legsOfSql('select id from lacks_hub')}) legs where k in (select k from lacks_hub)`,
      [run.operatorId, run.rgsId, currencies, currencies.map(packCurrency)],
    );
  }

  /** The rows of the keys to look at, as what a FROM can name. */
  private async looked(tx: Sql, { slot }: HeldRun, progress: SealInput['progress']): Promise<string> {
    const [row] = await tx.rows<{ n: string }>(`select count(*) as n from recon.broken_${slot}`);
    const staged = [...progress.values()].reduce((total, { staged: rows }) => total + rows, 0);
    if (Number(row?.n ?? 0) * COPIED_PART_MIN > staged) return sql.lookedJoin(slot);
    await temporary(tx, 'looked', sql.lookedSql(slot));
    return 'looked';
  }

  private async days(tx: Sql, { window, zone, cutoff }: HeldRun): Promise<DayBounds> {
    if (window !== null) return windowBounds(window, zone, cutoff);
    const days = await tx.rows<{ day: Date }>(
      `select distinct date_trunc('day', anchor_at, 'UTC') as day from pivot where anchor_at is not null order by 1`,
    );
    return dayBounds(
      days.map(({ day }) => day),
      zone,
      cutoff,
    );
  }

  /** The file of the legacy hub counts what is in flight as missing, so it opens no exceptions; neither does a rehearsal, nor a day that is not over. */
  private async exceptions(tx: Sql, run: HeldRun): Promise<void> {
    if (run.kind === 'legacy' || run.rules.dryRun || run.rules.provisional === true) return;
    const { from, to } = edges(run);
    await tx.rows(sql.EXCEPTIONS_SQL, [
      run.id,
      run.operatorId,
      run.rgsId,
      run.asOf,
      sql.RULE_COLUMNS[0],
      sql.RULE_COLUMNS[1],
      CLASS_RULES.map(({ severity }) => DUE_HOURS[severity]),
    ]);
    await tx.rows(sql.CLEAR_SQL, [from, to, run.operatorId, run.rgsId, run.asOf, run.id]);
  }

  private async items(tx: Sql, run: HeldRun, exponents: Readonly<Record<string, number>>): Promise<void> {
    const rows = await tx.rows<{ cur: string }>(
      'select cur_rgs as cur from found where cur_rgs is not null union select cur_op from found where cur_op is not null union select cur_hub from found where cur_hub is not null',
    );
    const currencies = rows.map(({ cur }) => cur);
    await tx.rows(sql.ITEMS_SQL, [
      run.id,
      currencies,
      currencies.map((currency) => currencyExponent(currency, exponents)),
      ...sql.RULE_COLUMNS,
    ]);
  }

  private async totals(tx: Sql, run: HeldRun, looked: string, progress: SealInput['progress']): Promise<Funnel> {
    const placed = await tx.rows<PlacedRows & Row>(sql.placesSql(looked));
    const matched = await tx.rows<MatchedRows & Row>(sql.matchedSql(run.slot));
    const fault = checkTotals(progress, placed, matched);
    if (fault !== null) throw new BridgeError(fault);

    const attrs = [...new Set(matched.filter(({ owned, mask }) => owned && mask === 7).map((row) => row.attrs))];
    await tx.rows(sql.summaryOfFoundSql(looked, (progress.get(SOURCE.rgs)?.implied ?? 0) > 0), [run.id]);
    await tx.rows(sql.summaryOfMatchedSql(run.slot), [
      run.id,
      attrs,
      attrs.map((packed) => unpackCurrency(Math.floor(Number(packed) / 16))),
      attrs.map((packed) => ((Number(packed) & 15) >> 2 === 1 ? 'debit' : 'credit')),
    ]);
    const unbalanced = await tx.rows<{ date: string | null; cur: string; dir: string }>(sql.UNBALANCED_SQL, [run.id]);
    if (unbalanced.length > 0)
      throw new BridgeError(
        `what matched differs between the sides on ${unbalanced.map(({ date, cur, dir }) => `${date ?? 'no date'} in ${cur} ${dir}`).join(', ')}`,
      );
    return funnelOf(progress, placed, matched);
  }

  private async counts(tx: Sql, run: HeldRun, funnel: Funnel): Promise<RunCounts> {
    const rows = await tx.rows<{
      class: string;
      state: 'broken' | 'in_flight';
      n: string;
      one_sided: string;
      differing: string;
    }>(sql.ITEM_COUNTS_SQL, [run.id]);
    const [unplaced] = await tx.rows<{ n: string }>(`select count(*) as n from found where place = 'unplaced'`);
    const of = (state: string) => rows.filter((row) => row.state === state);
    const sum = (values: readonly string[]) => values.reduce((total, value) => total + Number(value), 0);
    const nOf = (name: string, state: string) =>
      sum(rows.filter((row) => row.class === name && row.state === state).map(({ n }) => n));
    return {
      broken: sum(of('broken').map(({ n }) => n)),
      inFlight: sum(of('in_flight').map(({ n }) => n)),
      unplaced: Number(unplaced?.n ?? 0),
      classes: Object.fromEntries(
        CLASS_RULES.filter((rule) => rows.some((row) => row.class === rule.class)).map((rule) => [
          rule.class,
          { broken: nOf(rule.class, 'broken'), inFlight: nOf(rule.class, 'in_flight') },
        ]),
      ),
      funnel,
      legacyLines: sum(rows.map((row) => row.one_sided)),
      valueMismatches: sum(rows.map((row) => row.differing)),
      rejected: funnel.rgs.rejected + funnel.operator.rejected,
    };
  }
}

function edges({ window }: HeldRun): { from: Date | null; to: Date | null } {
  return window ?? { from: null, to: null };
}

/** Analysed at once: without statistics the planner takes a nested loop, and with every row broken that took ten minutes for a millisecond's work. */
async function temporary(tx: Sql, name: string, create: string, parameters: readonly Parameter[] = []): Promise<void> {
  await tx.rows(create, parameters);
  await tx.rows(`analyze ${name}`);
}
