// One GET of the agent's API.
import { get } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { isErrorCode, SluiceError, messageOf } from '../errors.ts';
import { defaultApiPort } from '../defaults.ts';
import { parseHostPort } from '../units.ts';

const answerMs = 10_000;

/** The body of a 2xx answer; everything else is an error. */
export async function getJson<Body>(api: string, path: string): Promise<Body> {
  const target = parseHostPort(api, defaultApiPort);
  if (target === undefined)
    throw new SluiceError('SLB_E_CONFIG', `--api: "${api}" is not allowed: use ADDRESS:PORT`);
  const { status, body } = await request(api, target.host, target.port, path);
  const answer = parse(api, body);
  if (status >= 200 && status < 300) return answer as Body;
  throw refusal(api, status, answer);
}

/** The agent's own words, where they are an agent's: its code says what is wrong. */
function refusal(api: string, status: number, answer: unknown): SluiceError {
  const { code, message } = (answer ?? {}) as { code?: unknown; message?: unknown };
  if (isErrorCode(code) && typeof message === 'string') return new SluiceError(code, message);
  return new SluiceError(
    'SLB_E_UNREACHABLE',
    `${api}: HTTP ${String(status)} from something else than an agent`,
  );
}

/** Pages of a list from the first to the last, or until `enough` says so. */
export async function getPages<Page extends { cursor?: string }>(
  api: string,
  path: string,
  query: Readonly<Record<string, string>>,
  enough: (pages: readonly Page[]) => boolean = () => false,
): Promise<Page[]> {
  const pages: Page[] = [];
  let cursor: string | undefined;
  do {
    const parameters = new URLSearchParams(cursor === undefined ? query : { ...query, cursor }).toString();
    const page = await getJson<Page>(api, parameters === '' ? path : `${path}?${parameters}`);
    pages.push(page);
    cursor = page.cursor;
  } while (cursor !== undefined && !enough(pages));
  return pages;
}

function request(
  api: string,
  host: string,
  port: number,
  path: string,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      reject(new SluiceError('SLB_E_UNREACHABLE', `${api}: ${messageOf(error)}`, { cause: error }));
    };
    const outgoing = get({ host, port, path, agent: false, timeout: answerMs }, (answer) => {
      collect(answer).then((body) => {
        resolve({ status: answer.statusCode ?? 0, body });
      }, fail);
    });
    outgoing.on('timeout', () =>
      outgoing.destroy(new Error(`no answer within ${String(answerMs / 1_000)} s`)),
    );
    outgoing.on('error', fail);
  });
}

async function collect(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function parse(api: string, body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (error) {
    throw new SluiceError('SLB_E_UNREACHABLE', `${api}: something else than an agent answers`, {
      cause: error,
    });
  }
}
