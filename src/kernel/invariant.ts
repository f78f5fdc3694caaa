/** Something that cannot happen has happened: a fault of the hub or its database, never of a caller. */
export class InvariantError extends Error {
  constructor(broken: string) {
    super(broken);
    this.name = 'InvariantError';
  }
}

/**
 * `broken` says what is wrong when the condition does not hold; a function where making the text would cost the usual
 * case something.
 */
export function invariant(condition: boolean, broken: string | (() => string)): asserts condition {
  if (!condition) throw new InvariantError(typeof broken === 'string' ? broken : broken());
}

/** For the branch that no value can take; the compiler shows when one can. */
export function unreachable(value: never): never {
  throw new InvariantError(`unexpected value ${String(value)}`);
}
