/**
 * The same values, with the next one being made while the consumer is busy with the last. `stop` is called when the consumer has enough or
 * fails, and must make a value that is under way end soon.
 */
export async function* oneAhead<T>(source: AsyncGenerator<T, void, void>, stop: () => void): AsyncGenerator<T, void, void> {
  let next = source.next();
  try {
    for (;;) {
      const result = await next;
      if (result.done === true) return;
      next = source.next();
      // Its failure is met when it is awaited, after the value before it was used; until then it is nobody's and must not end the process.
      next.catch(() => undefined);
      yield result.value;
    }
  } finally {
    stop();
    // Waits for the value under way, so that nothing runs on behind the consumer's back; what becomes of it is of no interest any more.
    await next.catch(() => undefined);
    await source.return();
  }
}
