// HTTP from inside a namespace: the agent's API, and the demo's many small requests.
import { request, type RequestOptions } from 'node:http';
import { within } from './actor-tcp.ts';

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

/** `requests` GETs, one connection each, `concurrency` at a time. A failed one is counted, never repeated. */
async function barrage(options: {
  readonly url: string;
  readonly requests: number;
  readonly concurrency: number;
}): Promise<HttpTally> {
  const answers: Record<string, number> = {};
  const errors: Record<string, number> = {};
  let left = options.requests;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      try {
        const { status, body } = await fetchOnce(options.url);
        const key = status === 200 ? (body.split(/\s/)[0] ?? '') : `status ${String(status)}`;
        answers[key] = (answers[key] ?? 0) + 1;
      } catch (error) {
        const key = (error as NodeJS.ErrnoException).code ?? String(error);
        errors[key] = (errors[key] ?? 0) + 1;
      }
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, worker));
  return { answers, errors };
}

export const httpVerbs = { http, barrage };
