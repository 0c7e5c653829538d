// HTTP from inside a namespace: the agent's API, and the demo's many small requests.
import { request, type RequestOptions } from 'node:http';
import { within } from './tcp.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

function fetchOnce(url: string, options: RequestOptions = {}): Promise<HttpAnswer> {
  const answer = new Promise<HttpAnswer>((resolve, reject) => {
    const outgoing = request(url, { agent: false, ...options }, (incoming) => {
      let body = '';
      incoming.setEncoding('utf8').on('data', (text: string) => (body += text));
      incoming.on('end', () => {
        resolve({ status: incoming.statusCode ?? 0, body });
      });
      incoming.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
  return within(url, answer);
}

const http = ({ url }: { url: string }): Promise<HttpAnswer> => fetchOnce(url);

export interface HttpTally {
  /** Requests answered with status 200, by the first word of the body. */
  readonly answers: Record<string, number>;
  readonly errors: Record<string, number>;
}

/** A request counts in the window in which it was started, however late its answer comes. */
class Window implements HttpTally {
  readonly answers: Record<string, number> = {};
  readonly errors: Record<string, number> = {};
  #pending = 0;
  #settled = (): void => undefined;

  async request(url: string): Promise<void> {
    this.#pending++;
    try {
      const { status, body } = await fetchOnce(url);
      const key = status === 200 ? (body.split(/\s/)[0] ?? '') : `status ${String(status)}`;
      this.answers[key] = (this.answers[key] ?? 0) + 1;
    } catch (error) {
      const key = (error as NodeJS.ErrnoException).code ?? String(error);
      this.errors[key] = (this.errors[key] ?? 0) + 1;
    }
    if (--this.#pending === 0) this.#settled();
  }

  /** The counts, once every request of this window has ended. */
  async tally(): Promise<HttpTally> {
    if (this.#pending > 0) await new Promise<void>((resolve) => (this.#settled = resolve));
    return { answers: this.answers, errors: this.errors };
  }
}

/** `requests` GETs, one connection each, `concurrency` at a time. A failed one is counted, never repeated. */
async function barrage(options: {
  readonly url: string;
  readonly requests: number;
  readonly concurrency: number;
}): Promise<HttpTally> {
  const window = new Window();
  let left = options.requests;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await window.request(options.url);
  };
  await Promise.all(Array.from({ length: options.concurrency }, worker));
  return window.tally();
}

let current: Window | undefined;

/** Requests without end, until stopRequests. */
function startRequests({ url, concurrency }: { url: string; concurrency: number }): void {
  current = new Window();
  const worker = async (): Promise<void> => {
    while (current !== undefined) await current.request(url);
  };
  for (let i = 0; i < concurrency; i++) void worker();
}

function turnWindow(next: Window | undefined): Promise<HttpTally> {
  if (current === undefined) throw new Error('no requests run');
  const last = current;
  current = next;
  return last.tally();
}

/** Ends the counting window, begins the next, and answers the one that ended. */
const nextWindow = (): Promise<HttpTally> => turnWindow(new Window());
const stopRequests = (): Promise<HttpTally> => turnWindow(undefined);

interface Download {
  readonly backend: string;
  readonly finished: Promise<{ readonly bytes: number; readonly whole: boolean }>;
  readonly abandon: () => void;
  readonly goOn: () => void;
  bytes: number;
}
const downloads = new Map<number, Download>();
let nextId = 1;

/**
 * Starts a download and answers as soon as its headers have come, with the backend's name in X-Backend. It stops
 * half-way until the test wants it finished, so that what happens in the middle of it does so on a slow machine too.
 */
function download({ url }: { url: string }): Promise<{ id: number; backend: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent: false }, (incoming) => {
      const length = Number(incoming.headers['content-length']);
      let held = true;
      const state: Download = {
        backend: String(incoming.headers['x-backend']),
        bytes: 0,
        finished: new Promise((done) => {
          incoming.on('close', () => {
            done({ bytes: state.bytes, whole: incoming.complete && state.bytes === length });
          });
        }),
        abandon: () => incoming.destroy(),
        goOn: () => {
          held = false;
          incoming.resume();
        },
      };
      incoming.on('data', (chunk: Buffer) => {
        state.bytes += chunk.length;
        if (held && state.bytes >= length / 2) incoming.pause();
      });
      incoming.on('error', () => undefined); // shows as not whole
      const id = nextId++;
      downloads.set(id, state);
      resolve({ id, backend: state.backend });
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

function downloaded({ id }: { id: number }): number {
  return downloads.get(id)?.bytes ?? 0;
}

function finish({ id, abandon = false }: { id: number; abandon?: boolean }): Download['finished'] {
  const state = downloads.get(id);
  if (state === undefined) throw new Error(`no download ${String(id)}`);
  if (abandon) state.abandon();
  else state.goOn();
  return state.finished;
}

export const httpVerbs = {
  http,
  barrage,
  startRequests,
  nextWindow,
  stopRequests,
  download,
  downloaded,
  finish,
};
