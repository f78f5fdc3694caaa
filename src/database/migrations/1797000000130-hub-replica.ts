import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Who lives. Unlogged: the rows say something about this second only, and beating costs no flush and waits for no standby. */
export class HubReplica1797000000130 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create unlogged table hub_replica (
        id text primary key,
        role text not null,
        at timestamptz not null
      ) with (fillfactor = 50);
      comment on table hub_replica is 'Processes of this hub; each writes "at" once a second';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table hub_replica');
  }
}
