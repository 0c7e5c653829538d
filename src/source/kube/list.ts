// Lists of a resource, streamed: for API servers without initial events of a watch (sendInitialEvents, KEP-3157).
import { at, root } from '../parse/reader.ts';
import { chunks } from './body.ts';
import type { Connection } from './client.ts';
import { ApiError, isExpired } from './error.ts';
import { ItemSplitter } from './items.ts';
import { acceptOf, url, type Resource } from './resource.ts';

const pageSize = '500';
/** Timeout between two chunks of a list, which a server sends without pauses. */
const silenceMs = 30_000;

export interface ListRequest extends Connection {
  readonly resource: Resource;
  readonly signal: AbortSignal;
  /** Called with each object. `reset` is called when the list starts over: objects so far do not count. */
  readonly take: (raw: unknown) => void;
  readonly reset: () => void;
}

interface Page {
  readonly version: string;
  readonly next: string;
}

/** From the server's cache, which may be behind etcd but is cheap. Returns the resourceVersion to watch from. */
export async function listCached(request: ListRequest): Promise<string> {
  return all(request, { resourceVersion: '0' });
}

/**
 * The newest state, after a resourceVersion has expired: a cache that is behind must not take us back in time. Reads
 * etcd, so in pages; as a whole when a continue token has expired.
 */
export async function listNewest(request: ListRequest): Promise<string> {
  try {
    return await all(request, { limit: pageSize });
  } catch (error) {
    if (!isExpired(error) && !(error instanceof RepeatedToken)) throw error;
    request.reset();
    return all(request, {});
  }
}

class RepeatedToken extends ApiError {}

async function all(request: ListRequest, query: Readonly<Record<string, string>>): Promise<string> {
  let page = await readPage(request, query);
  while (page.next !== '') {
    const { next } = page;
    page = await readPage(request, { limit: pageSize, continue: next });
    if (page.next === next)
      throw new RepeatedToken({ message: 'the list does not end: the server repeats its continue token' });
  }
  return page.version;
}

async function readPage(request: ListRequest, query: Readonly<Record<string, string>>): Promise<Page> {
  const { client, clock, resource, signal, take } = request;
  const answer = await client.get(url(resource, query), acceptOf(resource, 'list'), signal);
  const splitter = new ItemSplitter();
  for await (const chunk of chunks(answer, clock, () => silenceMs)) {
    for (const item of splitter.push(chunk)) take(JSON.parse(item));
  }
  const metadata = at(root(splitter.end()), 'metadata');
  const version = at(metadata, 'resourceVersion').value;
  const next = at(metadata, 'continue').value;
  if (typeof version !== 'string' || version === '')
    throw new ApiError({ message: 'the list has no resourceVersion' });
  return { version, next: typeof next === 'string' ? next : '' };
}
