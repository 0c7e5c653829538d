// Keeps a copy of one resource of the API server: lists once, then watches, and starts over only when it must.
//
//   begin ──(initial events, or a list)──► watch ──(quiet end)──► watch …
//     ▲                                      │
//     ├────────── history expired ───────────┤        any other failure: back off, then go on where it stopped
//     └───── three bad answers in a row ─────┘
import type { Change, SourceProblem } from '../objects.ts';
import { objectKey, parseObject, serviceKeyOf } from '../parse/object.ts';
import { at, pathText, root, text } from '../parse/reader.ts';
import { failed, noFailure } from './backoff.ts';
import type { Connection } from './client.ts';
import { ApiError, explain, isExpired, isNotSupported, isRejection, isTooMany } from './error.ts';
import { listCached, listNewest } from './list.ts';
import { Mirror, type Versioned } from './known.ts';
import type { Resource } from './resource.ts';
import { endsInitialEvents, ErrorEvent, watch, type Rhythm, type WatchEvent } from './watch.ts';

/** A watch that ended in good order but sooner than this did not work: dialling again at once would be a storm. */
const hastyMs = 1_000;
/** What worked for so long is not failing again, but for the first time. */
const soundMs = 10_000;
/** Initial events come without pauses; a server that knows nothing of them just stays silent after the last object. */
const initialSilenceMs = 10_000;
/** So many bad answers to watches in a row, and the state is listed: what we watch from may be the reason. */
const maxRejections = 3;

export interface ReflectorEvents {
  /** Changes that came together. */
  changes(batch: readonly Change[]): void;
  /** Everything there was has been handed over: after every list. */
  listed(): void;
  /** The server has answered, but with none of it; that may change. */
  refused(): void;
  /** Why it does not work just now, or undefined when it does; and objects that could not be used in full. */
  state(failure: string | undefined, problems: readonly SourceProblem[]): void;
}

export class Reflector {
  readonly #connection: Connection;
  readonly #resource: Resource;
  readonly #events: ReflectorEvents;
  readonly #mirror: Mirror;
  readonly #problems = new Map<string, readonly SourceProblem[]>();
  /** Where to go on watching; undefined: begin. */
  #version: string | undefined;
  /** The server has said that our version is history. */
  #expired = false;
  /** The server has not said that it does not know how to begin a watch with all objects. */
  #watchLists = true;
  /** The next round lists, whatever the server knows. */
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
    this.#mirror = new Mirror(resource.kind);
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
      if (failure === undefined && tookMs >= hastyMs) {
        backoff = noFailure;
        continue;
      }
      // Expired history is no failure of the server's: the first time it costs no more than the shortest wait.
      const newlyExpired = isExpired(failure) && !expired;
      expired = isExpired(failure);
      if (tookMs >= soundMs || newlyExpired) backoff = noFailure;
      const next = failed(backoff, clock.random(), failure instanceof ApiError ? failure.retryAfterMs : 0);
      backoff = next.backoff;
      await clock.sleep(next.waitMs, signal);
    }
  }

  /** One watch, with the list before it where one is needed. Returns what went wrong. */
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
      // Nothing is known to be amiss while the list that comes next has not failed.
      if (!this.#relist || !endsTooEarly(error)) this.#failing(error);
      // A list comes next, and may well be answered.
      if (error instanceof ApiError && error.status > 0 && !this.#relist) this.#events.refused();
      return error;
    }
  }

  /** What a failure means for the next round. */
  #judge(error: unknown, tookMs: number): void {
    const began = this.#version === undefined && !this.#relist;
    this.#relist = began && endsTooEarly(error);
    if (isExpired(error)) {
      this.#version = undefined;
      this.#expired = true;
    }
    if (tookMs >= soundMs || this.#relist || isExpired(error)) this.#rejections = 0;
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

  /** A watch that begins with all objects there are: no list in the server's memory nor in ours. */
  async #beginByWatch(signal: AbortSignal): Promise<void> {
    const listed = new Map<string, Versioned>();
    let initial = true;
    const query = { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' };
    const patienceMs = (): number | undefined => (initial ? initialSilenceMs : undefined);
    const onAccepted = (): void => void (this.#accepted = true);
    for await (const batch of watch({
      ...this.#request(signal),
      query,
      patienceMs,
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
    // A cache may be older than what we have had already.
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
    this.#deliver(this.#mirror.replace(listed));
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
      changes.push(...(gone ? this.#mirror.remove(key) : this.#mirror.put(key, versioned)));
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
 * No end of the initial events has come: the server has a slow moment, its etcd cannot say how far it is (before 3.4.25), or it knows
 * nothing of initial events. Which of them it is cannot be told, so it costs one list, and the next beginning is by watch again.
 */
function endsTooEarly(error: unknown): boolean {
  const silent = error instanceof ApiError && error.reason === 'Silent';
  return silent || error instanceof NoInitialEvents || error instanceof ErrorEvent;
}

function versionOf(raw: unknown): string | undefined {
  const version = at(root(raw), 'metadata', 'resourceVersion').value;
  return typeof version === 'string' && version !== '' ? version : undefined;
}

/** The key of an object that could not be parsed: it may be one that could be before. */
function rawKey({ kind }: Resource, raw: unknown): string {
  const metadata = at(root(raw), 'metadata');
  return `${kind}/${text(at(metadata, 'namespace')) ?? ''}/${text(at(metadata, 'name')) ?? ''}`;
}
