import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A list that heeds the window can be read in parts of it, at once. The run says into how many: whoever resumes it must cut it in the same way. */
export class ListShards1796000000010 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table recon.run add column list_shards smallint not null default 1 constraint run_list_shards check (list_shards between 1 and 8);
      comment on column recon.run.list_shards is 'parts of the window in which the lists are read at once; the result does not depend on it';
      alter table recon.source_progress add column shard smallint not null default 0;
      alter table recon.source_progress drop constraint source_progress_pkey;
      alter table recon.source_progress add constraint source_progress_pkey primary key (run_id, source, shard);
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- Half of a list is none: runs that read in parts begin anew.
      delete from recon.source_progress p using recon.run r where r.id = p.run_id and r.list_shards > 1;
      alter table recon.source_progress drop constraint source_progress_pkey;
      alter table recon.source_progress drop column shard;
      alter table recon.source_progress add constraint source_progress_pkey primary key (run_id, source);
      alter table recon.run drop column list_shards;
    `);
  }
}
