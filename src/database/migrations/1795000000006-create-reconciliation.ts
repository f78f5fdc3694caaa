import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Where a reconciliation lays both lists side by side. Unlogged: it holds nothing that cannot be fetched again, and a crash that
 * empties it fails the run in hand, never a finished file.
 */
export class CreateReconciliation1795000000006 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
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

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table reconciliation_row');
  }
}
