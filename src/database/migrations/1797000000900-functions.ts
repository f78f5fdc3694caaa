import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { MigrationInterface, QueryRunner } from 'typeorm';

const FOLDER = path.join(__dirname, '..', 'functions');
/** The functions as the release before left them. */
const FORMER = path.join(__dirname, '1796000000020-functions.sql');

/**
 * Writes every SQL function anew, from its own file: src/database/functions/<owner>/<name>.sql. A release has one such migration and it comes
 * last, so a function stands in one place and shows its changes as a diff. Functions that generated columns use are storage and stay with their
 * tables. A changed signature is a new name for one release, since processes of the build before go on calling the old one.
 */
export class Functions1797000000900 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const { sql } of functionFiles()) await runner.query(sql);
  }

  async down(runner: QueryRunner): Promise<void> {
    const former = readFileSync(FORMER, 'utf8');
    for (const { name } of functionFiles())
      if (!former.includes(`function ${name}(`)) await runner.query(`drop function if exists ${name}`);
    await runner.query(former);
  }
}

/** Name with its schema unless that is the main one, and the statement that makes it. */
function functionFiles(): { name: string; sql: string }[] {
  return readdirSync(FOLDER)
    .sort()
    .flatMap((owner) =>
      readdirSync(path.join(FOLDER, owner))
        .sort()
        .map((file) => ({
          name: `${owner === 'recon' ? 'recon.' : ''}${path.basename(file, '.sql')}`,
          sql: readFileSync(path.join(FOLDER, owner, file), 'utf8'),
        })),
    );
}
