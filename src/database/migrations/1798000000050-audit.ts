import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Who did what to the hub by hand. Entries are appended by a function of the owner (audit_append), and a trigger that
 * stands with its function refuses every change: not even the owner changes or removes an entry by accident.
 */
const AUDIT = `
  create table audit_entry (
    id bigint not null constraint audit_entry_pkey primary key,
    at timestamptz not null,
    actor text not null,
    action text not null,
    target text not null,
    before json,
    after json,
    request_id text,
    previous_hash text not null,
    hash text not null constraint audit_entry_hash_key unique
  );
  comment on column audit_entry.id is 'place in the chain: 1, 2, 3, … without gaps';
  comment on column audit_entry.hash
    is 'SHA-256 over previous_hash and every column of the entry; see audit/audit-chain.ts';

  create table audit_head (
    only_row boolean not null default true constraint audit_head_pkey primary key,
    entries bigint not null,
    hash text not null,
    constraint audit_head_only_row check (only_row)
  );
  comment on table audit_head
    is 'how long the chain is and where it ends, so that entries cut off its end are missed';
  insert into audit_head (entries, hash) values (0, repeat('0', 64));
`;

export class Audit1798000000050 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(AUDIT);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table audit_head, audit_entry');
  }
}
