import { Check, Column, Entity, PrimaryGeneratedColumn, Unique } from 'typeorm';
import type { PartnerRole, StatusWords } from './partner';

/** Defaults stand here as Postgres writes them: the drift check compares texts. */
@Entity('partner')
@Unique('partner_code_key', ['code'])
@Check('partner_role', `role in ('operator', 'rgs')`)
@Check('partner_amount_encoding', `amount_encoding in ('number', 'string')`)
@Check('partner_amount_minor_max', `amount_minor_max between 1 and 9007199254740991`)
@Check('partner_timeout_ms', `timeout_ms > 0`)
@Check('partner_signature_version', `signature_version_required in (1, 2)`)
export class PartnerEntity {
  @PrimaryGeneratedColumn('identity', { generatedIdentity: 'ALWAYS', primaryKeyConstraintName: 'partner_pkey' })
  id!: number;

  @Column('text')
  code!: string;

  @Column('text')
  role!: PartnerRole;

  @Column('text', { name: 'base_url', comment: 'operator: root of its wallet API; rgs: the webhook URL itself' })
  baseUrl!: string;

  @Column('boolean', { default: true })
  active!: boolean;

  @Column('text', { array: true })
  currencies!: string[];

  @Column('text', {
    name: 'retired_currencies',
    array: true,
    default: () => `'{}'`,
    comment: 'no longer taken for debits; credits still pass, since a win is never gated',
  })
  retiredCurrencies!: string[];

  @Column('jsonb', { name: 'currency_exponents', default: () => `'{}'` })
  currencyExponents!: Record<string, number>;

  @Column('text', { name: 'amount_encoding', default: 'number' })
  amountEncoding!: 'number' | 'string';

  @Column('bigint', { name: 'amount_minor_max', default: () => `'9007199254740991'` })
  amountMinorMax!: string;

  @Column('text', { name: 'player_id_template', default: '{playerId}' })
  playerIdTemplate!: string;

  @Column('jsonb', {
    name: 'status_words',
    default: () =>
      `'{"applied": ["OK", "SUCCESS"], "pending": ["PENDING", "ACCEPTED"], "refused": ["REJECTED", "DECLINED", "FAILED", "ERROR"]}'`,
  })
  statusWords!: StatusWords;

  @Column('boolean', { name: 'idempotent_by_reference', default: true })
  idempotentByReference!: boolean;

  @Column('boolean', { name: 'status_query', default: true })
  statusQuery!: boolean;

  @Column('boolean', { name: 'rollback_route', default: false })
  rollbackRoute!: boolean;

  @Column('boolean', {
    name: 'refusal_is_final',
    default: false,
    comment: 'the operator keeps refusals with the reference: a refused repeat speaks for every call before it',
  })
  refusalIsFinal!: boolean;

  @Column('boolean', {
    name: 'answers_later',
    default: false,
    comment:
      'it may accept a call and book it later, until the callback time-out: a call whose answer was lost may be booked until then',
  })
  answersLater!: boolean;

  @Column('integer', { name: 'timeout_ms', default: 10_000 })
  timeoutMs!: number;

  @Column('smallint', {
    name: 'signature_version_required',
    default: 1,
    comment: 'least version of the signature that its requests must have',
  })
  signatureVersionRequired!: number;

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at', default: () => 'now()' })
  updatedAt!: Date;
}
