// The body of an answer, given up when it falls silent: a connection whose other end is gone says nothing at all.
import type { Clock } from './clock.ts';
import { ApiError } from './error.ts';
import type { Answer } from './error.ts';

/** `silenceMs` is asked before each chunk: how long to wait may change while the stream runs. */
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
