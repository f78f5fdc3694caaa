import type { FieldViolation } from '../kernel/errors';

/** Plain ASCII without spaces at the ends: nearly every id there is. */
const USUAL = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
/** Invisible at the ends of a text, and invisible anywhere in it. */
const EDGES = /^[\s\p{Cc}\p{Cf}\p{Z}]|[\s\p{Cc}\p{Cf}\p{Z}]$/u;
const INVISIBLE = /[\p{Cc}\u200b\u2028\u2029\u2060\ufeff]/u;

/**
 * Ids that look like another one: " p1 " and "p1" would be two players with two purses. They are refused and not
 * trimmed, since the caller's own books would go on holding the other spelling. Names each, as it came.
 */
export function untidy(ids: Readonly<Record<string, string | null | undefined>>): FieldViolation[] {
  const violations: FieldViolation[] = [];
  for (const [field, id] of Object.entries(ids)) {
    if (id === null || id === undefined || USUAL.test(id)) continue;
    if (EDGES.test(id))
      violations.push({
        field,
        message: `${field} must not begin or end with white space or an invisible character; it came as ${shown(id)}`,
      });
    else if (INVISIBLE.test(id))
      violations.push({ field, message: `${field} must not contain invisible characters; it came as ${shown(id)}` });
  }
  return violations;
}

/** Every character that cannot be seen as its code. */
function shown(id: string): string {
  return JSON.stringify(id).replace(
    /(?! )[\p{Cc}\p{Cf}\p{Z}]/gu,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}
