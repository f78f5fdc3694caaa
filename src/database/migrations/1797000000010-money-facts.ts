import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Two facts that were worked out from other things, and wrongly: until when something that left may still be booked, and when a bet must not be
 * sent any more. See docs/decisions/0101. What left under the release before gets a minute and its time-out, which is longer than that release waited.
 */
export class MoneyFacts1797000000010 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table outbox_head add column first_sent_at timestamptz, add column may_land_until timestamptz;
      comment on column outbox_head.first_sent_at is 'when it may first have left; null = it never did';
      comment on column outbox_head.may_land_until is 'until when a call whose answer was lost may still be booked; null = nothing was lost';
      update outbox_head h set first_sent_at = now(), may_land_until = now() + interval '1 minute' + p.timeout_ms * interval '1 millisecond'
      from partner p where p.id = h.destination_id and p.role = 'operator' and (h.claims > 0 or h.leased);

      alter table outbox_dead add column first_sent_at timestamptz, add column may_land_until timestamptz;
      update outbox_dead set first_sent_at = at, may_land_until = at + interval '1 minute';

      alter table wallet_transaction add column deadline_at timestamptz;
      comment on column wallet_transaction.deadline_at is 'from here on a bet must not be sent any more; frozen when it was accepted, null = never';
      update wallet_transaction t set deadline_at = m.expires_at
      from outbox_message m
      where t.message_id = m.id and t.movement = 'debit' and m.expires_at is not null and t.state in ('initiated', 'unknown', 'parked')
        and m.id in (select message_id from outbox_head union all select w.message_id from wallet_parked p join wallet_transaction w on w.id = p.transaction_id
          union all select q.id from outbox_lane l join outbox_message q on q.destination_id = l.destination_id and q.lane_key = l.lane_key and q.lane_seq > l.head_seq where l.last_seq > l.head_seq);
      -- Each length of deadline has its own cursor from now on.
      insert into wallet_cursor (name, at)
      select distinct 'deadline:' || round(extract(epoch from deadline_at - created_at)), (select at from wallet_cursor where name = 'deadline')
      from wallet_transaction where deadline_at is not null and exists (select 1 from wallet_cursor where name = 'deadline');

      alter table partner add column refusal_is_final boolean not null default false;
      comment on column partner.refusal_is_final is 'the operator keeps refusals with the reference: a refused repeat speaks for every call before it';
      comment on column wallet_transaction.absent_at is 'when the first question began to which the operator said that it does not know the bet';
      comment on column wallet_transaction.proven_absent is 'not used any more; stays for one release, since processes of the build before write it';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      delete from wallet_cursor where name like 'deadline:%';
      comment on column wallet_transaction.proven_absent is 'the operator said so twice, so one more send is safe; taken back before that send';
      comment on column wallet_transaction.absent_at is 'when the operator first said that it does not know the bet; a second time proves it';
      alter table partner drop column refusal_is_final;
      alter table wallet_transaction drop column deadline_at;
      alter table outbox_dead drop column first_sent_at, drop column may_land_until;
      alter table outbox_head drop column first_sent_at, drop column may_land_until;
    `);
  }
}
