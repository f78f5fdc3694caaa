import { Check, Column, Entity, ForeignKey, PrimaryGeneratedColumn, Unique } from 'typeorm';
import { PartnerEntity } from './partner.entity';

/** A bearer token (kept as its SHA-256) or a signing key (kept readable, since the hub signs with it). */
@Entity('partner_credential')
@Unique('partner_credential_label_key', ['partnerId', 'kind', 'label'])
@Check('partner_credential_kind', `kind in ('bearer', 'signing')`)
@Check(
  'partner_credential_value',
  `(kind = 'bearer' and token_sha256 is not null and secret is null) or (kind = 'signing' and secret is not null and token_sha256 is null)`,
)
export class PartnerCredentialEntity {
  @PrimaryGeneratedColumn('identity', {
    generatedIdentity: 'ALWAYS',
    primaryKeyConstraintName: 'partner_credential_pkey',
  })
  id!: number;

  @ForeignKey(() => PartnerEntity, { name: 'partner_credential_partner_fkey' })
  @Column('integer', { name: 'partner_id' })
  partnerId!: number;

  @ForeignKey(() => PartnerEntity, { name: 'partner_credential_operator_fkey' })
  @Column('integer', {
    name: 'operator_id',
    nullable: true,
    comment: 'for a token of an RGS: the operator whose wallet its requests move',
  })
  operatorId!: number | null;

  @Column('text')
  kind!: 'bearer' | 'signing';

  @Column('text')
  label!: string;

  @Column('bytea', { name: 'token_sha256', nullable: true })
  tokenSha256!: Buffer | null;

  @Column('text', { nullable: true })
  secret!: string | null;

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;

  @Column('timestamptz', {
    name: 'not_after',
    nullable: true,
    comment: 'end of the overlap while two credentials are live; null = no end',
  })
  notAfter!: Date | null;
}
