import { type BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import os from 'node:os';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database, type Tx } from '../database/database';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { Periodic } from '../scheduling/periodic';

const TASK = 'replicas.beat';
const BEAT_MS = 1_000;
/** Of silence, after which a process counts as gone. */
export const REPLICA_LIVES_MS = 5_000;

/** The processes that serve one database, each by its own word. */
@Injectable()
export class Replicas implements BeforeApplicationShutdown {
  readonly id = `${os.hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  private isSilent = false;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly periodic: Periodic,
    private readonly logger: Logger,
  ) {}

  /** Enters this process, within the transaction in which it looked for others. */
  async enter(tx: Tx): Promise<void> {
    await tx.rows(`delete from hub_replica where at < now() - interval '1 minute'`);
    await tx.rows(BEAT, [this.id, this.config.role]);
  }

  start(): void {
    this.periodic.every({ name: TASK, every: BEAT_MS, on: 'all', work: () => this.beat() });
  }

  async others(tx: Tx): Promise<string[]> {
    const rows = await tx.rows<{ id: string }>(
      `select id from hub_replica where id <> $1 and at > clock_timestamp() - $2 * interval '1 millisecond' order by id`,
      [this.id, REPLICA_LIVES_MS],
    );
    return rows.map(({ id }) => id);
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.periodic.stop(TASK);
    // Not worth a failed stop: who says nothing is gone in a moment anyway.
    await this.database
      .rows('delete from hub_replica where id = $1', [this.id])
      .catch((error: unknown) => this.logger.event('debug', 'replicas.not_removed', { error: messageOf(error) }));
  }

  private async beat(): Promise<void> {
    try {
      await this.database.rows(BEAT, [this.id, this.config.role]);
      this.isSilent = false;
    } catch (error) {
      // Once per outage: without a database there are louder lines.
      if (!this.isSilent) this.logger.event('warn', 'replicas.beat_failed', { error: messageOf(error) });
      this.isSilent = true;
    }
  }
}

/** An insert as well: an unlogged table is empty after a crash of the server and on a promoted standby. */
const BEAT =
  'insert into hub_replica (id, role, at) values ($1, $2, clock_timestamp()) on conflict (id) do update set at = excluded.at';
