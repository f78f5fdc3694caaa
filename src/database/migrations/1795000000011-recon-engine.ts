import type { MigrationInterface, QueryRunner } from 'typeorm';

const SLOTS = [0, 1];

/** What the engine computes in the database: keys and packed attributes of the hub's own rows, and the totals of what matched. */
export class ReconEngine1795000000011 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- The key of a bet's repayment: both have the correlation id of the bet, and each is a booking of its own. See undoKey in engine/stage-lines.ts.
      create function recon.undo_key(p_key uuid) returns uuid language sql immutable strict parallel safe as $$
        select encode(set_byte(set_byte(h, 6, (get_byte(h, 6) & 15) | 128), 8, (get_byte(h, 8) & 63) | 128), 'hex')::uuid
        from substring(sha256('undo'::bytea || uuid_send(p_key)) from 1 for 16) as h
      $$;

      -- The same break has the same id in every database and whatever came before it, so a report that names it can be made again.
      create function recon.exception_id(p_key uuid, p_class text) returns uuid language sql immutable strict parallel safe as $$
        select encode(set_byte(set_byte(h, 6, (get_byte(h, 6) & 15) | 128), 8, (get_byte(h, 8) & 63) | 128), 'hex')::uuid
        from substring(sha256(uuid_send(p_key) || convert_to(p_class, 'UTF8')) from 1 for 16) as h
      $$;

      -- Letters as digits to the base 32; 0 for what is no code of 1 to 8 capital letters. See packCurrency in engine/stage-lines.ts.
      create function recon.pack_currency(p_currency text) returns bigint language plpgsql immutable strict parallel safe as $$
      declare
        v_packed bigint := 0;
      begin
        if p_currency !~ '^[A-Z]{1,8}$' then return 0; end if;
        for place in 1 .. length(p_currency) loop
          v_packed := v_packed * 32 + ascii(substr(p_currency, place, 1)) - 64;
        end loop;
        return v_packed;
      end $$;

      alter table recon.source_progress drop constraint source_progress_source;
      alter table recon.source_progress add constraint source_progress_source check (source in (1, 2, 4));
      comment on column recon.source_progress.source is '1 RGS, 2 operator, 4 hub';
      comment on column recon.source_progress.totals is 'packed attributes to count and sum in minor units, added up before staging: what the seal is checked against';
      alter table recon.run drop column hub_staged;
      alter table recon.run add column legacy_sha256 bytea;
      comment on column recon.run.legacy_sha256 is 'of the six-column file, for runs of kind legacy; csv_sha256 is of the report';
    `);
    for (const slot of SLOTS)
      await runner.query(`
        drop table recon.matched_${slot};
        create unlogged table recon.matched_${slot} (owned boolean not null, business_date date, attrs bigint not null, mask smallint not null, n bigint not null, sum_minor numeric(38, 0) not null);
        comment on table recon.matched_${slot} is 'keys that need no item, per bucket: alike on all three sides, or refused on every side of mask';
      `);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const slot of SLOTS)
      await runner.query(`
        drop table recon.matched_${slot};
        create unlogged table recon.matched_${slot} (owned boolean not null, business_date date, attrs bigint not null, cur text collate "C" not null, n bigint not null, sum_minor numeric(38, 0) not null);
      `);
    await runner.query(`
      alter table recon.run drop column legacy_sha256;
      alter table recon.run add column hub_staged bigint;
      delete from recon.source_progress where source = 4;
      alter table recon.source_progress drop constraint source_progress_source;
      alter table recon.source_progress add constraint source_progress_source check (source in (1, 2));
      drop function recon.exception_id(uuid, text);
      drop function recon.pack_currency(text);
      drop function recon.undo_key(uuid);
    `);
  }
}
