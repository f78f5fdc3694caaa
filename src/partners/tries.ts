/** What one more try within an attempt depends on; all moments in the same clock, in ms. */

/** Whether a try may leave: its response must come before `endBy`. */
export function mayLeave(now: number, timeoutMs: number, endBy: number): boolean {
  return now <= endBy - timeoutMs;
}

/**
 * Whether a call without a usable answer is made again in the same attempt. A refused connection or a partner that
 * names its own pause is for the queue to handle, not for a loop in one attempt.
 */
export function isRepeated(
  response:
    { readonly kind: 'answered'; readonly retryAfterMs: number | null } | { readonly kind: 'not_sent' | 'lost' },
  repeatable: boolean,
  nextEnds: number,
  endBy: number,
): boolean {
  if (response.kind === 'not_sent' || (response.kind === 'answered' && response.retryAfterMs !== null)) return false;
  return repeatable && nextEnds < endBy;
}
