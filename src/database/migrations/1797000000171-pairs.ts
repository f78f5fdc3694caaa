import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Pairs of partners as rows, the operator's own name for a movement, and links of players that no longer change under money. */
export class Pairs1797000000171 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table partner_pair (
        operator_id integer not null,
        rgs_id integer not null,
        reference_scope text not null default 'operator',
        status text not null default 'active',
        created_at timestamptz not null default now(),
        constraint partner_pair_pkey primary key (operator_id, rgs_id),
        constraint partner_pair_operator_fkey foreign key (operator_id) references partner (id),
        constraint partner_pair_rgs_fkey foreign key (rgs_id) references partner (id),
        constraint partner_pair_reference_scope check (reference_scope in ('player', 'operator')),
        constraint partner_pair_status check (status in ('active', 'suspended', 'closed'))
      );
      comment on column partner_pair.reference_scope is 'player: the operator keys its books by player and reference, and gets the RGS''s refId; operator: by reference alone, and gets one that the hub makes';
      -- Movements keep the name that they were sent under, so pairs that moved money before may change to the safe one.
      insert into partner_pair (operator_id, rgs_id, reference_scope)
      select distinct c.operator_id, c.partner_id, case when o.code = 'operator' and r.code = 'rgs' then 'player' else 'operator' end
      from partner_credential c join partner o on o.id = c.operator_id join partner r on r.id = c.partner_id;

      alter table wallet_transaction add column external_ref text;
      comment on column wallet_transaction.external_ref is 'what the operator knows it by, where that is not ref_id';
      create unique index wallet_transaction_external_ref on wallet_transaction (operator_id, movement, external_ref) where external_ref is not null;

      create function player_link_is_settled() returns trigger language plpgsql as $$
      declare
        v_link player_link := coalesce(new, old);
      begin
        if exists (
          select 1 from wallet_transaction t
          where t.rgs_id = v_link.rgs_id and t.player_id = v_link.player_id and t.operator_id = v_link.operator_id
            and (tg_op = 'DELETE' or t.external_player_id <> new.external_player_id)
        ) or (tg_op = 'UPDATE' and (old.operator_id, old.rgs_id, old.player_id) is distinct from (new.operator_id, new.rgs_id, new.player_id) and exists (
          select 1 from wallet_transaction t where t.rgs_id = old.rgs_id and t.player_id = old.player_id and t.operator_id = old.operator_id
        )) then
          raise exception 'player % of rgs % has moved money at operator % under another name: a link does not change once it is used', v_link.player_id, v_link.rgs_id, v_link.operator_id
            using errcode = 'integrity_constraint_violation', constraint = 'player_link_is_settled';
        end if;
        return coalesce(new, old);
      end $$;
      create trigger player_link_is_settled before insert or update or delete on player_link for each row execute function player_link_is_settled();
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop trigger player_link_is_settled on player_link;
      drop function player_link_is_settled;
      drop index wallet_transaction_external_ref;
      alter table wallet_transaction drop column external_ref;
      drop table partner_pair;
    `);
  }
}
