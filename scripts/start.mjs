// `npm start`: installs and builds when needed, then runs the hub and both mock partners until Ctrl-C.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';
import { loadEnvFile } from './env-file.mjs';
import { buildIfNeeded, installIfNeeded } from './install.mjs';
import { fail, hubCommand, onOrphaned, pinnedNode, requireNode, root } from './run.mjs';

// The first start also makes the database's files, on whatever disk there is.
const READY_TIMEOUT_MS = 120_000;
// The hub finishes its requests and stops the embedded Postgres.
const HUB_STOP_TIMEOUT_MS = 40_000;
const MOCK_STOP_TIMEOUT_MS = 10_000;
// One Ctrl-C arrives twice: from the terminal, and passed on by npm. Only a later one is a second Ctrl-C.
const SAME_SIGNAL_MS = 500;

requireNode();
const envFile = loadEnvFile();
// For machines: standard output holds the hub's JSON lines and nothing else.
const isJson = process.env.LOG_FORMAT === 'json';
const isPretty = process.env.LOG_FORMAT === 'pretty' || (!isJson && process.stdout.isTTY === true);
const port = {
  hub: readPort('PORT', 8000),
  operator: readPort('OPERATOR_PORT', 8001),
  rgs: readPort('RGS_PORT', 8002),
};
const url = {
  hub: `http://localhost:${port.hub}`,
  operator: `http://localhost:${port.operator}`,
  rgs: `http://localhost:${port.rgs}`,
};

/** The addresses the hub calls: partners of one's own, or the mocks that are started for it. */
const partner = {
  operator: partnerOf('OPERATOR_BASE_URL', `${url.operator}/`, port.operator),
  rgs: partnerOf('RGS_WEBHOOK_URL', `${url.rgs}/webhooks`, port.rgs),
};

const allServices = [
  {
    name: 'hub',
    ...hubCommand(),
    port: port.hub,
    portVariable: 'PORT',
    // Set values win: a hub may be pointed at other partners.
    environment: {
      OPERATOR_BASE_URL: partner.operator.address,
      RGS_WEBHOOK_URL: partner.rgs.address,
      LOG_FORMAT: isPretty ? 'pretty' : 'json',
    },
    isReady: () => answersOk(`http://${probeHost()}:${port.hub}/health/ready`),
    stopTimeoutMs: HUB_STOP_TIMEOUT_MS,
  },
  {
    name: 'operator',
    file: 'dist/mocks/operator/main.js',
    port: port.operator,
    portVariable: 'OPERATOR_PORT',
    environment: { HUB_URL: process.env.HUB_URL || url.hub },
    isReady: () => isListening(port.operator),
    stopTimeoutMs: MOCK_STOP_TIMEOUT_MS,
  },
  {
    name: 'rgs',
    file: 'dist/mocks/rgs/main.js',
    port: port.rgs,
    portVariable: 'RGS_PORT',
    environment: { HUB_URL: process.env.HUB_URL || url.hub },
    isReady: () => isListening(port.rgs),
    stopTimeoutMs: MOCK_STOP_TIMEOUT_MS,
  },
];

/** A mock without calls would only look as if it were in use. */
const services = allServices.filter(({ name }) => partner[name]?.isMock !== false);

/** Name to child process, in the order of starting. */
const children = new Map();
let stopping;
let firstSignalAt;

const hadData = Boolean(process.env.DATABASE_URL) || fs.existsSync(path.join(dataDir(), 'postgres'));
await checkPorts();
await installIfNeeded();
await buildIfNeeded();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => onSignal(signal));
onOrphaned(() => onSignal('npm has ended'));
for (const service of services) start(service);
await untilReady();
if (!stopping) printWelcome();

function partnerOf(variable, mock, mockPort) {
  const address = process.env[variable] || mock;
  if (!URL.canParse(address)) return { variable, address, isMock: false };
  const { protocol, hostname, port: number } = new URL(address);
  return {
    variable,
    address,
    isMock:
      protocol === 'http:' &&
      ['localhost', '127.0.0.1', '[::1]'].includes(hostname) &&
      Number(number || 80) === mockPort,
  };
}

function readPort(name, fallback) {
  const text = process.env[name] || String(fallback);
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 65_535)
    fail(`${name} must be a port from 1 to 65535; it is "${text}".`);
  return number;
}

async function checkPorts() {
  const faults = [];
  for (const [index, service] of services.entries()) {
    const twin = services.slice(0, index).find((other) => other.port === service.port);
    if (twin) {
      faults.push(
        `${twin.portVariable} and ${service.portVariable} are both ${service.port}; each needs a port of its own.`,
      );
      continue;
    }
    const error = await whyNotFree(service.port);
    if (error === 'EACCES')
      faults.push(
        `Port ${service.port} (${service.name}) may not be used by this user. Choose another: ${service.portVariable}=${8000 + index} npm start`,
      );
    else if (error)
      faults.push(
        `Port ${service.port} (${service.name}) is in use. End the program that uses it, or choose another: ${service.portVariable}=${service.port + 1000} npm start`,
      );
  }
  if (faults.length > 0) fail(faults.join('\n'));
}

/** Undefined, or the error's code. Asked for both addresses, since some systems let them have different owners. */
async function whyNotFree(number) {
  for (const host of ['127.0.0.1', undefined]) {
    const code = await new Promise((resolve) => {
      const server = net.createServer();
      server.once('error', (error) => resolve(error.code));
      server.listen({ port: number, host, exclusive: true }, () => server.close(() => resolve(undefined)));
    });
    if (code) return code;
  }
  return undefined;
}

function start(service) {
  const preload = pathToFileURL(path.join(root, 'scripts', 'exit-with-parent.mjs')).href;
  const child = spawn(pinnedNode(), ['--import', preload, ...(service.options ?? []), path.join(root, service.file)], {
    cwd: root,
    env: {
      ...process.env,
      NODE_ENV: process.env.NODE_ENV || 'development',
      PORT: String(service.port),
      ...service.environment,
    },
    // Out of the terminal's process group: Ctrl-C comes here only, and is passed on in the right order.
    detached: true,
    // The fourth is the channel by which exit-with-parent.mjs notices the end of this process.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const width = Math.max(...services.map(({ name }) => name.length));
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ]) {
    const isForMachines = isJson && service.name === 'hub' && from === child.stdout;
    readline.createInterface({ input: from, crlfDelay: Infinity }).on('line', (line) => {
      if (isForMachines) process.stdout.write(`${line}\n`);
      else (isJson ? process.stderr : to).write(`${service.name.padEnd(width)} | ${line}\n`);
    });
  }
  // `close` comes after the last output, `exit` may come before it.
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, reason: error.message }));
    child.once('close', (code, signal) =>
      resolve({ code, signal, reason: signal ? `ended by ${signal}` : `exit code ${code}` }),
    );
  });
  children.set(service.name, { service, child, ended });
  void ended.then(({ reason }) => {
    children.delete(service.name);
    if (stopping) return;
    say(`The ${service.name} ended unexpectedly (${reason}); stopping everything. Its last lines stand above.`);
    void stopAll(1);
  });
}

async function untilReady() {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (const service of services) {
    while (!stopping && !(await service.isReady())) {
      if (Date.now() > deadline) {
        say(`The ${service.name} was not ready within ${READY_TIMEOUT_MS / 1000} seconds; stopping everything.`);
        await stopAll(1);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function answersOk(address) {
  try {
    const answer = await fetch(address, { signal: AbortSignal.timeout(5_000) });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}

/** Where to knock: HOST, unless it is unset or one of the two addresses that mean all of them. */
function probeHost() {
  const host = process.env.HOST;
  if (!host || host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}

function isListening(number) {
  return new Promise((resolve) => {
    const socket = net.connect(number, probeHost().replace(/[[\]]/g, ''));
    socket.setTimeout(1_000, () => socket.destroy());
    socket.once('connect', () => socket.destroy());
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}

function onSignal(signal) {
  const now = Date.now();
  firstSignalAt ??= now;
  if (!stopping) {
    say(`${signal}: stopping the hub, then the mocks. Ctrl-C again ends them at once.`);
    void stopAll(0);
  } else if (now - firstSignalAt > SAME_SIGNAL_MS) {
    say('Ending everything at once. A Postgres that the hub started may still run; the next start takes it over.');
    for (const { child } of children.values()) child.kill('SIGKILL');
    process.exit(1);
  }
}

/** Hub first: it finishes what it has accepted, for which its partners must still answer. */
function stopAll(code) {
  stopping ??= (async () => {
    let exitCode = code;
    for (const { name } of services) {
      if (!(await stop(name))) exitCode = 1;
    }
    process.exit(exitCode);
  })();
  return stopping;
}

/** False when it had to be killed or ended with an error. */
async function stop(name) {
  const entry = children.get(name);
  if (!entry) return true;
  const { service, child, ended } = entry;
  child.kill('SIGTERM');
  let isKilled = false;
  const timer = setTimeout(() => {
    isKilled = true;
    say(`The ${name} did not stop within ${service.stopTimeoutMs / 1000} seconds; ending it.`);
    child.kill('SIGKILL');
  }, service.stopTimeoutMs);
  const { code, signal, reason } = await ended;
  clearTimeout(timer);
  // 143 is how a program says that it ended for SIGTERM.
  if (isKilled || !(code === 0 || code === 143 || signal === 'SIGTERM')) {
    say(`The ${name} did not stop cleanly (${reason}).`);
    return false;
  }
  say(`The ${name} has stopped.`);
  return true;
}

function say(line) {
  (isJson ? process.stderr : process.stdout).write(`\n${line}\n`);
}

function printWelcome() {
  // Secrets of one's own are not printed: the commands take them from the shell, as this process took them.
  const token = process.env.RGS_TOKEN ? '$RGS_TOKEN' : process.env.BEARER_TOKEN ? '$BEARER_TOKEN' : 'change_token';
  const secret = process.env.HMAC_SECRET ? '"$HMAC_SECRET"' : 'change_secret';
  const ownSecrets = [token, secret].filter((value) => value.includes('$'));
  const version = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).version;
  say(`Integration Hub ${version} is ready. Ctrl-C stops everything.

  hub            ${url.hub}
  Swagger UI     ${url.hub}/swagger
  ${partnerLine('operator', partner.operator, url.operator, 'GET /v2/transactions: what it booked')}
  ${partnerLine('RGS', partner.rgs, url.rgs, 'GET /webhooks: what it received')}
  tables         npm run sql -- "select * from wallet_transaction order by id desc limit 5"   (${databaseLine()})
${notes()
  .map((note) => `\n${note}\n`)
  .join('')}
A signed debit, for another terminal${ownSecrets.length > 0 ? ' (with the same variables set there)' : ''}:

T=$(date +%s); B=$(printf '{"playerId":"player-1","amountCents":500,"currency":"USD","refId":"try-%s"}' "$T"); S=$(printf '%s:%s' "$T" "$B" | openssl dgst -sha256 -hmac ${secret} | sed 's/^.* //')
curl -i ${url.hub}/wallet/debit -H 'Content-Type: application/json' -H "Authorization: Bearer ${token}" -H "X-Timestamp: $T" -H "X-Signature: $S" -H "Idempotency-Key: try-$T" --data-raw "$B"
`);
}

function partnerLine(name, { address, isMock, variable }, mock, what) {
  if (isMock) return `${`mock ${name}`.padEnd(14)} ${mock}   (${what})`;
  const shown = URL.canParse(address) ? new URL(address).origin + new URL(address).pathname : address;
  return `${name.padEnd(14)} ${shown}   (yours, by ${variable}; no mock is started)`;
}

function dataDir() {
  return path.resolve(root, process.env.DATA_DIR || '.data');
}

/** Without user and password. */
function databaseLine() {
  if (process.env.DATABASE_URL) return `PostgreSQL on ${new URL(process.env.DATABASE_URL).host}, by DATABASE_URL`;
  const { port: number } = JSON.parse(fs.readFileSync(path.join(dataDir(), 'postgres.json'), 'utf8'));
  return `embedded PostgreSQL on 127.0.0.1:${number}, files in ${dataDir()}`;
}

function notes() {
  const found = [];
  if (envFile.taken.length > 0) found.push(`From .env: ${envFile.taken.join(', ')}.`);
  if (envFile.kept.length > 0)
    found.push(`Not from .env, since the shell says something else: ${envFile.kept.join(', ')}.`);
  if (hadData && services.length > 1)
    found.push(`The mocks begin with empty books and ${process.env.DATABASE_URL ? 'the database' : dataDir()} does not: what earlier starts booked, reconciliation will miss there (missing_in_operator, missing_in_rgs, or a run
that fails as source_suspicious). To start over: curl -X POST ${url.hub}/admin/clear-db -H "Authorization: Bearer ${process.env.OPS_TOKEN ? '$OPS_TOKEN' : process.env.BEARER_TOKEN ? '$BEARER_TOKEN' : 'change_token'}"`);
  return found;
}
