import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which version of the signature a partner must send, and by which signature of version 1, bound to no route, a movement came. */
export class BoundSignatures1797000000140 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table partner add column signature_version_required smallint not null default 1 constraint partner_signature_version check (signature_version_required in (1, 2));
      comment on column partner.signature_version_required is 'least version of the signature that its requests must have';
      -- Null without a default: no row is written anew.
      alter table wallet_transaction add column signature bigint;
      comment on column wallet_transaction.signature is 'first 8 bytes of the X-Signature that it came with: the same one is no good for a movement of the other kind';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table wallet_transaction drop column signature;
      alter table partner drop column signature_version_required;
    `);
  }
}
