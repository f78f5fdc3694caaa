import { Injectable } from '@nestjs/common';
import { BulkDatabase } from '../../database/bulk-database';
import type { Parameter, Row, Sql } from '../../database/database';
import { currencyExponent } from '../../kernel/money';
import { type DayBounds, dayBounds, windowBounds } from '../calendar/day-bounds';
import { SOURCE, type SideCode, currencyOf, packCurrency } from '../run/codes';
import type { HeldRun, RunCounts } from '../run/run';
import { RunStore } from '../run/run.store';
import { CLASS_RULES, DUE_HOURS } from './classes';
import { type CandidateTotals, type Funnel, type MatchedTotals, funnelOf, unaccounted } from './conservation';
import { STAGE_COLUMNS } from './stage-lines';
import type { Progress } from './stage.store';
import { type StatementName, statement } from './statements';

/** What the sums say that they must not; the run is not sealed, whatever its items say. */
export class BridgeError extends Error {
  constructor(detail: string) {
    super(`the totals do not add up: ${detail}`);
    this.name = 'BridgeError';
  }
}

export interface SealInput {
  readonly progress: ReadonlyMap<SideCode, Progress>;
  /** Currencies of the partners, so that most rows' packed currency need not be computed. */
  readonly currencies: readonly string[];
  /** Decimals where the operator counts other than ISO 4217. */
  readonly exponents: Readonly<Record<string, number>>;
}

/** Candidate rows are copied out when they are of less than one key in so many staged rows. */
const COPIED_PART_MIN = 12;

const CLASSES = CLASS_RULES.map((rule) => rule.class);
const SEVERITIES = CLASS_RULES.map((rule) => rule.severity);
const NEXT_ACTIONS = CLASS_RULES.map((rule) => rule.nextAction);
const DUE_AFTER_HOURS = CLASS_RULES.map(({ severity }) => DUE_HOURS[severity]);

/** The second pass: turns the keys that did not match into items, totals and exceptions, in one commit: all of it or nothing. */
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
      const isCopied = await this.candidates(tx, run, input.progress);
      await this.classify(tx, run);
      await this.exceptions(tx, run);
      await this.items(tx, run, input.exponents);
      const funnel = await this.totals(tx, run, input.progress);
      const counts = await this.counts(tx, run, funnel);
      // Of tables that live as long as the transaction; where it fails, they are gone with it.
      await tx.rows(isCopied ? 'drop view run_rows' : 'drop view run_rows, candidate_rows');
      await this.runs.itemsWritten(tx, run, counts);
      return counts;
    });
  }

  /** Without a window all of the hub's rows are staged. */
  private async lookUp(tx: Sql, run: HeldRun, currencies: readonly string[]): Promise<void> {
    if (run.window === null) return;
    await this.temporary(tx, run, 'missing_hub_rows', '03-missing-hub-rows');
    await tx.rows(
      `insert into recon.stage_${run.slot} (${STAGE_COLUMNS}) ${statement('04-looked-up-rows', run.slot)}`,
      [run.operatorId, run.rgsId, currencies, currencies.map(packCurrency)],
    );
  }

  /** Makes the candidate rows a name that a FROM can take; whether as a copy. */
  private async candidates(tx: Sql, run: HeldRun, progress: SealInput['progress']): Promise<boolean> {
    const [row] = await tx.rows<{ n: string }>(`select count(*) as n from recon.broken_${run.slot}`);
    const staged = [...progress.values()].reduce((total, { staged: rows }) => total + rows, 0);
    const isCopied = Number(row?.n ?? 0) * COPIED_PART_MIN <= staged;
    if (isCopied) await this.temporary(tx, run, 'candidate_rows', '05-candidate-rows-copied');
    else await tx.rows(statement('05-candidate-rows-joined', run.slot));
    return isCopied;
  }

  private async classify(tx: Sql, run: HeldRun): Promise<void> {
    const { from, to } = edges(run);
    await this.temporary(tx, run, 'split_keys', '06-split-keys', [from, to, run.padSeconds]);
    await tx.rows(statement('07-run-rows', run.slot));
    await this.temporary(tx, run, 'keys', '08-keys');
    await this.temporary(tx, run, 'rgs_only_keys', '09-rgs-only-keys');
    await this.temporary(tx, run, 'operator_only_keys', '10-operator-only-keys');
    await this.temporary(tx, run, 'relinked_keys', '11-relinked-keys');
    await this.temporary(tx, run, 'unfinished_messages', '12-unfinished-messages');
    await this.temporary(tx, run, 'missing_bookings', '13-missing-bookings');
    const days = await this.days(tx, run);
    await this.temporary(tx, run, 'classified', '14-classified', [
      from,
      to,
      run.asOf,
      run.graceSeconds,
      run.hardLimitSeconds,
      run.padSeconds,
      days.from.map((at) => at.toISOString()),
      days.dates,
    ]);
  }

  /**
   * Analysed at once: without statistics the planner takes a nested loop, and with every row broken that took ten minutes
   * for a millisecond's work.
   */
  private async temporary(
    tx: Sql,
    { slot }: HeldRun,
    table: string,
    create: StatementName,
    parameters: readonly Parameter[] = [],
  ): Promise<void> {
    await tx.rows(statement(create, slot), parameters);
    await tx.rows(`analyze ${table}`);
  }

  private async days(tx: Sql, { window, zone, cutoff }: HeldRun): Promise<DayBounds> {
    if (window !== null) return windowBounds(window, zone, cutoff);
    const days = await tx.rows<{ day: Date }>(
      `select distinct date_trunc('day', anchor_at, 'UTC') as day from keys where anchor_at is not null order by 1`,
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
    await tx.rows(statement('15-exceptions', run.slot), [
      run.id,
      run.operatorId,
      run.rgsId,
      run.asOf,
      CLASSES,
      SEVERITIES,
      DUE_AFTER_HOURS,
    ]);
    await tx.rows(statement('16-cleared-exceptions', run.slot), [
      from,
      to,
      run.operatorId,
      run.rgsId,
      run.asOf,
      run.id,
    ]);
  }

  private async items(tx: Sql, run: HeldRun, exponents: Readonly<Record<string, number>>): Promise<void> {
    const rows = await tx.rows<{ currency: string }>(
      `select rgs_currency as currency from classified where rgs_currency is not null
       union select operator_currency from classified where operator_currency is not null
       union select hub_currency from classified where hub_currency is not null`,
    );
    const currencies = rows.map(({ currency }) => currency);
    await tx.rows(statement('17-items', run.slot), [
      run.id,
      currencies,
      currencies.map((currency) => currencyExponent(currency, exponents)),
      CLASSES,
      SEVERITIES,
      NEXT_ACTIONS,
    ]);
  }

  private async totals(tx: Sql, run: HeldRun, progress: SealInput['progress']): Promise<Funnel> {
    const candidates = await tx.rows<CandidateTotals & Row>(statement('18-candidate-totals', run.slot));
    const matched = await tx.rows<MatchedTotals & Row>(statement('19-matched-totals', run.slot));
    const difference = unaccounted(progress, candidates, matched);
    if (difference !== null) throw new BridgeError(difference);

    await tx.rows(statement('20-summary-of-candidates', run.slot), [run.id]);
    if ((progress.get(SOURCE.rgs)?.implied ?? 0) > 0)
      await tx.rows(statement('21-summary-of-implied', run.slot), [run.id]);
    const onAllSides = matched.filter((row) => row.isOwned && row.rgs && row.operator && row.hub);
    const attributes = [...new Set(onAllSides.map((row) => row.attributes))];
    await tx.rows(statement('22-summary-of-matched', run.slot), [
      run.id,
      attributes,
      attributes.map((packed) => currencyOf(Number(packed))),
    ]);
    const unbalanced = await tx.rows<{ date: string | null; currency: string; direction: string }>(
      statement('23-unbalanced-cells', run.slot),
      [run.id],
    );
    if (unbalanced.length > 0) {
      const cells = unbalanced.map((cell) => `${cell.date ?? 'no date'} in ${cell.currency} ${cell.direction}`);
      throw new BridgeError(`what matched differs between the sides on ${cells.join(', ')}`);
    }
    return funnelOf(progress, candidates, matched);
  }

  private async counts(tx: Sql, run: HeldRun, funnel: Funnel): Promise<RunCounts> {
    const rows = await tx.rows<{
      class: string;
      state: 'broken' | 'in_flight';
      items: string;
      one_sided: string;
      differing: string;
    }>(statement('24-item-counts', run.slot), [run.id]);
    const [unplaced] = await tx.rows<{ n: string }>(`select count(*) as n from classified where result = 'unplaced'`);
    const itemsOf = (state: string, className?: string) =>
      sum(
        rows
          .filter((row) => row.state === state && (className === undefined || row.class === className))
          .map(({ items }) => items),
      );
    return {
      broken: itemsOf('broken'),
      inFlight: itemsOf('in_flight'),
      unplaced: Number(unplaced?.n ?? 0),
      classes: Object.fromEntries(
        CLASSES.filter((name) => rows.some((row) => row.class === name)).map((name) => [
          name,
          { broken: itemsOf('broken', name), inFlight: itemsOf('in_flight', name) },
        ]),
      ),
      funnel,
      legacyLines: sum(rows.map((row) => row.one_sided)),
      valueMismatches: sum(rows.map((row) => row.differing)),
      rejected: funnel.rgs.rejected + funnel.operator.rejected,
    };
  }
}

function sum(counts: readonly string[]): number {
  return counts.reduce((total, count) => total + Number(count), 0);
}

function edges({ window }: HeldRun): { from: Date | null; to: Date | null } {
  return window ?? { from: null, to: null };
}
