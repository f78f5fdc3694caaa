import {
  SessionNotBegunError,
  asStoreUnavailable,
  isFatalToConnection,
  isStoreUnavailable,
  isTransient,
} from '../../src/database/pg-errors';
import { HubError } from '../../src/kernel/errors';

/** By SQLSTATE: [code, what the caller hears, whether the connection is given up]. */
const STATES: readonly (readonly [code: string, caller: 503 | 500, fatal: boolean])[] = [
  ['08000', 503, true],
  ['08003', 503, true],
  ['08006', 503, true],
  ['08P01', 503, true],
  ['25006', 503, true],
  ['25P03', 503, true],
  ['25P04', 503, true],
  ['25001', 500, false],
  ['25P02', 500, false],
  ['26000', 503, true],
  ['42P05', 503, true],
  ['28000', 503, true],
  ['28P01', 503, true],
  ['3D000', 503, true],
  ['40001', 503, false],
  ['40P01', 503, false],
  ['40000', 503, false],
  ['40003', 503, true],
  ['53000', 503, false],
  ['53100', 503, false],
  ['53200', 503, false],
  ['53300', 503, false],
  ['55P03', 503, false],
  ['55006', 500, false],
  ['57014', 503, false],
  ['57P01', 503, true],
  ['57P02', 503, true],
  ['57P03', 503, true],
  ['57P04', 503, true],
  ['57P05', 503, true],
  ['58000', 503, true],
  ['58030', 503, true],
  ['22001', 500, false],
  ['23505', 500, false],
  ['42501', 500, false],
  ['42P01', 500, false],
  ['0A000', 500, false],
  ['XX000', 500, false],
];

describe.each(STATES)('SQLSTATE %s', (code, caller, fatal) => {
  const error = Object.assign(new Error('as the server says'), { code });

  it(`is ${caller} for the caller`, () => {
    expect(isStoreUnavailable(error) || isTransient(error)).toBe(caller === 503);
    const told = asStoreUnavailable(error);
    if (caller === 503)
      expect((told as HubError).toProblem()).toMatchObject({
        status: 503,
        code: 'store_unavailable',
        outcome: 'unknown',
      });
    else expect(told).toBe(error);
  });

  it(fatal ? 'ends the connection' : 'leaves the connection', () => expect(isFatalToConnection(code)).toBe(fatal));
});

it.each(['57P05', '25P04'])('a session that the server ended by %s before it began may be tried again', (code) => {
  const ended = Object.assign(new Error('terminating connection'), { code });
  expect([isTransient(ended), isStoreUnavailable(ended)]).toEqual([false, true]);
  const notBegun = SessionNotBegunError.of(ended);
  expect([isTransient(notBegun), isStoreUnavailable(notBegun)]).toEqual([true, true]);
  expect(SessionNotBegunError.of(Object.assign(new Error('going down'), { code: '57P01' }))).toBeUndefined();
});
