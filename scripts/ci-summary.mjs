// Prints `N passed, N failed` from a result file of `jest --json --outputFile=<file>`; exits with 1 unless all passed.
import fs from 'node:fs';

let passed = 0;
let failed = 0;
try {
  const result = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
  passed = result.numPassedTests;
  // A file that breaks while it loads has no tests to count, and must not look like success.
  failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
} catch {
  // No result: the tests never ran, or jest itself broke. Zero tests is a failure below.
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = passed > 0 && failed === 0 ? 0 : 1;
