import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Who did what to the hub by hand. Append-only by trigger: not even the hub's own role can change or remove a line by accident. */
export class CreateAudit1795000000005 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
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
      create table audit_head (
        only_row boolean not null default true constraint audit_head_pkey primary key,
        entries bigint not null,
        hash text not null,
        constraint audit_head_only_row check (only_row)
      );
      insert into audit_head (entries, hash) values (0, repeat('0', 64));
      comment on column audit_entry.id is 'place in the chain: 1, 2, 3, … without gaps';
      comment on column audit_entry.hash is 'SHA-256 over previous_hash and every column of the entry; see admin/audit-chain.ts';
      comment on table audit_head is 'how long the chain is and where it ends, so that entries cut off its end are missed';
      create function audit_entry_is_append_only() returns trigger language plpgsql as $$
      begin
        raise exception 'audit_entry is append-only';
      end $$;
      create trigger audit_entry_append_only before update or delete or truncate on audit_entry
        for each statement execute function audit_entry_is_append_only();
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table audit_head; drop table audit_entry; drop function audit_entry_is_append_only');
  }
}
