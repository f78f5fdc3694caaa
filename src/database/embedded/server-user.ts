import * as fs from 'node:fs';
import * as os from 'node:os';
import type { Home } from './home';
import { OR_SET_URL } from './options';
import { type Identity, run } from './processes';

/** How to start a program so that Postgres accepts its user; it refuses to run as root. */
export interface Runner {
  command(program: string, args: readonly string[]): [string, string[]];
  identity: Identity;
}

const IN_USER_NAMESPACE = ['--user', '--map-user=65534', '--map-group=65534'];

/**
 * As root, a user namespace that shows root as nobody comes first: it needs no chown and works below a closed home
 * directory. unshare replaces itself by the program (no --fork), so the process id and its signals are the server's
 * own. Where namespaces are not allowed, the server gets the user postgres or nobody, and the cluster is given to that
 * user.
 */
export async function chooseRunner(home: Home): Promise<Runner> {
  const uid = process.getuid?.();
  const owner = fs.statSync(home.cluster, { throwIfNoEntry: false })?.uid;
  if (uid !== 0 && owner !== undefined && uid !== undefined && owner !== uid) {
    throw new Error(
      `${home.cluster} belongs to the user id ${owner}, and this process runs as ${uid}. ` +
        `Start as that user, give the directory to this one (chown -R), or choose another DATA_DIR. ${OR_SET_URL}`,
    );
  }
  const plain: Runner = { command: (program, args) => [program, [...args]], identity: {} };
  if (uid !== 0 && hasPasswdEntry()) return plain;

  // A cluster that another user made stays with that user; root may become anybody.
  const users = readPasswd();
  if (uid === 0 && owner !== undefined && owner !== 0) {
    const user = users.find((entry) => entry.uid === owner);
    if (user) return { ...plain, identity: { uid: user.uid, gid: user.gid } };
    throw new Error(
      `${home.cluster} belongs to the user id ${owner}, which has no name on this machine, ` +
        'and Postgres refuses to run without one. ' +
        `Give the directory to root or to a named user (chown -R), or choose another DATA_DIR. ${OR_SET_URL}`,
    );
  }
  if (process.platform === 'linux' && (await run('unshare', [...IN_USER_NAMESPACE, 'true'])).code === 0) {
    return { command: (program, args) => ['unshare', [...IN_USER_NAMESPACE, program, ...args]], identity: {} };
  }
  const user = users.find((entry) => entry.name === 'postgres') ?? users.find((entry) => entry.name === 'nobody');
  if (uid === 0 && user) return { ...plain, identity: { uid: user.uid, gid: user.gid } };
  throw new Error(
    'Postgres refuses to run as root or as a user without a name, ' +
      'and neither a user namespace nor a user postgres or nobody is available here. ' +
      `Start the hub as an ordinary user. ${OR_SET_URL}`,
  );
}

function hasPasswdEntry(): boolean {
  try {
    os.userInfo();
    return true;
  } catch {
    return false;
  }
}

function readPasswd(): { name: string; uid: number; gid: number }[] {
  if (!fs.existsSync('/etc/passwd')) return [];
  return fs
    .readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 4)
    .map((fields) => ({ name: fields[0] ?? '', uid: Number(fields[2]), gid: Number(fields[3]) }));
}
