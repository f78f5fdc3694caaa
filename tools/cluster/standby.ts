import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';

/**
 * The binaries come without pg_basebackup. The files of a server that was stopped in good order are a base backup as
 * they are.
 */
export function copyOfStopped(dataDir: string, copy: string): void {
  fs.mkdirSync(copy, { recursive: true });
  // With owners and modes, about which Postgres is strict.
  execFileSync('cp', ['-a', path.join(dataDir, 'postgres'), copy]);
  // The password, which a standby has from its primary.
  fs.copyFileSync(path.join(dataDir, 'postgres.json'), path.join(copy, 'postgres.json'));
}

/**
 * Makes a copy follow the server that stands at `port`. In its own file and not on the command line, so that a later
 * copy can say otherwise.
 */
export function standbyOf(copy: string, primary: EmbeddedPostgres, port: number, applicationName: string): void {
  const cluster = path.join(copy, 'postgres');
  const { username, password } = new URL(primary.superuserUrl);
  const own = fs.statSync(cluster);
  const write = (file: string, text: string): void => {
    fs.writeFileSync(path.join(cluster, file), text);
    fs.chownSync(path.join(cluster, file), own.uid, own.gid);
  };
  write('standby.signal', '');
  write(
    'postgresql.auto.conf',
    `primary_conninfo = 'host=127.0.0.1 port=${port} user=${username}${password === '' ? '' : ` password=${password}`} application_name=${applicationName}'\n`,
  );
}
