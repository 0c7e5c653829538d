// Everything there is of one resource, streamed: for servers that cannot begin a watch with it.
import { at, root } from '../parse/reader.ts';
import { chunks } from './body.ts';
import type { Connection } from './client.ts';
import { ApiError, isExpired } from './error.ts';
import { ItemSplitter } from './items.ts';
import { acceptOf, url, type Resource } from './resource.ts';

const pageSize = '500';
/** A list streams without pauses, or not at all. */
const silenceMs = 30_000;

export interface ListRequest extends Connection {
  readonly resource: Resource;
  readonly signal: AbortSignal;
  /** Called with each object; `reset` says that the list begins again and what was taken does not count. */
  readonly take: (raw: unknown) => void;
  readonly reset: () => void;
}

interface Page {
  readonly version: string;
  readonly next: string;
}

/** From the server's cache: cheap for it, and as old as the cache is. Returns the version to watch from. */
export async function listCached(request: ListRequest): Promise<string> {
  return all(request, { resourceVersion: '0' });
}

/**
 * The newest state, after the server has said that what we know is too old: a cache that lags must not take us back in
 * time. In pages, since this reads from etcd; as a whole when the pages go wrong.
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
      throw new RepeatedToken({ message: 'the list has no end: its continue token repeats' });
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
    throw new ApiError({ message: 'the list has no version' });
  return { version, next: typeof next === 'string' ? next : '' };
}
