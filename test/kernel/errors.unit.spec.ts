import { ERROR_CATALOGUE, type ErrorCode, HubError } from '../../src/kernel/errors';

const CODES = Object.keys(ERROR_CATALOGUE) as ErrorCode[];

/** Texts and codes that clients of the first hub compare, or that the contract fixes. */
const FIXED: [ErrorCode, number, string][] = [
  ['unauthorized', 401, 'Unauthorized'],
  ['invalid_signature', 401, 'invalid signature'],
  ['timestamp_skew', 401, 'timestamp skew'],
  ['forbidden', 403, 'forbidden'],
  ['unknown_reference', 404, 'unknown reference/correlation'],
  ['outbox_record_not_found', 404, 'outbox record not found'],
  ['idempotency_key_reused', 409, 'idempotency conflict'],
  ['unsupported_currency', 422, 'unsupported currency'],
];

describe('the error catalogue', () => {
  it.each(FIXED)('%s is %i with "%s", for ever', (code, status, detail) => {
    expect(new HubError(code).toProblem()).toMatchObject({ code, status, detail });
  });

  it.each(CODES)('%s is a whole problem document', (code) => {
    const problem = new HubError(code).toProblem();
    expect(Object.keys(problem)).toEqual(['type', 'title', 'status', 'detail', 'code', 'retryable', 'outcome']);
    expect(problem).toMatchObject({ type: `urn:integration-hub:problem:${code}`, code });
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
    expect(problem.status).toBeGreaterThanOrEqual(400);
    expect(ERROR_CATALOGUE[code].meaning).toMatch(/\.$/);
  });

  it('never calls a movement of which the hub is not sure not applied', () => {
    for (const code of CODES) {
      const { status, outcome, retryable } = ERROR_CATALOGUE[code];
      if (status < 500) expect({ code, outcome }).toEqual({ code, outcome: 'not_applied' });
      // A fault of ours may pass, and repeating with the same key is always safe.
      else expect({ code, retryable }).toEqual({ code, retryable: true });
    }
  });

  it('lets one error say more than its entry', () => {
    const problem = new HubError('validation_failed', {
      detail: 'two faults',
      correlationId: 'c',
      outcome: 'unknown',
      errors: [{ field: 'a', message: 'b' }],
    }).toProblem();
    expect(problem).toMatchObject({
      detail: 'two faults',
      correlationId: 'c',
      outcome: 'unknown',
      errors: [{ field: 'a', message: 'b' }],
    });
  });
});
