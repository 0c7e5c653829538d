// The body of a response, with a timeout between chunks: a connection whose peer has gone gives no error.
import type { Clock } from './clock.ts';
import { ApiError } from './error.ts';
import type { Answer } from './error.ts';

/** Calls `silenceMs` before each chunk, for the timeout may change while the stream runs. Throws ApiError after it. */
export async function* chunks(
  answer: Answer,
  clock: Clock,
  silenceMs: () => number,
): AsyncGenerator<Buffer, void, undefined> {
  let cancel = arm();
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      cancel();
      yield chunk;
      cancel = arm();
    }
  } finally {
    cancel();
    answer.destroy();
  }

  function arm(): () => void {
    const ms = silenceMs();
    return clock.after(ms, () => {
      answer.destroy(new ApiError({ message: `silent for ${Math.round(ms / 1000)} s`, reason: 'Silent' }));
    });
  }
}
