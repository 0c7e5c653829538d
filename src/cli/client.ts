// Requests to the REST API of the agent.
import { get } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { isErrorCode, SluiceError, messageOf } from '../errors.ts';
import { printable } from '../units.ts';
import { addressesOf, parseTarget } from './target.ts';

const idleTimeoutMs = 10_000;
const totalTimeoutMs = 60_000;
const maxBytes = 64 << 20; // a page has at most 1 000 Services

interface Answer {
  readonly status: number;
  readonly body: string;
}

/**
 * GET of a path. A 2xx answer must have `field`, or it is not an agent that answers. Throws SLB_E_UNREACHABLE, or the
 * error that the agent answered.
 */
export async function getJson<Body extends object>(
  api: string,
  path: string,
  field: keyof Body & string,
): Promise<Body> {
  const { status, body } = await ask(api, path);
  const answer = parse(body);
  if (status >= 200 && status < 300 && answer !== undefined && field in answer) return answer as Body;
  throw refusal(api, status, answer);
}

/** The agent's error, if the answer has one of its codes. */
function refusal(api: string, status: number, answer: object | undefined): SluiceError {
  const { code, message } = (answer ?? {}) as { code?: unknown; message?: unknown };
  if (isErrorCode(code) && typeof message === 'string') return new SluiceError(code, printable(message));
  const detail = `${api}: the server there is not the API of an agent (HTTP ${String(status)}): is the port right?`;
  return new SluiceError('SLB_E_UNREACHABLE', detail);
}

/** The pages of a list, up to the last one or until `enough`. Throws as getJson(). */
export async function getPages<Page extends { cursor?: string }>(
  api: string,
  path: string,
  field: keyof Page & string,
  query: Readonly<Record<string, string>>,
  enough: (pages: readonly Page[]) => boolean = () => false,
): Promise<Page[]> {
  const pages: Page[] = [];
  let cursor: string | undefined;
  do {
    const parameters = new URLSearchParams(cursor === undefined ? query : { ...query, cursor }).toString();
    const page = await getJson<Page>(api, parameters === '' ? path : `${path}?${parameters}`, field);
    pages.push(page);
    cursor = page.cursor;
  } while (cursor !== undefined && !enough(pages));
  return pages;
}

/** At the first address of the name that answers. */
async function ask(api: string, path: string): Promise<Answer> {
  const target = parseTarget(api);
  let failure: unknown;
  for (const host of await addressesOf(target)) {
    try {
      return await request({ host, port: target.port, path });
    } catch (error) {
      failure = error;
    }
  }
  const detail = `${api}: ${explain(failure)}`;
  throw new SluiceError('SLB_E_UNREACHABLE', detail, { cause: failure });
}

function explain(error: unknown): string {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (code.startsWith('HPE_')) return 'the server there does not speak HTTP: is the port right?';
  if (code === 'ECONNRESET') return 'the connection was closed without an answer: is the port right?';
  return messageOf(error);
}

function request(where: { host: string; port: number; path: string }): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const giveUp = (ms: number): void => {
      outgoing.destroy(new Error(`no whole answer within ${String(ms / 1_000)} s`));
    };
    const outgoing = get({ ...where, agent: false, timeout: idleTimeoutMs }, (answer) => {
      collect(answer).then((body) => {
        resolve({ status: answer.statusCode ?? 0, body });
      }, reject);
    });
    const timer = setTimeout(() => giveUp(totalTimeoutMs), totalTimeoutMs);
    outgoing.on('close', () => clearTimeout(timer));
    outgoing.on('timeout', () => giveUp(idleTimeoutMs));
    outgoing.on('error', reject);
  });
}

async function collect(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    size += (chunk as Buffer).length;
    if (size > maxBytes) throw new Error(`an answer of more than ${String(maxBytes)} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(body: string): object | undefined {
  try {
    const value = JSON.parse(body) as unknown;
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
