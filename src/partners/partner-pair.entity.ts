import { Check, Column, Entity, ForeignKey, PrimaryColumn } from 'typeorm';
import type { ReferenceScope } from './partner';
import { PartnerEntity } from './partner.entity';

/** What an operator and an RGS have agreed on. */
@Entity('partner_pair')
@Check('partner_pair_reference_scope', `reference_scope in ('player', 'operator')`)
@Check('partner_pair_status', `status in ('active', 'suspended', 'closed')`)
export class PartnerPairEntity {
  @ForeignKey(() => PartnerEntity, { name: 'partner_pair_operator_fkey' })
  @PrimaryColumn('integer', { name: 'operator_id', primaryKeyConstraintName: 'partner_pair_pkey' })
  operatorId!: number;

  @ForeignKey(() => PartnerEntity, { name: 'partner_pair_rgs_fkey' })
  @PrimaryColumn('integer', { name: 'rgs_id', primaryKeyConstraintName: 'partner_pair_pkey' })
  rgsId!: number;

  @Column('text', {
    name: 'reference_scope',
    default: 'operator',
    comment:
      "player: the operator keys its books by player and reference, and gets the RGS's refId; operator: by reference alone, and gets one that the hub makes",
  })
  referenceScope!: ReferenceScope;

  @Column('text', { default: 'active' })
  status!: 'active' | 'suspended' | 'closed';

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;
}
