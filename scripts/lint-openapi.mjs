// `node scripts/lint-openapi.mjs <file>...`: holds OpenAPI documents against the recommended rules of Redocly; exits
// with 1 when one finds something.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createConfig, lintFromString } from '@redocly/openapi-core';

const config = await createConfig({ extends: ['recommended-strict'] });
for (const file of process.argv.slice(2)) {
  const problems = await lintFromString({
    source: readFileSync(file, 'utf8'),
    absoluteRef: path.resolve(file),
    config,
  });
  for (const { ruleId, message, location } of problems)
    process.stdout.write(`${file} ${location[0]?.pointer ?? ''}: ${message} (${ruleId})\n`);
  if (problems.length > 0) process.exitCode = 1;
}
