import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What operators tell us, kept as received: evidence, deduplication, and another chance for a callback that came too early. */
export class CreateInboundCallbacks1795000000004 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table inbound_callback (
        id bigint generated always as identity constraint inbound_callback_pkey primary key,
        operator_id integer not null,
        body_sha256 bytea not null,
        body text not null,
        ref_id text not null,
        correlation_id text not null,
        verdict text not null,
        transaction_id uuid,
        seen integer not null default 1,
        first_at timestamptz not null default now(),
        last_at timestamptz not null default now(),
        constraint inbound_callback_body_key unique (operator_id, body_sha256),
        constraint inbound_callback_verdict check (verdict in ('applied', 'repeated', 'contradicted', 'mismatched', 'undecided', 'unmatched'))
      );
      create index inbound_callback_unmatched on inbound_callback (id) where verdict = 'unmatched';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table inbound_callback');
  }
}
