import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { createHash, hash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database, type Tx } from '../database/database';
import { shownUrl } from '../kernel/base-url';
import { invariant } from '../kernel/invariant';
import { Logger } from '../observability/logger';
import { Periodic } from '../scheduling/periodic';
import type { Partner, PartnerPair, TokenOwner } from './partner';
import {
  type PartnerFromEnvironment,
  type PartnerSnapshot,
  PartnersStore,
  type WrittenPartner,
} from './partners.store';
import { REPLICA_LIVES_MS, Replicas } from './replicas';

/**
 * Age at which the copy of the partner tables is read again; a change of a partner takes effect within it on every
 * replica.
 */
const SNAPSHOT_AGE_MS_MAX = 5_000;

/** Codes of the pair that the environment describes. */
export const DEFAULT_OPERATOR = 'operator';
export const DEFAULT_RGS = 'rgs';

/** Partners and their tokens, kept in memory so that no request waits for the database to learn who is calling. */
@Injectable()
export class PartnerDirectory implements OnModuleInit {
  private snapshot: PartnerSnapshot = {
    partners: new Map(),
    tokens: new Map(),
    pairs: new Map(),
    linkedPairs: new Set(),
  };
  private loggedDisagreements = '[]';
  /** Reads begun, and the one that is shown. */
  private turns = 0;
  private shown = 0;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly store: PartnersStore,
    private readonly replicas: Replicas,
    private readonly periodic: Periodic,
    private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.ensureDefaultPair();
    this.replicas.start();
    await this.refresh();
    // The last copy stays in use while the database is away: knowing partners must not depend on it.
    this.periodic.every({
      name: 'partners.refresh',
      every: SNAPSHOT_AGE_MS_MAX,
      on: 'all',
      failure: 'partners.refresh_failed',
      work: () => this.refresh(),
    });
  }

  async refresh(): Promise<void> {
    const turn = (this.turns += 1);
    const snapshot = await this.store.snapshot();
    // A slow read that began earlier must not bring back a partner's old address, or a revoked key.
    if (turn < this.shown) return;
    this.shown = turn;
    this.snapshot = snapshot;
    this.reportDisagreement();
  }

  /** Partners that the bearer token with this hash speaks for; empty when it is not known. */
  ownersOf(hash: string): readonly TokenOwner[] {
    return this.snapshot.tokens.get(hash) ?? [];
  }

  /** Throws when the id is not known: ids come from our own rows, so that is a fault of ours. */
  byId(id: number): Partner {
    const partner = this.snapshot.partners.get(id);
    invariant(partner !== undefined, () => `partner ${id} is not known`);
    return partner;
  }

  byCode(code: string): Partner | undefined {
    return [...this.snapshot.partners.values()].find((partner) => partner.code === code);
  }

  all(): readonly Partner[] {
    return [...this.snapshot.partners.values()];
  }

  /** A pair without a row is a new one. */
  pair(operator: Partner, rgs: Partner): PartnerPair {
    return this.snapshot.pairs.get(`${operator.id}:${rgs.id}`) ?? { referenceScope: 'operator' };
  }

  /** The operator's name for a player of an RGS: its link, else the operator's template. */
  async externalPlayerId(operator: Partner, rgs: Partner, playerId: string): Promise<string> {
    if (this.snapshot.linkedPairs.has(`${operator.id}:${rgs.id}`)) {
      const linked = await this.store.externalPlayerId(operator.id, rgs.id, playerId);
      if (linked !== undefined) return linked;
    }
    return operator.playerIdTemplate.replaceAll('{playerId}', () => playerId);
  }

  /**
   * The pair of the environment becomes two rows, so that everything behind it knows only partners. A process whose
   * environment sends money elsewhere than the rows say is refused while others live by them: a second stack on the
   * same database took over the first one's partners.
   */
  private async ensureDefaultPair(): Promise<void> {
    // One that was killed a moment ago must not keep its successor out.
    for (const deadline = performance.now() + REPLICA_LIVES_MS + ENTRY_POLL_MS; ; await delay(ENTRY_POLL_MS)) {
      const disagreement = await this.database.transaction((tx) => this.writePair(tx));
      if (disagreement === undefined) return;
      if (performance.now() > deadline) throw new Error(disagreement);
    }
  }

  /** Answers why it wrote nothing, if so. */
  private async writePair(tx: Tx): Promise<string | undefined> {
    await tx.rows(`select pg_advisory_xact_lock(hashtext('partner_from_environment'))`);
    const [operator, rgs] = this.pairOfEnvironment();
    const changes = [...(await this.changesOf(tx, operator)), ...(await this.changesOf(tx, rgs))];
    const others = await this.replicas.others(tx);
    const disputed = changes.filter(({ movesMoney }) => movesMoney);
    if (disputed.length > 0 && others.length > 0 && !this.config.partnerChangeAccepted)
      return disagreementOf(disputed, others);
    for (const { partner, what, before, after, movesMoney } of changes)
      this.logger.event('warn', movesMoney ? 'partners.address_changed' : 'partners.changed', {
        partner,
        what,
        before,
        after,
        ...(movesMoney && others.length > 0 ? { others } : {}),
      });
    const operatorId = await this.store.upsertFromEnvironment(tx, operator, null);
    const rgsId = await this.store.upsertFromEnvironment(tx, rgs, operatorId);
    await this.store.ensurePair(tx, operatorId, rgsId, 'player');
    await this.replicas.enter(tx);
    return undefined;
  }

  private pairOfEnvironment(): readonly [PartnerFromEnvironment, PartnerFromEnvironment] {
    const { config } = this;
    const shared = {
      currencies: config.supportedCurrencies,
      playerIdTemplate: config.playerIdTemplate,
      timeoutMs: config.operatorTimeoutMs,
    };
    return [
      {
        ...shared,
        code: DEFAULT_OPERATOR,
        role: 'operator',
        baseUrl: config.operatorBaseUrl,
        tokenSha256: config.tokens.operator.map(sha256),
        signingKey: config.operatorHmacSecret,
        signatureVersionRequired: config.operatorSignatureVersionRequired,
      },
      {
        ...shared,
        code: DEFAULT_RGS,
        role: 'rgs',
        baseUrl: config.rgsWebhookUrl,
        tokenSha256: config.tokens.rgs.map(sha256),
        signingKey: config.hmacSecret,
        signatureVersionRequired: config.signatureVersionRequired,
      },
    ];
  }

  private async changesOf(tx: Tx, wanted: PartnerFromEnvironment): Promise<Change[]> {
    const written = await this.store.fromEnvironment(tx, wanted.code);
    return written === undefined ? [] : differences(wanted.code, written, wanted);
  }

  /** A process that uses rows changed by another one logs it, once for each change. */
  private reportDisagreement(): void {
    const disagreements = this.pairOfEnvironment().flatMap((wanted) => {
      const row = this.byCode(wanted.code);
      if (row === undefined) return [];
      return [
        ...differenceOf(wanted.code, 'address', row.baseUrl, wanted.baseUrl),
        ...differenceOf(wanted.code, 'player template', row.playerIdTemplate, wanted.playerIdTemplate),
      ];
    });
    const key = JSON.stringify(disagreements);
    if (key !== this.loggedDisagreements && disagreements.length > 0)
      for (const { partner, what, before, after } of disagreements)
        this.logger.event('error', 'partners.environment_differs', { partner, what, used: before, environment: after });
    this.loggedDisagreements = key;
  }
}

const ENTRY_POLL_MS = 250;

interface Change {
  readonly partner: string;
  readonly what: string;
  readonly before: string;
  readonly after: string;
  /** Whether money goes elsewhere from now on. */
  readonly movesMoney: boolean;
}

/** Secrets are compared and never shown. */
function differences(partner: string, before: WrittenPartner, after: WrittenPartner): Change[] {
  const hashes = (list: readonly Buffer[]): string =>
    list
      .map((one) => one.toString('hex'))
      .sort()
      .join();
  return [
    ...differenceOf(partner, 'address', before.baseUrl, after.baseUrl),
    ...differenceOf(partner, 'player template', before.playerIdTemplate, after.playerIdTemplate),
    ...[
      { what: 'currencies', before: before.currencies.join(), after: after.currencies.join() },
      {
        what: 'version of the signature that is required',
        before: String(before.signatureVersionRequired),
        after: String(after.signatureVersionRequired),
      },
      { what: 'time-out', before: `${before.timeoutMs} ms`, after: `${after.timeoutMs} ms` },
    ]
      .filter((change) => change.before !== change.after)
      .map((change) => ({ ...change, partner, movesMoney: false })),
    ...[
      { what: 'signing key', same: before.signingKey === after.signingKey },
      { what: 'tokens', same: hashes(before.tokenSha256) === hashes(after.tokenSha256) },
    ]
      .filter(({ same }) => !same)
      .map(({ what }) => ({ what, partner, before: 'another', after: 'that of this environment', movesMoney: false })),
  ];
}

function differenceOf(partner: string, what: 'address' | 'player template', before: string, after: string): Change[] {
  if (before === after) return [];
  const shown = (text: string): string => (what === 'address' ? shownUrl(text) : text);
  return [{ partner, what, before: shown(before), after: shown(after), movesMoney: true }];
}

function disagreementOf(changes: readonly Change[], others: readonly string[]): string {
  return [
    'The hub does not start, since other processes live on this database and send money elsewhere than this environment says:',
    ...changes.map(({ partner, what, before, after }) => `  - ${what} of ${partner}: ${before} in use, ${after} here`),
    `They are ${others.join(', ')}. A stack of its own needs a database of its own (DATABASE_URL, or DATA_DIR). To change the partner, stop the others first, or roll the change out with PARTNER_CHANGE_ACCEPTED=true. The partners were not changed.`,
  ].join('\n');
}

/** Whether it is the pair that the environment describes, which was there before there were others. */
export function isEnvironmentPair(operator: Partner, rgs: Partner): boolean {
  return operator.code === DEFAULT_OPERATOR && rgs.code === DEFAULT_RGS;
}

export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Lower-case hex SHA-256 of a bearer token, the only form in which tokens are compared. */
export function tokenHash(token: string): string {
  return hash('sha256', token, 'hex');
}
