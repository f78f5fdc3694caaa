import { Column, Entity, ForeignKey, PrimaryColumn, Unique } from 'typeorm';
import { PartnerEntity } from './partner.entity';

/** The operator's name for a player of an RGS, where the template does not give it. */
@Entity('player_link')
@Unique('player_link_external_key', ['operatorId', 'rgsId', 'externalPlayerId'])
export class PlayerLinkEntity {
  @ForeignKey(() => PartnerEntity, { name: 'player_link_operator_fkey' })
  @PrimaryColumn('integer', { name: 'operator_id', primaryKeyConstraintName: 'player_link_pkey' })
  operatorId!: number;

  @ForeignKey(() => PartnerEntity, { name: 'player_link_rgs_fkey' })
  @PrimaryColumn('integer', { name: 'rgs_id', primaryKeyConstraintName: 'player_link_pkey' })
  rgsId!: number;

  @PrimaryColumn('text', { name: 'player_id', primaryKeyConstraintName: 'player_link_pkey' })
  playerId!: string;

  @Column('text', { name: 'external_player_id' })
  externalPlayerId!: string;

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;
}
