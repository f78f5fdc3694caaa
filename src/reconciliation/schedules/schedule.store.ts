import { Injectable } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import { Database, type Row } from '../../database/database';
import type { RunState } from '../run/run';

export interface ScheduleSettings {
  /** Five fields, in local time of `zone`. */
  readonly cron: string;
  readonly zone: string;
  readonly cutoff: string;
  readonly graceSeconds: number;
  readonly enabled: boolean;
  readonly catchUpDays: number;
}

export interface Schedule extends ScheduleSettings {
  readonly id: string;
  readonly name: string;
  /** Every business day up to this one is dealt with. */
  readonly lastBusinessDate: string | null;
  readonly lastRun: string | null;
  readonly lastError: string | null;
  readonly updatedBy: string;
  readonly updatedAt: Date;
}

/** The newest run of a schedule for one day. */
export interface ScheduledRun {
  readonly id: string;
  readonly businessDate: string;
  readonly state: RunState;
  /** Runs of that day, this one included. */
  readonly attempts: number;
  readonly finishedAt: Date | null;
  readonly error: string | null;
}

const COLUMNS = `id, name, cron, zone, cutoff, grace_seconds, enabled, catch_up_days, last_business_date::text as last_business_date, last_run, last_error, updated_by, updated_at`;

@Injectable()
export class ScheduleStore {
  constructor(private readonly database: Database) {}

  async all(): Promise<Schedule[]> {
    return (await this.database.rows(`select ${COLUMNS} from recon.schedule order by name`)).map(scheduleOf);
  }

  /** Makes or changes a schedule. `firstDate` is dealt with from a new schedule's point of view. */
  async put(
    name: string,
    { cron, zone, cutoff, graceSeconds, enabled, catchUpDays }: ScheduleSettings,
    actor: string,
    firstDate: string,
  ): Promise<Schedule> {
    const [row] = await this.database.rows(
      `insert into recon.schedule (id, name, cron, zone, cutoff, grace_seconds, enabled, catch_up_days, last_business_date, updated_by) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
       on conflict (name) do update set cron = excluded.cron, zone = excluded.zone, cutoff = excluded.cutoff, grace_seconds = excluded.grace_seconds, enabled = excluded.enabled,
         catch_up_days = excluded.catch_up_days, updated_by = excluded.updated_by, updated_at = now(), last_error = null
       returning ${COLUMNS}`,
      [uuidv7(), name, cron, zone, cutoff, graceSeconds, enabled, catchUpDays, firstDate, actor],
    );
    if (row === undefined) throw new Error(`schedule ${name} was not stored`);
    return scheduleOf(row);
  }

  async remove(name: string): Promise<Schedule | undefined> {
    const [row] = await this.database.rows(`delete from recon.schedule where name = $1 returning ${COLUMNS}`, [name]);
    return row === undefined ? undefined : scheduleOf(row);
  }

  /** The newest run of each of the days. */
  async runs({ id, zone, cutoff }: Schedule, dates: readonly string[]): Promise<ScheduledRun[]> {
    return this.database.rows<ScheduledRun & Row>(
      `select distinct on (business_date) id, business_date::text as "businessDate", state, (count(*) over (partition by business_date))::integer as attempts, finished_at as "finishedAt", error ->> 'message' as error
       from recon.run where schedule_id = $1 and zone = $2 and cutoff = $3 and business_date = any($4::date[]) order by business_date, created_at desc, id desc`,
      [id, zone, cutoff, dates],
    );
  }

  /** Never backwards: another replica may have seen more. */
  async advance(id: string, lastBusinessDate: string, lastRun: string | null, lastError: string | null): Promise<void> {
    await this.database.rows(
      `update recon.schedule set last_business_date = $2, last_run = coalesce($3, last_run), last_error = $4 where id = $1 and (last_business_date is null or last_business_date < $2::date)`,
      [id, lastBusinessDate, lastRun, lastError],
    );
  }

  async note(id: string, lastError: string | null): Promise<void> {
    await this.database.rows(
      'update recon.schedule set last_error = $2 where id = $1 and last_error is distinct from $2',
      [id, lastError],
    );
  }
}

function scheduleOf(row: Row): Schedule {
  return {
    id: row.id as string,
    name: row.name as string,
    cron: row.cron as string,
    zone: row.zone as string,
    cutoff: row.cutoff as string,
    graceSeconds: row.grace_seconds as number,
    enabled: row.enabled as boolean,
    catchUpDays: row.catch_up_days as number,
    lastBusinessDate: row.last_business_date as string | null,
    lastRun: row.last_run as string | null,
    lastError: row.last_error as string | null,
    updatedBy: row.updated_by as string,
    updatedAt: row.updated_at as Date,
  };
}
