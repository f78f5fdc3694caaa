import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { open } from 'node:fs/promises';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database } from '../database/database';
import { canonicalJson } from '../json/canonical-json';
import { Clock } from '../kernel/clock';
import { Logger } from '../observability/logger';
import { Periodic } from '../scheduling/periodic';
import { AuditHeadsSource } from './audit-chain';
import type { Checkpoint, SignedCheckpoint } from './audit-checkpoint';
import { HubKey } from './hub-key';

const TASK = 'audit.checkpoint';
const LOOK_MS = 10_000;
const ENTRIES = 100;
const AGE_MS = 10 * 60_000;

/**
 * Says in the log, and in a file outside of the database, what the audit log has come to: each 100 entries or ten
 * minutes, if there was any.
 */
@Injectable()
export class AuditCheckpoints implements OnApplicationBootstrap {
  private readonly key: HubKey;
  private said = { entries: 0, at: -Infinity };

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly source: AuditHeadsSource,
    private readonly clock: Clock,
    private readonly periodic: Periodic,
    private readonly logger: Logger,
  ) {
    this.key = new HubKey(config.reconSigningKey);
  }

  onApplicationBootstrap(): Promise<void> {
    const failure = 'admin.audit_checkpoint_failed';
    this.periodic.every({ name: TASK, every: LOOK_MS, on: 'all', failure, work: () => this.sayIfDue() });
    return this.periodic.run(TASK);
  }

  private async sayIfDue(): Promise<void> {
    const heads = await this.source.auditHeads(this.database);
    const entries = heads.audit.entries + heads.actions.entries;
    const now = this.clock.now();
    if (entries === this.said.entries || (entries - this.said.entries < ENTRIES && now - this.said.at < AGE_MS)) return;
    const checkpoint: Checkpoint = {
      format: 'audit-checkpoint/1',
      at: new Date(now).toISOString(),
      keyId: this.key.keyId,
      ...heads,
    };
    const signed: SignedCheckpoint = {
      checkpoint,
      signature: this.key.signature(Buffer.from(canonicalJson(checkpoint))),
    };
    if (this.config.auditCheckpointFile !== undefined)
      await append(this.config.auditCheckpointFile, `${JSON.stringify(signed)}\n`);
    this.logger.event('info', 'admin.audit_checkpoint', { ...signed });
    this.said = { entries, at: now };
  }
}

async function append(file: string, line: string): Promise<void> {
  const handle = await open(file, 'a', 0o640);
  try {
    await handle.writeFile(line);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
