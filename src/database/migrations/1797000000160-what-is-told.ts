import type { MigrationInterface, QueryRunner } from 'typeorm';

const ENDS = `'confirmed', 'rejected', 'compensated', 'rolled_back'`;

/**
 * What a partner is told, stored once: the hub's own code for a refusal beside the operator's word, and the warnings of the first answer, so
 * that a repeat says the same. A free bet takes no money: it may be of nothing, and no message to the operator goes with it.
 * `settled_at` says when a movement came to its end, and a bet that is being paid back has not; processes of the build before still write it
 * there, so for one release the constraint leaves that state alone.
 */
export class WhatIsTold1797000000160 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table wallet_transaction add column reason_code text, add column warnings text[];
      alter table wallet_transaction
        drop constraint wallet_transaction_amount,
        drop constraint wallet_transaction_message,
        drop constraint wallet_transaction_settled_at,
        add constraint wallet_transaction_amount check (amount_minor >= 0 and amount_minor <= 9007199254740991 and (movement <> 'debit' or amount_minor > 0 or tombstone or kind in ('free', 'promo'))),
        add constraint wallet_transaction_message check (message_id is not null or tombstone or movement = 'rollback' or (movement = 'debit' and kind in ('free', 'promo'))),
        add constraint wallet_transaction_settled_at check (state = 'rolling_back' or (settled_at is not null) = (state in (${ENDS})));
      comment on column wallet_transaction.reason_code is 'the hub''s own word for why it was refused, whatever the operator calls it';
      comment on column wallet_transaction.warnings is 'what the first answer warned of, so that a repeat says the same';
      -- Bets that are being paid back have a repayment, and the index of repayments finds them.
      update wallet_transaction set settled_at = null where undo_message_id is not null and state = 'rolling_back';
    `);
  }

  /** Fails while free bets of the newer build are stored: the older one would take them for bets whose message is lost. */
  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      update wallet_transaction set settled_at = clock_timestamp() where undo_message_id is not null and state = 'rolling_back' and settled_at is null;
      alter table wallet_transaction
        drop constraint wallet_transaction_amount,
        drop constraint wallet_transaction_message,
        drop constraint wallet_transaction_settled_at,
        add constraint wallet_transaction_amount check (amount_minor >= 0 and amount_minor <= 9007199254740991 and (movement <> 'debit' or amount_minor > 0 or tombstone)),
        add constraint wallet_transaction_message check (message_id is not null or tombstone or movement = 'rollback'),
        add constraint wallet_transaction_settled_at check ((settled_at is not null) = (state in ('confirmed', 'rejected', 'compensated', 'rolling_back', 'rolled_back'))),
        drop column warnings,
        drop column reason_code;
    `);
  }
}
