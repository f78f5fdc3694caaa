import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { createHash, hash } from 'node:crypto';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database } from '../database/database';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import type { Partner, TokenOwner } from './partner';
import { type PartnerSnapshot, PartnersStore } from './partners.store';

/** Age at which the copy of the partner tables is read anew; a change of a partner takes effect within it on every replica. */
const SNAPSHOT_AGE_MS_MAX = 5_000;

/** Codes of the pair that the environment describes. */
export const DEFAULT_OPERATOR = 'operator';
export const DEFAULT_RGS = 'rgs';

/** Partners and their tokens, kept in memory so that no request waits for the database to learn who is calling. */
@Injectable()
export class PartnerDirectory implements OnModuleInit, OnApplicationShutdown {
  private snapshot: PartnerSnapshot = { partners: new Map(), tokens: new Map(), linkedPairs: new Set() };
  private timer: NodeJS.Timeout | undefined;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly store: PartnersStore,
    private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.ensureDefaultPair();
    await this.refresh();
    this.timer = setInterval(() => {
      // The last copy stays in use while the database is away: knowing partners must not depend on it.
      this.refresh().catch((error: unknown) => this.logger.event('warn', 'partners.refresh_failed', { error: messageOf(error) }));
    }, SNAPSHOT_AGE_MS_MAX);
    this.timer.unref();
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  async refresh(): Promise<void> {
    this.snapshot = await this.store.snapshot();
  }

  /** Partners that the bearer token with this hash speaks for; empty when it is not known. */
  ownersOf(hash: string): readonly TokenOwner[] {
    return this.snapshot.tokens.get(hash) ?? [];
  }

  /** Throws when the id is not known: ids come from our own rows, so that is a fault of ours. */
  byId(id: number): Partner {
    const partner = this.snapshot.partners.get(id);
    if (partner === undefined) throw new Error(`partner ${id} is not known`);
    return partner;
  }

  byCode(code: string): Partner | undefined {
    return [...this.snapshot.partners.values()].find((partner) => partner.code === code);
  }

  all(): readonly Partner[] {
    return [...this.snapshot.partners.values()];
  }

  /** The operator's name for a player of an RGS: its link, else the operator's template. */
  async externalPlayerId(operator: Partner, rgs: Partner, playerId: string): Promise<string> {
    if (this.snapshot.linkedPairs.has(`${operator.id}:${rgs.id}`)) {
      const linked = await this.store.externalPlayerId(operator.id, rgs.id, playerId);
      if (linked !== undefined) return linked;
    }
    return operator.playerIdTemplate.replaceAll('{playerId}', () => playerId);
  }

  /** The pair of the environment becomes two rows, so that everything behind it knows only partners. */
  private async ensureDefaultPair(): Promise<void> {
    const { config } = this;
    await this.database.transaction(async (tx) => {
      await tx.rows(`select pg_advisory_xact_lock(hashtext('partner_from_environment'))`);
      const shared = { currencies: config.supportedCurrencies, playerIdTemplate: config.playerIdTemplate, timeoutMs: config.operatorTimeoutMs };
      const operatorId = await this.store.upsertFromEnvironment(
        tx,
        { ...shared, code: DEFAULT_OPERATOR, role: 'operator', baseUrl: config.operatorBaseUrl, tokenSha256: config.tokens.operator.map(sha256), signingKey: config.operatorHmacSecret, signatureVersionRequired: config.operatorSignatureVersionRequired },
        null,
      );
      await this.store.upsertFromEnvironment(
        tx,
        { ...shared, code: DEFAULT_RGS, role: 'rgs', baseUrl: config.rgsWebhookUrl, tokenSha256: config.tokens.rgs.map(sha256), signingKey: config.hmacSecret, signatureVersionRequired: config.signatureVersionRequired },
        operatorId,
      );
    });
  }
}

export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Lower-case hex SHA-256 of a bearer token, the only form in which tokens are compared. */
export function tokenHash(token: string): string {
  return hash('sha256', token, 'hex');
}
