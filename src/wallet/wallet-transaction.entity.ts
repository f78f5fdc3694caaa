import { Check, Column, Entity, Index, PrimaryColumn, Unique } from 'typeorm';
import type { TransactionMovement, TransactionState } from './transaction-state';

/**
 * One movement of money. Written and changed by wallet.store.ts only; this class is the schema's description and the
 * drift check.
 */
@Entity({
  name: 'wallet_transaction',
  comment: 'no index names the state, so the usual change from initiated to confirmed stays on its page',
})
@Unique('wallet_transaction_business_key', ['rgsId', 'refHash', 'businessHash'])
@Index('wallet_transaction_external_ref', ['operatorId', 'movement', 'externalRef'], {
  unique: true,
  where: 'external_ref is not null',
})
@Index('wallet_transaction_rollbacks', ['originalId'], { where: 'original_id is not null' })
@Index('wallet_transaction_player', ['rgsId', 'playerId', 'id'])
@Index('wallet_transaction_round', ['rgsId', 'roundHash'], { where: 'round_hash is not null' })
@Index('wallet_transaction_created_at', ['createdAt'], { type: 'brin' })
@Index('wallet_transaction_undo_message', ['undoMessageId'], { where: 'undo_message_id is not null' })
@Check('wallet_transaction_movement', `movement in ('debit', 'credit', 'rollback')`)
@Check('wallet_transaction_undo', `undo is null or (undo in ('deadline', 'rollback') and movement = 'debit')`)
@Check('wallet_transaction_tombstone', `not tombstone or (movement = 'debit' and state = 'rolled_back')`)
@Check('wallet_transaction_original', `(movement = 'rollback') = (original_id is not null)`)
@Check(
  'wallet_transaction_message',
  `message_id is not null or tombstone or movement = 'rollback' or (movement = 'debit' and kind in ('free', 'promo'))`,
)
@Check('wallet_transaction_kind', `kind in ('regular', 'free', 'promo', 'jackpot')`)
@Check(
  'wallet_transaction_amount',
  `amount_minor >= 0 and amount_minor <= 9007199254740991 and (movement <> 'debit' or amount_minor > 0 or tombstone or kind in ('free', 'promo'))`,
)
@Check(
  'wallet_transaction_state',
  `state in ('initiated', 'confirmed', 'rejected', 'unknown', 'compensating', 'compensated', 'parked', 'rolling_back', 'rolled_back')`,
)
@Check(
  'wallet_transaction_settled_at',
  `(settled_at is not null) = (state in ('confirmed', 'rejected', 'compensated', 'rolled_back'))`,
)
export class WalletTransactionEntity {
  /** Also the correlation id that both partners see. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'wallet_transaction_pkey' })
  id!: string;

  @Column('integer', { name: 'operator_id' })
  operatorId!: number;

  @Column('integer', { name: 'rgs_id' })
  rgsId!: number;

  @Column('text')
  movement!: TransactionMovement;

  @Column('text', { name: 'player_id' })
  playerId!: string;

  @Column('text', { name: 'external_player_id' })
  externalPlayerId!: string;

  @Column('text', { name: 'ref_id' })
  refId!: string;

  @Column('text', {
    name: 'external_ref',
    nullable: true,
    comment: 'what the operator knows it by, where that is not ref_id',
  })
  externalRef!: string | null;

  @Column('bigint', { name: 'amount_minor' })
  amountMinor!: string;

  @Column('text')
  currency!: string;

  @Column('smallint')
  exponent!: number;

  @Column('text', { default: 'regular' })
  kind!: string;

  @Column('text', { name: 'round_id', nullable: true })
  roundId!: string | null;

  @Column('boolean', { name: 'round_closed', default: false })
  roundClosed!: boolean;

  @Column('text', { name: 'game_id', nullable: true })
  gameId!: string | null;

  @Column('text', { name: 'session_id', nullable: true })
  sessionId!: string | null;

  @Column('json', { nullable: true })
  meta!: unknown;

  @Column('text', { default: 'initiated' })
  state!: TransactionState;

  @Column('bigint', { name: 'balance_minor', nullable: true })
  balanceMinor!: string | null;

  @Column('text', { nullable: true })
  reason!: string | null;

  @Column('text', {
    name: 'reason_code',
    nullable: true,
    comment: "the hub's own word for why it was refused, whatever the operator calls it",
  })
  reasonCode!: string | null;

  @Column('text', {
    nullable: true,
    array: true,
    comment: 'what the first answer warned of, so that a repeat says the same',
  })
  warnings!: string[] | null;

  @Column('uuid', { name: 'message_id', nullable: true })
  messageId!: string | null;

  @Column('uuid', { name: 'original_id', nullable: true, comment: 'of a rollback: the bet that it undoes' })
  originalId!: string | null;

  @Column('boolean', {
    default: false,
    comment: 'the place of a bet that was rolled back before it came: the business key keeps the bet out',
  })
  tombstone!: boolean;

  @Column('text', { nullable: true, comment: 'why an applied bet must be paid back instead of confirmed' })
  undo!: 'deadline' | 'rollback' | null;

  @Column('uuid', { name: 'undo_message_id', nullable: true, comment: 'the operator message that pays the bet back' })
  undoMessageId!: string | null;

  @Column('timestamptz', {
    name: 'absent_at',
    nullable: true,
    comment: 'when the first question began to which the operator said that it does not know the bet',
  })
  absentAt!: Date | null;

  @Column('boolean', {
    nullable: true,
    comment: 'of a rollback: whether money was paid back; null while that is not known',
  })
  applied!: boolean | null;

  @Column('boolean', {
    default: false,
    comment: 'the RGS asked to wait for the outcome, so a repeat of its request answers with it',
  })
  waited!: boolean;

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'settled_at', nullable: true })
  settledAt!: Date | null;

  @Column('bigint', {
    nullable: true,
    comment:
      'first 8 bytes of the X-Signature that it came with: the same one is no good for a movement of the other kind',
  })
  signature!: string | null;

  @Column('timestamptz', {
    name: 'deadline_at',
    nullable: true,
    comment: 'from here on a bet must not be sent any more; frozen when it was accepted, null = never',
  })
  deadlineAt!: Date | null;

  @Column({
    type: 'integer',
    name: 'ref_hash',
    asExpression: 'wallet_hash(ref_id)',
    generatedType: 'STORED',
    comment: 'finds a refId; ref_id says whether it is the one',
  })
  refHash!: number;

  @Column({
    type: 'bigint',
    name: 'business_hash',
    asExpression: 'wallet_business_hash(ref_id, player_id, movement, operator_id)',
    generatedType: 'STORED',
    comment: 'over refId, player, movement and operator',
  })
  businessHash!: string;

  @Column({
    type: 'integer',
    name: 'round_hash',
    nullable: true,
    asExpression: 'wallet_hash(round_id)',
    generatedType: 'STORED',
  })
  roundHash!: number | null;
}
