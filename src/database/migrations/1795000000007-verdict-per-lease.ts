import type { MigrationInterface, QueryRunner } from 'typeorm';

const lock = (result: string, lease: string, held: string, answer: string): string => `
  create function outbox_lock(p_ids uuid[], p_tokens bigint[]) returns table (${result}, verdict text) language plpgsql set enable_seqscan = off as $$
  #variable_conflict use_column
  declare
    v_free uuid[];
  begin
    with mine as materialized (
      select h.message_id, h.destination_id, h.lane_key
      from unnest(p_ids, p_tokens) x (id, token) join outbox_head h on h.message_id = x.id and h.token = x.token
    ), locked as materialized (
      select l.destination_id, l.lane_key from outbox_lane l join mine on mine.destination_id = l.destination_id and mine.lane_key = l.lane_key
      order by l.destination_id, l.lane_key for no key update of l skip locked
    )
    select array_agg(mine.message_id) into v_free
    from mine left join locked on locked.destination_id = mine.destination_id and locked.lane_key = mine.lane_key
    where mine.lane_key is null or locked.lane_key is not null;

    return query
    with held as materialized (
      select h.message_id, h.token from unnest(p_ids, p_tokens) x (id, token)
      join outbox_head h on h.message_id = x.id and h.token = x.token
      where x.id = any (v_free) order by h.message_id for update of h
    )
    select ${answer}, case when held.message_id is not null then 'ok' when still.message_id is not null then 'busy' else 'stale' end
    from unnest(p_ids, p_tokens) ${lease}
    left join held on held.message_id = x.id${held}
    left join outbox_head still on still.message_id = x.id and still.token = x.token;
  end $$;`;

/**
 * outbox_lock judges each lease, not each message. A process that was cut off from the database for longer than a lease claims its message
 * again, and then both answers, the lost lease's and the present one's, can stand in one batch: the old verdict was one for both, so a late
 * answer counted as if its lease were still ours.
 */
export class VerdictPerLease1795000000007 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop function outbox_lock;
      ${lock('place integer', 'with ordinality x (id, token, place)', ' and held.token = x.token', 'x.place::integer - 1')}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop function outbox_lock;
      ${lock('id uuid', 'x (id, token)', '', 'x.id')}`);
  }
}
