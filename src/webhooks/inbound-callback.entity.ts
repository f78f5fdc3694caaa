import { Check, Column, Entity, Index, PrimaryGeneratedColumn, Unique } from 'typeorm';

export type CallbackResult = 'applied' | 'repeated' | 'contradicted' | 'mismatched' | 'undecided' | 'unmatched';

/** A callback as an operator sent it; equal bodies of one operator share a row. */
@Entity('inbound_callback')
@Unique('inbound_callback_body_key', ['operatorId', 'bodySha256'])
@Index('inbound_callback_unmatched', ['id'], { where: `verdict = 'unmatched'` })
@Check(
  'inbound_callback_verdict',
  `verdict in ('applied', 'repeated', 'contradicted', 'mismatched', 'undecided', 'unmatched')`,
)
export class InboundCallbackEntity {
  @PrimaryGeneratedColumn('identity', {
    generatedIdentity: 'ALWAYS',
    primaryKeyConstraintName: 'inbound_callback_pkey',
    type: 'bigint',
  })
  id!: string;

  @Column('integer', { name: 'operator_id' })
  operatorId!: number;

  @Column('bytea', { name: 'body_sha256' })
  bodySha256!: Buffer;

  @Column('text')
  body!: string;

  @Column('text', { name: 'ref_id' })
  refId!: string;

  @Column('text', { name: 'correlation_id' })
  correlationId!: string;

  @Column('text')
  verdict!: CallbackResult;

  @Column('uuid', { name: 'transaction_id', nullable: true })
  transactionId!: string | null;

  @Column('integer', { default: 1 })
  seen!: number;

  @Column('timestamptz', { name: 'first_at', default: () => 'now()' })
  firstAt!: Date;

  @Column('timestamptz', { name: 'last_at', default: () => 'now()' })
  lastAt!: Date;
}
