import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Attempts do not tell a call whose answer was lost from a process that ended; a message that ends processes is known by this count. */
export class LostLeases1797000000110 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table outbox_head add column lost_leases integer not null default 0;
      comment on column outbox_head.lost_leases is 'leases that ended without a word since the message became a head or was replayed: its process died or lost touch';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('alter table outbox_head drop column lost_leases');
  }
}
