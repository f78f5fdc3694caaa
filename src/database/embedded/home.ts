import * as fs from 'node:fs';
import * as path from 'node:path';
import { APPLICATION, OR_SET_URL, OWNER } from './options';
import { messageOf, type ProcessName, readIfThere } from './processes';

interface RunRecord {
  /** Null until the first start. */
  port: number | null;
  /** Null after a clean stop. */
  owner: (ProcessName & { address?: string | undefined }) | null;
  /** Of the superuser. Undefined: the record was lost. */
  password?: string | undefined;
  /** Of the two roles, by name. Undefined before the first start, or when the record was lost. */
  rolePasswords?: RolePasswords | undefined;
}

export type RolePasswords = Readonly<Record<typeof OWNER | typeof APPLICATION, string>>;

export class Home {
  readonly cluster: string;
  readonly logFile: string;
  readonly record: string;
  readonly lock: string;

  constructor(readonly directory: string) {
    this.cluster = path.join(directory, 'postgres');
    this.logFile = path.join(directory, 'postgres.log');
    this.record = path.join(directory, 'postgres.json');
    this.lock = path.join(directory, 'postgres.lock');
  }
}

export function openHome(directory: string): Home {
  try {
    fs.mkdirSync(directory, { recursive: true });
    fs.accessSync(directory, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    // Postgres reports its data directory with links resolved; comparing it needs the same form.
    return new Home(fs.realpathSync(directory));
  } catch (error) {
    throw new Error(
      `The data directory ${directory} cannot be used (${messageOf(error)}). ` +
        `Make it writable for this user, or choose another DATA_DIR. ${OR_SET_URL}`,
      {
        cause: error,
      },
    );
  }
}

export function readRecord(home: Home): RunRecord | undefined {
  const text = readIfThere(home.record);
  if (text === undefined) return undefined;
  try {
    const { port, owner, password, rolePasswords } = JSON.parse(text) as Partial<RunRecord>;
    return {
      port: typeof port === 'number' && Number.isInteger(port) ? port : null,
      owner: owner && typeof owner.pid === 'number' ? owner : null,
      ...(typeof password === 'string' && password !== '' ? { password } : {}),
      ...(typeof rolePasswords?.[OWNER] === 'string' && typeof rolePasswords[APPLICATION] === 'string'
        ? { rolePasswords }
        : {}),
    };
  } catch {
    return undefined;
  }
}

export function changeRecord(home: Home, changes: Partial<RunRecord>): void {
  const record: RunRecord = { port: null, owner: null, ...readRecord(home), ...changes };
  const fresh = `${home.record}.${process.pid}`;
  // One that a killed process left would keep its mode.
  fs.rmSync(fresh, { force: true });
  fs.writeFileSync(fresh, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  fs.renameSync(fresh, home.record);
}
