import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Why a destination gets nothing, and since when, beside its breaker; written with the report of a failure, so the happy path writes nothing more.
 * The last error of a message stands in its attempts; a replay only says from when on they count.
 */
export class WhyNothingIsSent1797000000100 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table outbox_destination add column last_error text, add column last_error_at timestamptz;
      comment on column outbox_destination.last_error is 'what the last failed call met; kept when the destination is well again';
      alter table outbox_head add column replayed_at timestamptz;
      comment on column outbox_head.replayed_at is 'when a person last sent it again; errors before that are not shown';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table outbox_head drop column replayed_at;
      alter table outbox_destination drop column last_error_at, drop column last_error;
    `);
  }
}
