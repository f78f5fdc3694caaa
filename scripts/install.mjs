// Installs the packages and builds dist/, each only when needed, so that `npm start` and `npm test` work in a fresh
// clone and cost nothing in a warm one.
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fail, npm, root } from './run.mjs';

const modules = path.join(root, 'node_modules');
const lockFile = path.join(root, 'package-lock.json');
// Lies in node_modules on purpose: `npm ci` deletes it together with what it speaks of.
const stampFile = path.join(modules, '.installed-lock');

export async function installIfNeeded() {
  const reason = whyInstall();
  if (reason === undefined) return;
  process.stdout.write(`Installing packages: ${reason}.\n`);
  // The build and the tests need the development packages whatever NODE_ENV says.
  // Warnings are mostly about the version of Node that runs npm, which is not the one that runs the project.
  const flags = ['--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  let code = fs.existsSync(lockFile) ? await npm('ci', ...flags) : 1;
  if (code > 128) process.exit(code);
  if (code !== 0) {
    process.stdout.write(
      `npm ci did not succeed (its reason stands above, exit code ${code}); trying npm install, which accepts a lock file that is out of step.\n`,
    );
    // --no-save: a start must not edit files that are under version control.
    code = await npm('install', '--no-save', ...flags);
  }
  if (code !== 0) fail('The packages could not be installed; the reason stands above. Is the npm registry reachable?');
  fs.writeFileSync(stampFile, wantedHash());
}

/** Why the installed packages are not those of package-lock.json, or undefined when they are. */
export function whyInstall() {
  if (!fs.existsSync(modules)) return 'node_modules is missing';
  if (!fs.existsSync(lockFile)) return fs.existsSync(stampFile) ? undefined : 'there is no package-lock.json';
  const installed = readJson(path.join(modules, '.package-lock.json'))?.packages;
  if (!installed) return 'node_modules was not made by npm, or its install was broken off';
  const isStamped = fs.existsSync(stampFile) && fs.readFileSync(stampFile, 'utf8') === wantedHash();

  // Contents and not file times are compared: a checkout, a copy or a container layer changes times and no packages.
  for (const [folder, wanted] of Object.entries(readJson(lockFile)?.packages ?? {})) {
    if (folder === '' || wanted.link) continue;
    const name = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const present = installed[folder];
    if (present) {
      if (present.version !== wanted.version)
        return `${name} is ${present.version} and package-lock.json wants ${wanted.version}`;
      if (present.integrity && wanted.integrity && present.integrity !== wanted.integrity)
        return `${name} is not the package of package-lock.json`;
      if (!fs.existsSync(path.join(root, folder))) return `${name} was deleted`;
    } else if (!isStamped && (!wanted.optional || fitsThisPlatform(wanted))) {
      // What an install with these very files has left out, it leaves out again: an optional package that cannot be had
      // here, or one that package.json has dropped and the lock file still names.
      return `${name} is missing`;
    }
  }
  return undefined;
}

function fitsThisPlatform({ os, cpu, libc }) {
  return (
    allows(os, process.platform) &&
    allows(cpu, process.arch) &&
    (libc === undefined || process.platform !== 'linux' || allows(libc, libcFamily()))
  );
}

/** The rule of package.json: names to allow, or names with a leading ! to exclude. */
function allows(rule, value) {
  if (rule === undefined) return true;
  const names = [rule].flat();
  if (names.includes(`!${value}`)) return false;
  return names.includes(value) || names.every((name) => name.startsWith('!'));
}

function libcFamily() {
  process.report.excludeNetwork = true;
  return process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl';
}

export async function buildIfNeeded() {
  const reason = whyBuild();
  if (reason === undefined) return;
  process.stdout.write(`Building: ${reason}.\n`);
  const code = await npm('run', 'build', '--silent');
  if (code === 0) return;
  // The compiler writes its output in spite of type errors; left there, the next start would take it for a good build.
  if (code < 128) fs.rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  fail('The build failed; the reason stands above.');
}

/** Why dist/ has to be built, or undefined when it is newer than all it is made of. */
export function whyBuild() {
  let built = Infinity;
  for (const file of ['src/main.js', 'mocks/operator/main.js', 'mocks/rgs/main.js']) {
    const stat = fs.statSync(path.join(root, 'dist', file), { throwIfNoEntry: false });
    if (!stat) return `dist/${file} is missing`;
    built = Math.min(built, stat.mtimeMs);
  }
  const sources = readJson(path.join(root, 'tsconfig.build.json'))?.include ?? ['src', 'mocks'];
  for (const source of [...sources, 'package.json', 'tsconfig.json', 'tsconfig.build.json', 'nest-cli.json']) {
    const newer = newerThan(built, source);
    if (newer) return `${newer} is newer than dist`;
  }
  return undefined;
}

/** The first file, or folder (a file in it was deleted or renamed), that changed after the given time. */
function newerThan(time, name) {
  const stat = fs.statSync(path.join(root, name), { throwIfNoEntry: false });
  if (!stat) return undefined;
  if (stat.mtimeMs > time) return name;
  if (!stat.isDirectory()) return undefined;
  for (const entry of fs.readdirSync(path.join(root, name))) {
    const newer = newerThan(time, path.join(name, entry));
    if (newer) return newer;
  }
  return undefined;
}

/** Of both files that decide what is installed. */
function wantedHash() {
  const hash = crypto.createHash('sha256');
  for (const file of [path.join(root, 'package.json'), lockFile])
    if (fs.existsSync(file)) hash.update(fs.readFileSync(file));
  return hash.digest('hex');
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
