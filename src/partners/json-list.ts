import { type Readable, pipeline } from 'node:stream';
import streamArray from 'stream-json/streamers/stream-array.js';

/** Silence on a list for this long means that its end will not come. */
const SILENCE_MS_MAX = 30_000;

/** Elements of a JSON array as they arrive; throws when the text is no array, breaks off, or falls silent or `gone` fires. Holds one element at a time. */
export async function* jsonList(body: Readable, gone?: AbortSignal): AsyncGenerator<Record<string, unknown>> {
  const stop = () => body.destroy(new Error('nobody waits for it any more'));
  if (gone?.aborted === true) stop();
  gone?.addEventListener('abort', stop, { once: true });
  let timer: NodeJS.Timeout | undefined;
  const restart = () => {
    clearTimeout(timer);
    timer = setTimeout(() => body.destroy(new Error(`silent for ${SILENCE_MS_MAX / 1000} seconds`)), SILENCE_MS_MAX);
  };
  restart();
  body.on('data', restart);
  try {
    // A failure reaches the reader through the last stream of the pipeline, so the callback has nothing to add.
    const elements: AsyncIterable<{ value: unknown }> = pipeline(body, streamArray.withParserAsStream(), () => undefined);
    for await (const { value } of elements) {
      if (typeof value !== 'object' || value === null) throw new Error('the list holds something that is not a row');
      yield value as Record<string, unknown>;
    }
  } finally {
    clearTimeout(timer);
    gone?.removeEventListener('abort', stop);
  }
}
