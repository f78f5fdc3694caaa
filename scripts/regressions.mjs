/**
 * Shows that the tests of test/regressions.json fail on the release before: lays this checkout's tests and mocks over a built checkout of
 * that release and runs each test there. Prints a line per fault, then JSON; exits with 1 if a test passes there.
 *
 *   node scripts/regressions.mjs --before <built checkout> [--only 1,5,62]
 *
 * A test that cannot be loaded there, since what it is held against does not exist yet, is shown as such and counts as failed.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const MINUTES_A_FILE = 6;

const { values } = parseArgs({ options: { before: { type: 'string' }, only: { type: 'string' } } });
if (values.before === undefined) throw new Error('--before <built checkout of the release before> is missing');
const before = path.resolve(values.before);
const { faults } = JSON.parse(readFileSync(path.join(HERE, 'test/regressions.json'), 'utf8'));
const wanted = values.only === undefined ? Object.keys(faults) : values.only.split(',');

const root = mkdtempSync(path.join(os.tmpdir(), 'hub-regressions-'));
process.on('exit', () => rmSync(root, { recursive: true, force: true }));
for (const name of [
  'src',
  'dist',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'scripts',
  'docs',
  'docker-compose.yml',
  'Dockerfile',
  '.env.example',
  'README.md',
  'postman_collection.json',
])
  cpSync(path.join(before, name), path.join(root, name), { recursive: true });
for (const name of ['test', 'mocks', 'jest.browser.config.mjs'])
  cpSync(path.join(HERE, name), path.join(root, name), { recursive: true });
symlinkSync(path.join(before, 'node_modules'), path.join(root, 'node_modules'));
// The packages are those of the release before; what only the tests have since comes from here.
cpSync(path.join(before, 'jest.config.mjs'), path.join(root, 'jest.before.mjs'));
writeFileSync(
  path.join(root, 'jest.config.mjs'),
  `import before from './jest.before.mjs';
const { displayName, testMatch, testPathIgnorePatterns, runner, ...of } = before.projects[0];
const modulePaths = ['${path.join(HERE, 'node_modules')}'];
export const common = { ...of, modulePaths };
export default { ...common, testMatch: ['**/*.spec.ts'], testTimeout: before.testTimeout, maxWorkers: 1 };
`,
);

function firstLine(text) {
  return (
    text
      .replace(/\u001b\[[0-9;]*m/g, '')
      .split('\n')
      .map((line) => line.trim())
      .find((line) => line !== '' && !line.startsWith('●')) ?? ''
  );
}

/** `passed`, `failed`, or `not_loaded` with the first line of why. */
function run(spec, title) {
  const config = spec.includes('/browser/') ? 'jest.browser.config.mjs' : 'jest.config.mjs';
  const output = path.join(root, 'result.json');
  rmSync(output, { force: true });
  const args = [
    path.join(root, 'node_modules/jest/bin/jest.js'),
    '--config',
    config,
    '--ci',
    '--forceExit',
    '--json',
    '--outputFile',
    output,
    ...(title === '' ? [] : ['-t', title]),
    spec,
  ];
  const jest = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: MINUTES_A_FILE * 60_000,
  });
  let result;
  try {
    result = JSON.parse(readFileSync(output, 'utf8'));
  } catch {
    return { verdict: 'no_result', why: `jest ended without one: ${firstLine(jest.stderr ?? '')}` };
  }
  const failed = result.testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'failed');
  if (failed.length > 0)
    return { verdict: 'failed', why: firstLine(failed[0].failureMessages[0] ?? ''), tests: failed.length };
  if (result.numRuntimeErrorTestSuites > 0)
    return { verdict: 'not_loaded', why: firstLine(result.testResults[0]?.message ?? '') };
  if (result.numPassedTests === 0) return { verdict: 'none', why: `no test of that name: ${title}` };
  return { verdict: 'passed', why: `${result.numPassedTests} passed` };
}

const seen = new Map();
const lines = wanted.map((number) => {
  const results = faults[number].tests.map(([spec, title]) => {
    const key = `${spec}\0${title}`;
    if (!seen.has(key)) seen.set(key, run(spec, title));
    return { spec, title, ...seen.get(key) };
  });
  for (const { spec, title, verdict, why } of results)
    console.log(`${number}\t${verdict}\t${spec}${title === '' ? '' : ` -t "${title}"`}\t${why.slice(0, 160)}`);
  return { number, results };
});
const count = (wantedVerdict) =>
  lines.flatMap(({ results }) => results).filter(({ verdict }) => verdict === wantedVerdict).length;
const summary = {
  faults: lines.length,
  failed: count('failed'),
  notLoaded: count('not_loaded'),
  passed: count('passed'),
  none: count('none'),
  noResult: count('no_result'),
};
console.log(JSON.stringify(summary));
process.exitCode = summary.passed + summary.none + summary.noResult === 0 ? 0 : 1;
