// One watch request: events as they come, in the batches in which they came.
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

/** For the end of the watch to arrive. */
const graceSeconds = 30;
/** A server that sends bookmarks sends one a minute, so this is three of them. */
const bookmarkSilenceMs = 180_000;

/** Whether this server sends bookmarks all along (1.19 and later), or at most one just before it ends a watch. */
export interface Rhythm {
  bookmarks: boolean;
}

export interface WatchRequest extends Connection {
  readonly resource: Resource;
  readonly query: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** What earlier watches of the resource have shown; kept up to date. */
  readonly rhythm: Rhythm;
  /** The server has accepted the watch; it may well be silent for a while now. */
  readonly onAccepted?: () => void;
  /** Silence that is not waited out for as long as this returns a time. */
  readonly patienceMs?: () => number | undefined;
}

/** Returns when the server ends the watch in good order; throws when it refuses, breaks off or falls silent. */
export async function* watch(request: WatchRequest): AsyncGenerator<readonly WatchEvent[], void, undefined> {
  const { client, clock, watchSeconds, resource, query, signal, patienceMs, onAccepted, rhythm } = request;
  const seconds = Math.round(watchSeconds.min + clock.random() * (watchSeconds.max - watchSeconds.min));
  const always = { watch: '1', allowWatchBookmarks: 'true', timeoutSeconds: String(seconds) };
  const path = url(resource, { ...always, ...query });
  const answer = await client.get(path, acceptOf(resource, 'events'), signal);
  onAccepted?.();
  const lines = new LineSplitter();
  const lateAt = clock.now() + (seconds - graceSeconds) * 1000;
  let bookmarked = false;
  const silenceMs = (): number => {
    const patience = patienceMs?.();
    if (patience !== undefined) return patience;
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
    // Perhaps another instance of the server, which sends none.
    if (error instanceof ApiError && error.reason === 'Silent' && !bookmarked) rhythm.bookmarks = false;
    throw error;
  }
  if (lines.cut) throw new ApiError({ message: 'the watch broke off in the middle of an event' });
}

/** The server accepted the watch, and gave it up in its stream. */
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

/** The bookmark that ends the initial events of a watch that began with all objects there are. */
export function endsInitialEvents({ type, object }: WatchEvent): boolean {
  return (
    type === 'BOOKMARK' &&
    at(root(object), 'metadata', 'annotations', 'k8s.io/initial-events-end').value === 'true'
  );
}
