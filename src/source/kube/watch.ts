// One watch request. Events are yielded in the batches in which they arrive.
import { chunks } from './body.ts';
import type { Connection } from './client.ts';
import { ApiError, fromStatus } from './error.ts';
import { at, isMapping, root } from '../parse/reader.ts';
import { LineSplitter } from './lines.ts';
import { acceptOf, url, type Resource } from './resource.ts';

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: unknown;
}

/** Added to the timeout of the watch, for its end to arrive. */
const graceSeconds = 30;
/** Three bookmarks: a server that sends them sends one a minute. */
const bookmarkSilenceMs = 180_000;

/** Whether this server sends bookmarks regularly (1.19 and later), or at most one just before the end of a watch. */
export interface Rhythm {
  bookmarks: boolean;
}

export interface WatchRequest extends Connection {
  readonly resource: Resource;
  readonly query: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** As seen in earlier watches of the resource; updated by this one. */
  readonly rhythm: Rhythm;
  /** Called when the server has accepted the watch. It may be silent after that. */
  readonly onAccepted?: () => void;
  /** A shorter timeout between chunks, for as long as this returns one. */
  readonly initialTimeoutMs?: () => number | undefined;
}

/** Returns when the server ends the watch; throws when it refuses it, the connection breaks, or a timeout passes. */
export async function* watch(request: WatchRequest): AsyncGenerator<readonly WatchEvent[], void, undefined> {
  const { client, clock, watchSeconds, resource, query, signal, initialTimeoutMs, onAccepted, rhythm } =
    request;
  const seconds = Math.round(watchSeconds.min + clock.random() * (watchSeconds.max - watchSeconds.min));
  const always = { watch: '1', allowWatchBookmarks: 'true', timeoutSeconds: String(seconds) };
  const path = url(resource, { ...always, ...query });
  const answer = await client.get(path, acceptOf(resource, 'events'), signal);
  onAccepted?.();
  const lines = new LineSplitter();
  const lateAt = clock.now() + (seconds - graceSeconds) * 1000;
  let bookmarked = false;
  const silenceMs = (): number => {
    const initial = initialTimeoutMs?.();
    if (initial !== undefined) return initial;
    const wholeMs = (seconds + graceSeconds) * 1000;
    return bookmarked || rhythm.bookmarks ? Math.min(bookmarkSilenceMs, wholeMs) : wholeMs;
  };
  try {
    for await (const chunk of chunks(answer, clock, silenceMs)) {
      const events = lines.push(chunk).map(parseEvent);
      if (events.some((event) => event.type === 'BOOKMARK' && !endsInitialEvents(event))) {
        bookmarked = true;
        if (clock.now() < lateAt) rhythm.bookmarks = true;
      }
      if (events.length > 0) yield events;
    }
  } catch (error) {
    // It may be another instance of the server, which sends none.
    if (error instanceof ApiError && error.reason === 'Silent' && !bookmarked) rhythm.bookmarks = false;
    throw error;
  }
  if (lines.cut) throw new ApiError({ message: 'the watch ended in the middle of an event' });
}

/** An ERROR event: the server accepted the watch and then ended it. */
export class ErrorEvent extends ApiError {}

function parseEvent(line: string): WatchEvent {
  const event: unknown = JSON.parse(line);
  const type = isMapping(event) ? event['type'] : undefined;
  const object = isMapping(event) ? event['object'] : undefined;
  if (type === 'ERROR')
    throw new ErrorEvent(fromStatus(object, { message: 'the watch ended with an error' }));
  if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED' || type === 'BOOKMARK')
    return { type, object };
  throw new ApiError({ message: `a watch event of unknown type ${JSON.stringify(type)}` });
}

/** The bookmark after the initial events (KEP-3157). */
export function endsInitialEvents({ type, object }: WatchEvent): boolean {
  return (
    type === 'BOOKMARK' &&
    at(root(object), 'metadata', 'annotations', 'k8s.io/initial-events-end').value === 'true'
  );
}
