import { Check, Column, Entity, Index, PrimaryColumn, Unique } from 'typeorm';
import type { Movement } from '../partners/operator-wire';
import type { TransactionState } from './transaction-state';

/** One movement of money. Written and changed by wallet.store.ts only; this class is the schema's description and the drift check. */
@Entity('wallet_transaction')
@Unique('wallet_transaction_business_key', ['rgsId', 'refId', 'playerId', 'movement', 'operatorId'])
@Index('wallet_transaction_player', ['rgsId', 'playerId', 'id'])
@Index('wallet_transaction_round', ['rgsId', 'roundId', 'id'], { where: 'round_id is not null' })
@Check('wallet_transaction_movement', `movement in ('debit', 'credit')`)
@Check('wallet_transaction_kind', `kind in ('regular', 'free', 'promo', 'jackpot')`)
@Check('wallet_transaction_amount', `amount_minor >= 0 and amount_minor <= 9007199254740991 and (movement <> 'debit' or amount_minor > 0)`)
@Check('wallet_transaction_state', `state in ('initiated', 'confirmed', 'rejected', 'unknown', 'compensating', 'compensated', 'parked', 'rolling_back', 'rolled_back')`)
@Check('wallet_transaction_settled_at', `(settled_at is not null) = (state in ('confirmed', 'rejected', 'compensated', 'rolling_back', 'rolled_back'))`)
export class WalletTransactionEntity {
  /** Also the correlation id that both partners see. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'wallet_transaction_pkey' })
  id!: string;

  @Column('integer', { name: 'operator_id' })
  operatorId!: number;

  @Column('integer', { name: 'rgs_id' })
  rgsId!: number;

  @Column('text')
  movement!: Movement;

  @Column('text', { name: 'player_id' })
  playerId!: string;

  @Column('text', { name: 'external_player_id' })
  externalPlayerId!: string;

  @Column('text', { name: 'ref_id' })
  refId!: string;

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

  @Column('uuid', { name: 'message_id' })
  messageId!: string;

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'settled_at', nullable: true })
  settledAt!: Date | null;
}
