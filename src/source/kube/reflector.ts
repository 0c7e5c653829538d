// Keeps a copy of one resource of the API server, like client-go's Reflector: lists once, then watches, and lists again
// only when it must.
//
//   begin ──(initial events, or a list)──► watch ──(normal end)──► watch …
//     ▲                                      │
//     ├────── resourceVersion expired ───────┤        any other failure: back off, then watch from the last version
//     └───── three refusals in a row ────────┘
import type { Change, SourceProblem } from '../objects.ts';
import { objectKey, parseObject, serviceKeyOf } from '../parse/object.ts';
import { at, pathText, root, text } from '../parse/reader.ts';
import { failed, noFailure } from './backoff.ts';
import type { Connection } from './client.ts';
import { ApiError, explain, isExpired, isNotSupported, isRejection, isTooMany } from './error.ts';
import { listCached, listNewest } from './list.ts';
import { KnownObjects, type Versioned } from './known.ts';
import type { Resource } from './resource.ts';
import { endsInitialEvents, ErrorEvent, watch, type Rhythm, type WatchEvent } from './watch.ts';

/** A watch that ended sooner than this, even normally, counts as a failure: a new one at once could be a storm. */
const minWatchMs = 1_000;
/** A failure after this time starts the backoff anew. */
const resetBackoffMs = 10_000;
/** Initial events come without pauses. A server that does not know them is silent after the last object. */
const initialSilenceMs = 10_000;
/** After so many refused watches in a row the resource is listed: the version to watch from may be the reason. */
const maxRejections = 3;

export interface ReflectorEvents {
  /** Changes that came together. */
  changes(batch: readonly Change[]): void;
  /** All objects have been delivered: called after every list. */
  listed(): void;
  /** The server has refused the request; it will be tried again. */
  refused(): void;
  /** The current failure, undefined for none; and problems of objects. */
  state(failure: string | undefined, problems: readonly SourceProblem[]): void;
}

export class Reflector {
  readonly #connection: Connection;
  readonly #resource: Resource;
  readonly #events: ReflectorEvents;
  readonly #known: KnownObjects;
  readonly #problems = new Map<string, readonly SourceProblem[]>();
  /** resourceVersion to watch from; undefined: begin. */
  #version: string | undefined;
  /** The server has said that our version is too old. */
  #expired = false;
  /** Try sendInitialEvents; false once the server has refused it. */
  #watchLists = true;
  /** The next round begins with a list. */
  #relist = false;
  #rejections = 0;
  readonly #rhythm: Rhythm = { bookmarks: false };
  /** The server has accepted the watch of this round. */
  #accepted = false;
  #failure: string | undefined;
  #stateIsNews = false;

  constructor(connection: Connection, resource: Resource, events: ReflectorEvents) {
    this.#connection = connection;
    this.#resource = resource;
    this.#events = events;
    this.#known = new KnownObjects(resource.kind);
  }

  /** Runs until aborted; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#connection;
    let backoff = noFailure;
    let expired = false;
    while (!signal.aborted) {
      const started = clock.now();
      const failure = await this.#round(signal);
      const tookMs = clock.now() - started;
      if (failure === undefined && tookMs >= minWatchMs) {
        backoff = noFailure;
        continue;
      }
      // An expired version is no failure of the server: the first time, only the shortest wait.
      const newlyExpired = isExpired(failure) && !expired;
      expired = isExpired(failure);
      if (tookMs >= resetBackoffMs || newlyExpired) backoff = noFailure;
      const next = failed(backoff, clock.random(), failure instanceof ApiError ? failure.retryAfterMs : 0);
      backoff = next.backoff;
      await clock.sleep(next.waitMs, signal);
    }
  }

  /** One watch, with the list before it if one is needed. Returns the error, undefined for none. */
  async #round(signal: AbortSignal): Promise<unknown> {
    const { clock } = this.#connection;
    const started = clock.now();
    this.#accepted = false;
    try {
      if (this.#relist) await this.#watch(signal, await this.#beginByList(signal));
      else if (this.#version !== undefined) await this.#watch(signal, this.#version);
      else await this.#begin(signal);
      return undefined;
    } catch (error) {
      if (signal.aborted) return undefined;
      this.#judge(error, clock.now() - started);
      // No failure is reported before the list that comes next has failed too.
      if (!this.#relist || !endsTooEarly(error)) this.#failing(error);
      // If a list comes next, it may succeed.
      if (error instanceof ApiError && error.status > 0 && !this.#relist) this.#events.refused();
      return error;
    }
  }

  /** Decides how the next round begins after a failure. */
  #judge(error: unknown, tookMs: number): void {
    const began = this.#version === undefined && !this.#relist;
    this.#relist = began && endsTooEarly(error);
    if (isExpired(error)) {
      this.#version = undefined;
      this.#expired = true;
    }
    if (tookMs >= resetBackoffMs || this.#relist || isExpired(error)) this.#rejections = 0;
    if (this.#relist || isExpired(error)) return;
    if (this.#accepted ? isTooMany(error) : !isRejection(error)) return;
    if (++this.#rejections < maxRejections) return;
    this.#rejections = 0;
    this.#relist = true;
  }

  async #begin(signal: AbortSignal): Promise<void> {
    if (this.#watchLists) {
      try {
        await this.#beginByWatch(signal);
        return;
      } catch (error) {
        if (this.#version !== undefined || !isNotSupported(error)) throw error;
        this.#watchLists = false;
      }
    }
    await this.#watch(signal, await this.#beginByList(signal));
  }

  /** A watch with initial events (KEP-3157): needs less memory than a list, here and in the server. */
  async #beginByWatch(signal: AbortSignal): Promise<void> {
    const listed = new Map<string, Versioned>();
    let initial = true;
    const query = { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' };
    const initialTimeoutMs = (): number | undefined => (initial ? initialSilenceMs : undefined);
    const onAccepted = (): void => void (this.#accepted = true);
    for await (const batch of watch({
      ...this.#request(signal),
      query,
      initialTimeoutMs,
      onAccepted,
      rhythm: this.#rhythm,
    })) {
      const end = initial ? batch.findIndex(endsInitialEvents) : -1;
      const before = initial ? (end < 0 ? batch : batch.slice(0, end + 1)) : [];
      for (const event of before) this.#takeInitial(listed, event);
      if (end >= 0) {
        initial = false;
        this.#replace(listed, versionOf(batch[end]?.object));
        listed.clear();
      }
      if (!initial) this.#apply(batch.slice(before.length));
    }
    if (initial) throw new NoInitialEvents({ message: 'the watch ended before its initial events' });
  }

  #takeInitial(listed: Map<string, Versioned>, event: WatchEvent): void {
    if (event.type === 'BOOKMARK') {
      if (!endsInitialEvents(event)) throw new NoInitialEvents({ message: 'initial events did not end' });
      return;
    }
    const { key, versioned } = this.#parse(event.object);
    if (event.type === 'DELETED' || versioned === undefined) listed.delete(key);
    else listed.set(key, versioned);
  }

  async #beginByList(signal: AbortSignal): Promise<string> {
    const listed = new Map<string, Versioned>();
    // The server's cache may be older than what we have seen.
    const list = this.#expired || this.#version !== undefined ? listNewest : listCached;
    const version = await list({
      ...this.#request(signal),
      take: (raw) => {
        const { key, versioned } = this.#parse(raw);
        if (versioned !== undefined) listed.set(key, versioned);
      },
      reset: () => listed.clear(),
    });
    this.#replace(listed, version);
    return version;
  }

  async #watch(signal: AbortSignal, resourceVersion: string): Promise<void> {
    const onAccepted = (): void => {
      this.#accepted = true;
      this.#working();
    };
    const query = { resourceVersion };
    const request = { ...this.#request(signal), query, onAccepted, rhythm: this.#rhythm };
    for await (const batch of watch(request)) this.#apply(batch);
  }

  #replace(listed: ReadonlyMap<string, Versioned>, version: string | undefined): void {
    for (const key of this.#problems.keys()) if (!listed.has(key)) this.#note(key, []);
    this.#deliver(this.#known.replace(listed));
    this.#version = version;
    this.#expired = false;
    this.#relist = false;
    this.#events.listed();
    this.#working();
  }

  #apply(batch: readonly WatchEvent[]): void {
    if (batch.length > 0) this.#rejections = 0;
    const changes: Change[] = [];
    let version: string | undefined;
    for (const { type, object } of batch) {
      version = versionOf(object) ?? version;
      if (type === 'BOOKMARK') continue;
      const { key, versioned } = this.#parse(object);
      const gone = type === 'DELETED' || versioned === undefined;
      if (type === 'DELETED') this.#note(key, []);
      changes.push(...(gone ? this.#known.remove(key) : this.#known.put(key, versioned)));
    }
    this.#deliver(changes);
    this.#version = version ?? this.#version;
    this.#working();
  }

  #deliver(changes: readonly Change[]): void {
    if (changes.length > 0) this.#events.changes(changes);
  }

  #parse(raw: unknown): { readonly key: string; readonly versioned: Versioned | undefined } {
    const { object, problems } = parseObject(this.#resource.kind, raw);
    const key = object === undefined ? rawKey(this.#resource, raw) : objectKey(object);
    const where = key.replace('/', ' ').replace(' /', ' ');
    const service = serviceKeyOf(object);
    const about = service === undefined ? {} : { service };
    this.#note(
      key,
      problems.map(({ path, message }) => ({ where, field: pathText(path), message, ...about })),
    );
    return { key, versioned: object && { object, version: versionOf(raw) ?? '' } };
  }

  #note(key: string, problems: readonly SourceProblem[]): void {
    if (problems.length === 0 && !this.#problems.has(key)) return;
    if (problems.length === 0) this.#problems.delete(key);
    else this.#problems.set(key, problems);
    this.#stateIsNews = true;
  }

  #failing(error: unknown): void {
    this.#failure = explain(error);
    this.#tell();
  }

  #working(): void {
    if (this.#failure !== undefined) this.#stateIsNews = true;
    this.#failure = undefined;
    if (this.#stateIsNews) this.#tell();
  }

  #tell(): void {
    this.#stateIsNews = false;
    this.#events.state(this.#failure, [...this.#problems.values()].flat());
  }

  #request(signal: AbortSignal): Connection & { readonly resource: Resource; readonly signal: AbortSignal } {
    return { ...this.#connection, resource: this.#resource, signal };
  }
}

class NoInitialEvents extends ApiError {}

/**
 * The initial events did not end: the server is slow, its etcd does not report progress (before 3.4.25), or it does not
 * know initial events. The cause is not known, so the next round lists once; later ones try initial events again.
 */
function endsTooEarly(error: unknown): boolean {
  const silent = error instanceof ApiError && error.reason === 'Silent';
  return silent || error instanceof NoInitialEvents || error instanceof ErrorEvent;
}

function versionOf(raw: unknown): string | undefined {
  const version = at(root(raw), 'metadata', 'resourceVersion').value;
  return typeof version === 'string' && version !== '' ? version : undefined;
}

/** The key of an object that could not be parsed: an earlier version of it may be known. */
function rawKey({ kind }: Resource, raw: unknown): string {
  const metadata = at(root(raw), 'metadata');
  return `${kind}/${text(at(metadata, 'namespace')) ?? ''}/${text(at(metadata, 'name')) ?? ''}`;
}
