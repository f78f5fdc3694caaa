import { Injectable } from '@nestjs/common';
import { Database, type Row, type Sql, type Tx } from '../../database/database';
import type { AuditHeads } from '../../audit/audit-chain';
import { SIDE_OF, type SideCode } from '../run/codes';
import type { Side } from '../sources/source';
import { ACTIONS_GENESIS } from './action-chain';
import type { ManifestTotal, SignedManifest } from './manifest';
import type { ReportItem } from './report-columns';

export interface SourceProgress {
  readonly runId: string;
  readonly side: Side | 'hub';
  readonly pages: string;
  readonly seen: string;
  readonly staged: string;
  readonly rejected: string;
  readonly done: boolean;
}

export interface ItemFilter {
  /** seq of the last item seen; "0" from the start. */
  readonly after: string;
  readonly class?: string;
  readonly state?: 'broken' | 'in_flight';
  readonly currency?: string;
  readonly limit: number;
}

/** Bookings of one side in one cell of the summary. */
export interface SummaryCell {
  readonly businessDate: string | null;
  readonly currency: string;
  readonly direction: string;
  /** `matched`, or the class of the item that they belong to. */
  readonly class: string;
  readonly state: 'matched' | 'broken' | 'in_flight';
  readonly side: Side | 'hub';
  readonly count: string;
  readonly sumMinor: bigint;
}

export interface DiffRow {
  readonly change: 'new' | 'cleared' | 'still_open' | 'out_of_window';
  readonly key: string;
  readonly class: string;
  readonly refId: string | null;
  readonly correlationId: string | null;
  readonly currency: string | null;
  readonly seqBefore: string | null;
  readonly seqAfter: string | null;
}

/** Held while appending to the chain of manifests; any number that no other lock uses. */
const MANIFEST_LOCK = 'recon_manifest_chain';

const ITEM = `run_id, seq, business_date::text as business_date, anchor_at, ref_id, corr, player, classes, state, reason, dir, cur, amt_rgs, amt_op, amt_hub, difference, st_rgs, st_op, st_hub,
  n_rgs, n_op, n_hub, first_seen_run, exception_id, exception_state, outbox_id, next_action, leg, severity, linked_corr`;

/** What a sealed run found, and the chain of manifests. Always from the primary: on a replica that lags, half of a sealed run's items would make a short file. */
@Injectable()
export class ReportStore {
  constructor(private readonly database: Database) {}

  /** Those of the runs in whose window any side booked anything. */
  async active(runIds: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await this.database.rows<{ id: string }>(
      `select id from unnest($1::uuid[]) as run (id) where exists (select from recon.summary where run_id = run.id)`,
      [runIds],
    );
    return new Set(rows.map(({ id }) => id));
  }

  async progress(runIds: readonly string[]): Promise<SourceProgress[]> {
    const rows = await this.database.rows<Omit<SourceProgress, 'side'> & { source: SideCode } & Row>(
      `select run_id as "runId", source, sum(pages) as pages, sum(rows_seen) as seen, sum(rows_staged) as staged,
         sum(rows_rejected) as rejected, bool_and(done) and (recon.has_hub(source) or count(*) = max(shards)) as done
       from recon.source_progress
       join (select id, case when window_from is null then 1 else list_shards end as shards from recon.run) r
         on r.id = run_id
       where run_id = any($1::uuid[]) group by run_id, source order by run_id, source`,
      [runIds],
    );
    return rows.map(({ source, ...progress }) => ({ ...progress, side: SIDE_OF[source] }));
  }

  async items(runId: string, { after, class: className, state, currency, limit }: ItemFilter): Promise<ReportItem[]> {
    const rows = await this.database.rows(
      `select ${ITEM} from recon.item
       where run_id = $1 and seq > $2 and ($3::text is null or $3 = any(classes)) and ($4::text is null or state = $4) and ($5::text is null or cur = $5)
       order by seq limit $6`,
      [runId, after, className ?? null, state ?? null, currency ?? null, limit],
    );
    return rows.map(itemOf);
  }

  /**
   * All items in order of seq, a page at a time. No connection is held between pages, so a slow reader keeps none from others; a sealed run's
   * items never change. Pages are ranges of seq, which has no gaps, and not "the next 2 000": of a table that is not analysed yet, as when a
   * run is being sealed, the planner sorts all that is left for each page. Throws when a page is not whole: a shorter file must not look right.
   */
  async *itemPages(runId: string, limit: number): AsyncGenerator<ReportItem[]> {
    const [end] = await this.database.rows<{ seq: string | null }>(
      'select max(seq) as seq from recon.item where run_id = $1',
      [runId],
    );
    const last = Number(end?.seq ?? 0);
    for (let after = 0; after < last; after += limit) {
      const rows = await this.database.rows(
        `select ${ITEM} from recon.item where run_id = $1 and seq > $2 and seq <= $3 order by seq`,
        [runId, after, after + limit],
      );
      if (rows.length !== Math.min(limit, last - after))
        throw new Error(`of run ${runId} items after ${after} are gone`);
      yield rows.map(itemOf);
    }
  }

  async summary(runId: string): Promise<SummaryCell[]> {
    const rows = await this.database.rows<
      Omit<SummaryCell, 'side' | 'sumMinor'> & { source: SideCode; sumMinor: string } & Row
    >(
      `select business_date::text as "businessDate", cur as currency, dir as direction, class, state, source,
         n as count, sum_minor as "sumMinor"
       from recon.summary where run_id = $1 order by business_date nulls last, cur, dir, class, state, source`,
      [runId],
    );
    return rows.map(({ source, ...cell }) => ({ ...cell, side: SIDE_OF[source], sumMinor: BigInt(cell.sumMinor) }));
  }

  async totals(sql: Sql, runId: string): Promise<ManifestTotal[]> {
    return (
      await sql.rows<{
        business_date: string | null;
        cur: string;
        dir: string;
        source: SideCode;
        n: string;
        sum_minor: string;
      }>(
        `select business_date::text as business_date, cur, dir, source, sum(n) as n, sum(sum_minor) as sum_minor
         from recon.summary where run_id = $1 group by 1, 2, 3, 4 order by 1 nulls last, 2, 3, 4`,
        [runId],
      )
    ).map((row) => ({
      businessDate: row.business_date,
      currency: row.cur,
      direction: row.dir,
      side: SIDE_OF[row.source],
      count: Number(row.n),
      sumMinor: row.sum_minor,
    }));
  }

  /** Items of `before` and `after`, laid side by side by key and first class. What lies outside of the later window could not be seen there, so it is not cleared. */
  async diff(
    before: string,
    after: string,
    from: { readonly key: string; readonly class: string } | null,
    limit: number,
  ): Promise<DiffRow[]> {
    return this.database.unhurried.rows<DiffRow & Row>(
      `select case when a.seq is null then 'new' when b.seq is not null then 'still_open'
                   when r.window_from is null or (coalesce(a.anchor_at, r.window_from) >= r.window_from and coalesce(a.anchor_at, r.window_from) < r.window_to) then 'cleared' else 'out_of_window' end as change,
         k::text as key, class, coalesce(b.ref_id, a.ref_id) as "refId", coalesce(b.corr, a.corr) as "correlationId", coalesce(b.cur, a.cur) as currency, a.seq as "seqBefore", b.seq as "seqAfter"
       from (select * from recon.item where run_id = $1 and ($3::uuid is null or (k, class) > ($3, $4::text))) a
       full join (select * from recon.item where run_id = $2 and ($3::uuid is null or (k, class) > ($3, $4::text))) b using (k, class)
       cross join (select window_from, window_to from recon.run where id = $2) r
       order by k, class limit $5`,
      [before, after, from?.key ?? null, from?.class ?? null, limit],
    );
  }

  async diffCounts(
    before: string,
    after: string,
  ): Promise<{ new: string; cleared: string; stillOpen: string; outOfWindow: string }> {
    const [row] = await this.database.unhurried.rows<{
      new: string;
      cleared: string;
      stillOpen: string;
      outOfWindow: string;
    }>(
      `select count(*) filter (where a.seq is null) as new, count(*) filter (where a.seq is not null and b.seq is not null) as "stillOpen",
         count(*) filter (where b.seq is null and inside) as cleared, count(*) filter (where b.seq is null and not inside) as "outOfWindow"
       from (select k, class, seq, r.window_from is null or (coalesce(anchor_at, r.window_from) >= r.window_from and coalesce(anchor_at, r.window_from) < r.window_to) as inside
             from recon.item, (select window_from, window_to from recon.run where id = $2) r where run_id = $1) a
       full join (select k, class, seq from recon.item where run_id = $2) b using (k, class)`,
      [before, after],
    );
    return row ?? { new: '0', cleared: '0', stillOpen: '0', outOfWindow: '0' };
  }

  async manifest(sql: Sql, runId: string): Promise<SignedManifest | undefined> {
    const [row] = await sql.rows<{ manifest: SignedManifest['manifest']; sha256: string; signature: string }>(
      `select manifest, encode(manifest_sha256, 'hex') as sha256, encode(signature, 'base64') as signature from recon.run where id = $1 and manifest is not null`,
      [runId],
    );
    return row === undefined ? undefined : { ...row, signature: row.signature.replaceAll('\n', '') };
  }

  async auditHeads(sql: Sql): Promise<AuditHeads> {
    const [row] = await sql.rows<{ entries: string; hash: string; acts: string | null; last: string | null }>(
      `select h.entries, h.hash, a.id as acts, a.last from audit_head h left join lateral (select id, encode(hash, 'hex') as last from recon.action order by id desc limit 1) a on true`,
    );
    if (row === undefined) throw new Error('the audit chain has no head');
    return {
      audit: { entries: Number(row.entries), hash: row.hash },
      actions: { entries: Number(row.acts ?? 0), hash: row.last ?? ACTIONS_GENESIS },
    };
  }

  /** Takes the chain's end until the transaction ends; null when there is no manifest yet. */
  async lockChain(tx: Tx): Promise<{ sequence: number; sha256: string } | null> {
    await tx.rows('select pg_advisory_xact_lock(hashtext($1))', [MANIFEST_LOCK]);
    const [row] = await tx.rows<{ sequence: string; sha256: string }>(
      `select (manifest ->> 'sequence')::bigint as sequence, encode(manifest_sha256, 'hex') as sha256 from recon.run where manifest is not null order by (manifest ->> 'sequence')::bigint desc limit 1`,
    );
    return row === undefined ? null : { sequence: Number(row.sequence), sha256: row.sha256 };
  }

  async saveManifest(tx: Tx, runId: string, { manifest, sha256, signature }: SignedManifest): Promise<void> {
    const { report, signing } = manifest;
    await tx.rows(
      `update recon.run set manifest = $2::jsonb, manifest_sha256 = decode($3, 'hex'), signature = decode($4, 'base64'), key_id = $5, csv_sha256 = coalesce(csv_sha256, decode($6, 'hex')), csv_bytes = coalesce(csv_bytes, $7)
       where id = $1 and state = 'sealed' and manifest is null`,
      [runId, JSON.stringify(manifest), sha256, signature, signing.keyId, report.sha256, report.bytes],
    );
  }
}

function itemOf(row: Row): ReportItem {
  const text = (name: string) => row[name] as string | null;
  const money = (name: string) => (row[name] === null ? null : BigInt(row[name] as string));
  return {
    runId: row.run_id as string,
    seq: row.seq as string,
    businessDate: text('business_date'),
    anchorAt: row.anchor_at as Date | null,
    refId: text('ref_id'),
    correlationId: text('corr'),
    playerId: text('player'),
    classes: row.classes as string[],
    state: row.state as ReportItem['state'],
    reason: row.reason as string,
    direction: text('dir'),
    currency: text('cur'),
    amountRgs: money('amt_rgs'),
    amountOperator: money('amt_op'),
    amountHub: money('amt_hub'),
    difference: money('difference'),
    statusRgs: text('st_rgs'),
    statusOperator: text('st_op'),
    statusHub: text('st_hub'),
    countRgs: row.n_rgs as number,
    countOperator: row.n_op as number,
    countHub: row.n_hub as number,
    firstSeenRun: text('first_seen_run'),
    exceptionId: text('exception_id'),
    exceptionState: text('exception_state'),
    outboxId: text('outbox_id'),
    nextAction: row.next_action as string,
    leg: row.leg as ReportItem['leg'],
    severity: row.severity as string,
    linkedCorrelationId: text('linked_corr'),
  };
}
