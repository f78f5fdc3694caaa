// Prints `N passed, N failed` from the result files of `jest --json --outputFile=<file>`, added up; exits with 1 unless
// all passed in each of them.
import fs from 'node:fs';

let passed = 0;
let failed = 0;
let complete = true;
for (const file of process.argv.slice(2)) {
  try {
    const result = JSON.parse(fs.readFileSync(file, 'utf8'));
    passed += result.numPassedTests;
    // A file that breaks while it loads has no tests to count, and must not look like success.
    failed += result.numFailedTests + result.numRuntimeErrorTestSuites;
    complete &&= result.numPassedTests > 0;
  } catch {
    // No result: the tests never ran, or jest itself broke. What did not run has not passed.
    complete = false;
  }
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = complete && passed > 0 && failed === 0 ? 0 : 1;
