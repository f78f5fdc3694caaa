import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { QueryRunner } from 'typeorm';

const FOLDER = path.join(__dirname, 'functions');
const MIGRATIONS = path.join(__dirname, 'migrations');
/** Its views read those of the other owners. */
const LAST_OWNER = 'recon';

export interface FunctionFile {
  readonly kind: 'function' | 'view';
  /** With its schema, unless that is the main one. */
  readonly name: string;
  readonly file: string;
  readonly sql: string;
}

/**
 * SQL functions are in files of their own, src/database/functions/<owner>/<name>.sql, each with the triggers and rights
 * that go with it, and views in <name>.view.sql. So a function is found by its name, and a change is a diff of a few
 * lines. Functions whose values are stored are with their tables instead. In the order in which they can be made: a
 * view may call any function, and a view of reconciliation may read any other view.
 */
export function functionFiles(): FunctionFile[] {
  const files = readdirSync(FOLDER)
    .sort((a, b) => Number(a === LAST_OWNER) - Number(b === LAST_OWNER) || (a < b ? -1 : 1))
    .flatMap((owner) =>
      readdirSync(path.join(FOLDER, owner))
        .sort()
        .map((file): FunctionFile => {
          const [name = '', kind] = file.split('.');
          return {
            kind: kind === 'view' ? 'view' : 'function',
            name: `${owner === 'recon' ? 'recon.' : ''}${name}`,
            file: path.join(FOLDER, owner, file),
            sql: readFileSync(path.join(FOLDER, owner, file), 'utf8'),
          };
        }),
    );
  return [...files.filter(({ kind }) => kind === 'function'), ...files.filter(({ kind }) => kind === 'view')];
}

/**
 * For the migration of each release that writes the functions, whose file name ends in "-functions". Only the last one
 * of the build does: the files are those of this build, and at an older release's place the tables are not there yet
 * that they may speak of.
 */
export async function writeFunctions(runner: QueryRunner, migration: string): Promise<void> {
  const last = readdirSync(MIGRATIONS)
    .filter((file) => /-functions\.[jt]s$/.test(file))
    .sort()
    .at(-1);
  if (path.basename(migration) !== last) return;
  for (const { kind, name, sql } of functionFiles()) {
    await runner.query(sql);
    await runner.query(`comment on ${kind} ${name} is '${contractOf(sql).replaceAll("'", "''")}'`);
  }
}

/** The comment above the statement, for readers of the database (\df+) or schema.sql. */
function contractOf(sql: string): string {
  const lines = sql.split('\n');
  const end = lines.findIndex((line) => !line.startsWith('-- '));
  if (end <= 0) throw new Error(`a function needs a comment above it that says what it does: ${lines[0]}`);
  return lines
    .slice(0, end)
    .map((line) => line.slice(3))
    .join('\n');
}

/** With their triggers, and the views that call them. */
export async function dropFunctions(runner: QueryRunner): Promise<void> {
  for (const { kind, name } of functionFiles().reverse()) await runner.query(`drop ${kind} if exists ${name} cascade`);
}
