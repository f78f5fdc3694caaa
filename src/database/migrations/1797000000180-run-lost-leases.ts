import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A partner's list that kills the process which reads it would kill every process that resumes the run. */
export class RunLostLeases1797000000180 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table recon.run add column lost_leases integer not null default 0, add column lost_at text;
      comment on column recon.run.lost_leases is 'leases in a row that expired at the same progress: the process died or lost touch';
      comment on column recon.run.lost_at is 'the progress at which the last lease expired: state, buckets, pages';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('alter table recon.run drop column lost_leases, drop column lost_at');
  }
}
