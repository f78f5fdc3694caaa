import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** One thing that a person did by hand. A trigger keeps the table append-only. */
@Entity('audit_entry')
export class AuditEntryEntity {
  @PrimaryGeneratedColumn('identity', { generatedIdentity: 'ALWAYS', primaryKeyConstraintName: 'audit_entry_pkey', type: 'bigint' })
  id!: string;

  @Column('timestamptz', { default: () => 'clock_timestamp()' })
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
}
