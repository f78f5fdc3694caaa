import { type ErrorCode, ERROR_CATALOGUE } from '../../../src/kernel/errors';
import type { HttpAnswer } from './signed-request';

/** What must never reach a caller: stack lines, SQL, files of ours, names of our machinery. */
const LEAKS = [
  /^\s*at /m,
  /\.(?:ts|js|mjs):\d+/,
  /node_modules|\/src\/|\/dist\//,
  /\b(?:select|insert into|update|delete from)\b .*\b(?:from|values|set|where)\b/i,
  /QueryFailedError|TypeError|RangeError|pg_|postgres/i,
];

/** The problem document of a refusal: complete, of the right code, and silent about the hub's insides. */
export function expectProblem(
  answer: Pick<HttpAnswer, 'status' | 'text' | 'body'> & { headers: { get(name: string): string | null } },
  code: ErrorCode,
): void {
  const { status, title, retryable } = ERROR_CATALOGUE[code];
  expect({ status: answer.status, body: answer.body ?? answer.text }).toMatchObject({
    status,
    body: { type: `urn:integration-hub:problem:${code}`, title, status, code, retryable },
  });
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json(; charset=utf-8)?$/);
  expect(typeof answer.body.detail).toBe('string');
  expect(['applied', 'not_applied', 'unknown']).toContain(answer.body.outcome);
  expectNoLeak(answer.text);
}

export function expectNoLeak(text: string): void {
  for (const leak of LEAKS) expect(text).not.toMatch(leak);
}
