import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Who shares a destination: the game servers at an operator, the operators at a game server. A claim looks at the due heads of each by itself. */
export class FairShares1797000000170 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- Storage: its values stand in heads. Twice the id of the partner for whom the message goes, plus one for a bet, which has a deadline.
      create function outbox_share_of(p_destination_id integer, p_operator_id integer, p_rgs_id integer, p_event_type text) returns integer language sql immutable as $$
        select 2 * case when p_destination_id = p_operator_id then p_rgs_id else p_operator_id end + (p_destination_id = p_operator_id and p_event_type = 'debit')::integer
      $$;

      create table outbox_share (
        destination_id integer not null,
        share integer not null,
        constraint outbox_share_pkey primary key (destination_id, share)
      );
      comment on table outbox_share is 'the shares that a destination has ever had messages of: where a claim looks';

      alter table outbox_head add column share integer not null default 0;
      comment on column outbox_head.share is 'see outbox_share_of; 0: written by the release before';
      update outbox_head h set share = outbox_share_of(m.destination_id, m.operator_id, m.rgs_id, m.event_type) from outbox_message m where m.id = h.message_id;
      drop index outbox_head_ready;
      create index outbox_head_ready on outbox_head (destination_id, share, visible_at);

      -- More than has been used, but nothing that waits behind a head is left out. 0 is for replays by processes of the release before.
      insert into outbox_share (destination_id, share)
      select d.id, 2 * p.id + kind.n from outbox_destination d join partner p on p.role <> d.queue cross join (values (0), (1)) kind (n) where d.queue = 'operator' or kind.n = 0
      union select id, 0 from outbox_destination;

      alter table outbox_destination add column sharer_ids integer[] not null default '{}', add column sharer_tokens double precision[] not null default '{}',
        add column sharers_at timestamptz not null default clock_timestamp();
      comment on column outbox_destination.sharer_tokens is 'permits that each of sharer_ids had of its own at sharers_at; see docs/decisions/0097';
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table outbox_destination drop column sharer_ids, drop column sharer_tokens, drop column sharers_at;
      drop index outbox_head_ready;
      create index outbox_head_ready on outbox_head (destination_id, visible_at);
      alter table outbox_head drop column share;
      drop table outbox_share;
      drop function outbox_share_of;
    `);
  }
}
