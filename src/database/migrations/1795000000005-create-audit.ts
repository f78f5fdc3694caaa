import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Who did what to the hub by hand. Append-only by trigger: not even the hub's own role can change or remove a line by accident. */
export class CreateAudit1795000000005 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table audit_entry (
        id bigint generated always as identity constraint audit_entry_pkey primary key,
        at timestamptz not null default clock_timestamp(),
        actor text not null,
        action text not null,
        target text not null,
        before json,
        after json,
        request_id text
      );
      create function audit_entry_is_append_only() returns trigger language plpgsql as $$
      begin
        raise exception 'audit_entry is append-only';
      end $$;
      create trigger audit_entry_append_only before update or delete or truncate on audit_entry
        for each statement execute function audit_entry_is_append_only();
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table audit_entry; drop function audit_entry_is_append_only');
  }
}
