import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The first reconciliation's staging table; runs have tables of their own. */
export class DropReconciliationRow1795000000012 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('drop table reconciliation_row');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create unlogged table reconciliation_row (
        run_id uuid not null,
        side text not null,
        correlation_id text collate "C" not null,
        ref_id text not null,
        direction text not null,
        amount text not null,
        constraint reconciliation_row_pkey primary key (run_id, side, correlation_id),
        constraint reconciliation_row_side check (side in ('rgs', 'operator'))
      )
    `);
  }
}
