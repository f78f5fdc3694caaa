import { Injectable } from '@nestjs/common';
import { protocolWord } from '../kernel/protocol-word';
import { invariant } from '../kernel/invariant';
import { Database, type Row, type Tx } from '../database/database';
import type { Partner, PartnerPair, PartnerRole, StatusWords, TokenOwner } from './partner';

/** What the environment says about one side of the default pair. */
export interface PartnerFromEnvironment {
  readonly code: string;
  readonly role: PartnerRole;
  readonly baseUrl: string;
  readonly currencies: readonly string[];
  readonly playerIdTemplate: string;
  readonly timeoutMs: number;
  readonly tokenSha256: readonly Buffer[];
  readonly signingKey: string;
  readonly signatureVersionRequired: 1 | 2;
}

/** The same, from the rows. */
export type WrittenPartner = Omit<PartnerFromEnvironment, 'code' | 'role'>;

export interface PartnerSnapshot {
  readonly partners: ReadonlyMap<number, Partner>;
  /** By hex SHA-256 of the token. */
  readonly tokens: ReadonlyMap<string, readonly TokenOwner[]>;
  /** By "operatorId:rgsId". */
  readonly pairs: ReadonlyMap<string, PartnerPair>;
  /** Pairs "operatorId:rgsId" that have player links; all others use the template. */
  readonly linkedPairs: ReadonlySet<string>;
}

interface PartnerRow extends Row {
  id: number;
  code: string;
  active: boolean;
  role: PartnerRole;
  base_url: string;
  currencies: string[];
  retired_currencies: string[];
  currency_exponents: Record<string, number>;
  amount_encoding: 'number' | 'string';
  amount_minor_max: string;
  player_id_template: string;
  status_words: StatusWords;
  idempotent_by_reference: boolean;
  status_query: boolean;
  rollback_route: boolean;
  refusal_is_final: boolean;
  answers_later: boolean;
  timeout_ms: number;
  signing_keys: string[];
  signing_kids: string[];
  signature_version_required: number;
}

@Injectable()
export class PartnersStore {
  constructor(private readonly database: Database) {}

  async snapshot(): Promise<PartnerSnapshot> {
    const rows = await this.database.rows<PartnerRow>(`
      select p.*, array(
        select c.secret from partner_credential c
        where c.partner_id = p.id and c.kind = 'signing' and (c.not_after is null or c.not_after > now()) order by c.created_at desc, c.id desc
      ) as signing_keys, array(
        select c.label from partner_credential c
        where c.partner_id = p.id and c.kind = 'signing' and (c.not_after is null or c.not_after > now()) order by c.created_at desc, c.id desc
      ) as signing_kids
      from partner p`);
    const partners = new Map(rows.map((row) => [row.id, partnerOf(row)]));

    const credentials = await this.database.rows<{ partner_id: number; operator_id: number | null; hash: string }>(`
      select partner_id, operator_id, encode(token_sha256, 'hex') as hash from partner_credential
      where kind = 'bearer' and (not_after is null or not_after > now())`);
    const tokens = new Map<string, TokenOwner[]>();
    for (const { partner_id, operator_id, hash } of credentials) {
      const partner = partners.get(partner_id);
      if (partner?.active !== true) continue;
      const operator = operator_id === null ? undefined : partners.get(operator_id);
      tokens.set(hash, [...(tokens.get(hash) ?? []), { partner, operator }]);
    }

    const pairs = await this.database.rows<{ pair: string; reference_scope: PartnerPair['referenceScope'] }>(
      `select operator_id || ':' || rgs_id as pair, reference_scope from partner_pair`,
    );
    const linked = await this.database.rows<{ pair: string }>(
      `select distinct operator_id || ':' || rgs_id as pair from player_link`,
    );
    return {
      partners,
      tokens,
      pairs: new Map(pairs.map(({ pair, reference_scope }) => [pair, { referenceScope: reference_scope }])),
      linkedPairs: new Set(linked.map(({ pair }) => pair)),
    };
  }

  /** What the environment of an earlier start wrote; undefined when there is no such row. */
  async fromEnvironment(tx: Tx, code: string): Promise<WrittenPartner | undefined> {
    const [row] = await tx.rows<{
      base_url: string;
      player_id_template: string;
      currencies: string[];
      timeout_ms: number;
      signature_version_required: number;
      tokens: Buffer[];
      signing_key: string | null;
    }>(
      `select p.base_url, p.player_id_template, p.currencies, p.timeout_ms, p.signature_version_required,
         array(select c.token_sha256 from partner_credential c where c.partner_id = p.id and c.kind = 'bearer' and c.label like 'env%' order by c.label) as tokens,
         (select c.secret from partner_credential c where c.partner_id = p.id and c.kind = 'signing' and c.label = 'env') as signing_key
       from partner p where p.code = $1`,
      [code],
    );
    if (row === undefined) return undefined;
    return {
      baseUrl: row.base_url,
      playerIdTemplate: row.player_id_template,
      currencies: row.currencies,
      timeoutMs: row.timeout_ms,
      signatureVersionRequired: row.signature_version_required === 2 ? 2 : 1,
      tokenSha256: row.tokens,
      signingKey: row.signing_key ?? '',
    };
  }

  /** Makes or updates the row and its 'env' credentials; a currency that left the list is remembered as retired. */
  async upsertFromEnvironment(tx: Tx, partner: PartnerFromEnvironment, operatorId: number | null): Promise<number> {
    const [row] = await tx.rows<{ id: number }>(
      `insert into partner as p (code, role, base_url, currencies, player_id_template, timeout_ms) values ($1, $2, $3, $4, $5, $6)
       on conflict (code) do update set base_url = excluded.base_url, player_id_template = excluded.player_id_template, timeout_ms = excluded.timeout_ms,
         active = true, currencies = excluded.currencies, updated_at = now(),
         retired_currencies = array(
           select c from unnest(p.retired_currencies || p.currencies) c where not (c = any (excluded.currencies)) group by c order by c)
       returning id`,
      [partner.code, partner.role, partner.baseUrl, partner.currencies, partner.playerIdTemplate, partner.timeoutMs],
    );
    invariant(row !== undefined, () => `partner ${partner.code} was not written`);
    await tx.rows(
      `update partner set signature_version_required = $2 where id = $1 and signature_version_required <> $2`,
      [row.id, partner.signatureVersionRequired],
    );
    await tx.rows(`delete from partner_credential where partner_id = $1 and label like 'env%'`, [row.id]);
    for (const [index, hash] of partner.tokenSha256.entries())
      await tx.rows(
        `insert into partner_credential (partner_id, operator_id, kind, label, token_sha256) values ($1, $2, 'bearer', $3, $4)`,
        [row.id, operatorId, `env-${index + 1}`, hash],
      );
    await tx.rows(
      `insert into partner_credential (partner_id, kind, label, secret) values ($1, 'signing', 'env', $2)`,
      [row.id, partner.signingKey],
    );
    return row.id;
  }

  /** The pair that the environment describes; a scope that was changed manually stays. */
  async ensurePair(
    tx: Tx,
    operatorId: number,
    rgsId: number,
    referenceScope: PartnerPair['referenceScope'],
  ): Promise<void> {
    await tx.rows(
      'insert into partner_pair (operator_id, rgs_id, reference_scope) values ($1, $2, $3) on conflict on constraint partner_pair_pkey do nothing',
      [operatorId, rgsId, referenceScope],
    );
  }

  async externalPlayerId(operatorId: number, rgsId: number, playerId: string): Promise<string | undefined> {
    const [row] = await this.database.rows<{ external_player_id: string }>(
      'select external_player_id from player_link where operator_id = $1 and rgs_id = $2 and player_id = $3',
      [operatorId, rgsId, playerId],
    );
    return row?.external_player_id;
  }
}

function partnerOf(row: PartnerRow): Partner {
  return {
    id: row.id,
    code: row.code,
    active: row.active,
    role: row.role,
    baseUrl: row.base_url,
    currencies: new Set(row.currencies),
    retiredCurrencies: new Set(row.retired_currencies),
    currencyExponents: row.currency_exponents,
    amountEncoding: row.amount_encoding,
    amountMinorMax: BigInt(row.amount_minor_max),
    playerIdTemplate: row.player_id_template,
    statusWords: {
      applied: row.status_words.applied.map(protocolWord),
      pending: row.status_words.pending.map(protocolWord),
      refused: row.status_words.refused.map(protocolWord),
    },
    idempotentByReference: row.idempotent_by_reference,
    statusQuery: row.status_query,
    rollbackRoute: row.rollback_route,
    refusalIsFinal: row.refusal_is_final,
    answersLater: row.answers_later,
    timeoutMs: row.timeout_ms,
    signingKeys: row.signing_keys,
    // Labels are free text; as in a URL they have neither commas nor blanks.
    keys: row.signing_keys.map((secret, index) => ({ secret, kid: encodeURIComponent(row.signing_kids[index] ?? '') })),
    signatureVersionRequired: row.signature_version_required === 2 ? 2 : 1,
  };
}
