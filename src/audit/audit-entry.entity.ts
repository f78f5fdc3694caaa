import { Column, Entity, PrimaryColumn, Unique } from 'typeorm';

/** One thing that a person did by hand. A trigger keeps the table append-only. */
@Entity('audit_entry')
@Unique('audit_entry_hash_key', ['hash'])
export class AuditEntryEntity {
  @PrimaryColumn('bigint', {
    primaryKeyConstraintName: 'audit_entry_pkey',
    comment: 'place in the chain: 1, 2, 3, … without gaps',
  })
  id!: string;

  @Column('timestamptz')
  at!: Date;

  @Column('text')
  actor!: string;

  @Column('text')
  action!: string;

  @Column('text')
  target!: string;

  @Column('json', { nullable: true })
  before!: unknown;

  @Column('json', { nullable: true })
  after!: unknown;

  @Column('text', { name: 'request_id', nullable: true })
  requestId!: string | null;

  @Column('text', { name: 'previous_hash' })
  previousHash!: string;

  @Column('text', { comment: 'SHA-256 over previous_hash and every column of the entry; see audit/audit-chain.ts' })
  hash!: string;
}
