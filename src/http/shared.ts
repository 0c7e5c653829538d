/**
 * Requests that arrive while an answer is being computed get that answer: the cost does not grow with the number of
 * clients.
 */
export function shared<T>(compute: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= compute().finally(() => {
      running = undefined;
    });
    return running;
  };
}
