import type { MigrationInterface, QueryRunner } from 'typeorm';

/** One more fact about an operator: whether a lost answer may have been "accepted", so that the money may be booked as late as its callback may come. */
export class AnswersLater1797000000172 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table partner add column answers_later boolean not null default false;
      comment on column partner.answers_later is 'it may accept a call and book it later, until the callback time-out: a call whose answer was lost may be booked until then';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('alter table partner drop column answers_later');
  }
}
