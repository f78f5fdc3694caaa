/** The longest wait that one request may ask for, in seconds. */
export const WAIT_SECONDS_MAX = 20;

/**
 * `wait` of a Prefer header (RFC 7240) in whole seconds, at most WAIT_SECONDS_MAX; null when it is absent or makes no
 * sense, since a preference that cannot be honoured is ignored, not refused.
 */
export function preferredWait(header: string | undefined): number | null {
  if (header === undefined) return null;
  for (const preference of header.split(',')) {
    const seconds = /^\s*wait\s*=\s*"?(\d{1,6})"?\s*(;.*)?$/i.exec(preference)?.[1];
    if (seconds !== undefined && Number(seconds) >= 1) return Math.min(Number(seconds), WAIT_SECONDS_MAX);
  }
  return null;
}
