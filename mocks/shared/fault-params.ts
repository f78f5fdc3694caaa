import type { Fields } from './fields';

/** Longer waits than ten minutes are a `hang`. */
export const DELAY_MS_MAX = 600_000;

/** Parameters of an answer that a test makes up; see `injectedAnswer`. */
export interface StatusFault {
  status: number;
  body: unknown;
  contentType: string | null;
  headers: Record<string, string>;
}

export function readStatusFault(fields: Fields): StatusFault {
  return {
    status: fields.integer('status', 200, 599),
    body: fields.anything('body'),
    contentType: fields.optionalText('contentType'),
    headers: fields.headers('headers'),
  };
}

/** Parameters of a 429 or 503 with `Retry-After`; see `throttleAnswer`. */
export interface ThrottleFault {
  status: number;
  /** Seconds. */
  retryAfter: number;
  retryAfterForm: 'seconds' | 'date';
}

export function readThrottleFault(fields: Fields): ThrottleFault {
  const status = fields.integer('status', 429, 503, 429);
  if (status !== 429 && status !== 503) fields.complain('status', 'must be 429 or 503');
  return {
    status,
    retryAfter: fields.integer('retryAfter', 0, 86_400, 1),
    retryAfterForm: fields.word('retryAfterForm', ['seconds', 'date'], 'seconds'),
  };
}
