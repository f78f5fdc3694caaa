import { Injectable } from '@nestjs/common';
import { Database, type Parameter, type Row, type Sql } from '../database/database';
import { shownUrl, underBase } from '../kernel/base-url';
import type { Queue } from './outbox-message';

export type RecordStatus = 'pending' | 'failed' | 'dead' | 'sent';

export interface OutboxRecord {
  readonly id: string;
  readonly queue: Queue;
  readonly eventType: string;
  readonly targetUrl: string;
  readonly status: RecordStatus;
  readonly attemptCount: number;
  readonly nextAttemptAt: Date | null;
  readonly lastError: string | null;
  readonly lastErrorAt: Date | null;
  readonly createdAt: Date;
  /** The exact body. */
  readonly payload: string;
}

/** JSON text of a record, with the body as it is stored: read and written again, 5.00 would become 5. */
export function recordJson({ payload, ...rest }: OutboxRecord): string {
  return `${JSON.stringify(rest).slice(0, -1)},"payload":${payload}}`;
}

export interface RecordFilter {
  readonly queue?: Queue;
  readonly status?: RecordStatus;
  /** Id of the last record of the page before. */
  readonly before?: string;
  readonly limit: number;
}

interface RecordRow extends Row {
  id: string;
  queue: Queue;
  event_type: string;
  base_url: string;
  path: string;
  status: RecordStatus;
  attempts: number;
  visible_at: Date | null;
  error: string | null;
  error_at: Date | null;
  created_at: Date;
  body: string;
}

/**
 * Ids of the records in each state; $2 is the id to stay before. Few are open among months of sent ones, so those start
 * from the small table that makes them so. What is pending stands at the head of its lane without a counted attempt, or
 * behind any head. What is sent is what is left: asked record by record, newest first, since a join may be planned over
 * all of them. ("is null" would pass for rare, and invite a sort.)
 */
const IDS: Readonly<Record<RecordStatus | 'any', string>> = {
  any: 'select m.id, m.destination_id from outbox_message m where ($2::uuid is null or m.id < $2)',
  sent: `
    select m.id, m.destination_id from outbox_message m
    where ($2::uuid is null or m.id < $2)
      and (select true from outbox_head h where h.message_id = m.id) is not true and (select true from outbox_dead x where x.message_id = m.id) is not true
      and (select true from outbox_lane l where l.destination_id = m.destination_id and l.lane_key = m.lane_key and m.lane_seq > l.head_seq) is not true`,
  pending: `
    select h.message_id as id, h.destination_id from outbox_head h
    where h.attempts = 0 and ($2::uuid is null or h.message_id < $2) and not exists (select 1 from outbox_dead x where x.message_id = h.message_id)
    union all
    select m.id, m.destination_id from outbox_head h
    join outbox_lane l on l.destination_id = h.destination_id and l.lane_key = h.lane_key and l.last_seq > l.head_seq
    join outbox_message m on m.destination_id = l.destination_id and m.lane_key = l.lane_key and m.lane_seq > l.head_seq
    where ($2::uuid is null or m.id < $2)`,
  failed: `
    select h.message_id as id, h.destination_id from outbox_head h
    where h.attempts > 0 and ($2::uuid is null or h.message_id < $2) and not exists (select 1 from outbox_dead x where x.message_id = h.message_id)`,
  dead: `select x.message_id as id, x.destination_id from outbox_dead x where ($2::uuid is null or x.message_id < $2)`,
};

/** Messages as ops see them. */
@Injectable()
export class OutboxRecordsStore {
  constructor(private readonly database: Database) {}

  /**
   * Newest first. The status is derived: a dead row is dead, a head is pending or failed, what its lane has passed is
   * sent.
   */
  async list(filter: RecordFilter): Promise<OutboxRecord[]> {
    // The page is cut out before anything is looked up for its records.
    const page = `(select o.id from (${IDS[filter.status ?? 'any']}) o
      where $1::text is null or (select od.queue from outbox_destination od where od.id = o.destination_id) = $1 order by o.id desc limit $3)`;
    return this.records(this.database, `${page} page join outbox_message m on m.id = page.id`, 'order by m.id desc', [
      filter.queue ?? null,
      filter.before ?? null,
      filter.limit,
    ]);
  }

  async find(sql: Sql, queue: Queue, id: string): Promise<OutboxRecord | undefined> {
    const [record] = await this.records(sql, 'outbox_message m', 'where d.queue = $1 and m.id = $2', [queue, id]);
    return record;
  }

  private async records(
    sql: Sql,
    source: string,
    where: string,
    parameters: readonly Parameter[],
  ): Promise<OutboxRecord[]> {
    const rows = await sql.rows<RecordRow>(
      `select m.id, d.queue, m.event_type, p.base_url, m.path, s.status, m.created_at, m.body,
         case when h.visible_at = 'infinity' then null else h.visible_at end as visible_at,
         coalesce(h.attempts, x.attempts, t.counted)::integer as attempts,
         -- A message that waits says what its last attempt met, also one that never left; if it had none, what keeps its destination from being called.
         coalesce(x.error, t.error, b.error) as error,
         case when x.error is not null then x.at when t.error is not null then t.at when b.error is not null then b.at end as error_at
       from ${source}
       join outbox_destination d on d.id = m.destination_id
       join partner p on p.id = m.destination_id
       left join outbox_head h on h.message_id = m.id
       left join outbox_dead x on x.message_id = m.id
       left join outbox_lane l on l.destination_id = m.destination_id and l.lane_key = m.lane_key
       cross join lateral (select case
           when x.message_id is not null then 'dead'
           when h.message_id is not null and h.attempts > 0 then 'failed'
           when h.message_id is not null or m.lane_seq > l.head_seq then 'pending'
           else 'sent' end as status) s
       cross join lateral (select count(*) filter (where a.outcome in ('sent', 'retry', 'dead', 'blocked')) as counted,
           (array_agg(a.error order by a.at desc) filter (where a.outcome <> 'stale' and (h.replayed_at is null or a.at > h.replayed_at)))[1] as error,
           max(a.at) filter (where a.outcome <> 'stale' and (h.replayed_at is null or a.at > h.replayed_at)) as at
         from outbox_attempt a where a.message_id = m.id) t
       cross join lateral (select case
           when h.message_id is null or h.leased then null
           when d.paused_at is not null then 'not sent, since the destination is paused: ' || d.pause_reason
           when d.breaker <> 'closed' then 'not sent, since the destination failed too often: ' || coalesce(d.last_error, 'no reason known')
           when d.not_before > now() then 'not sent, since the destination asked to be left alone (Retry-After)' end as error,
           coalesce(d.paused_at, d.last_error_at) as at) b
       ${where}`,
      parameters,
    );
    return rows.map((row) => ({
      id: row.id,
      queue: row.queue,
      eventType: row.event_type,
      targetUrl: shownUrl(underBase(row.base_url, row.path)),
      status: row.status,
      attemptCount: row.attempts,
      nextAttemptAt: row.visible_at,
      lastError: row.error,
      lastErrorAt: row.error_at,
      createdAt: row.created_at,
      payload: row.body,
    }));
  }
}
