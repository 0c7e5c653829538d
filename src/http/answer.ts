// Answers of servers that need no framework: a status, a type and a text for each path.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { messageOf } from '../errors.ts';
import { errorAnswer } from './errors.ts';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Question {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Of the connection; a socket for both families has connections of each. */
  readonly family: 4 | 6;
}

/** Undefined: 404. */
export type Answerer = (question: Question) => Answer | undefined | Promise<Answer>;

export type Answers = Readonly<Record<string, (question: Question) => Answer | Promise<Answer>>>;

export const plainText = 'text/plain; charset=utf-8';

/** Picks the answer by the path; other paths get 404. */
export function byPath(answers: Answers): Answerer {
  return (question) =>
    Object.hasOwn(answers, question.path) ? answers[question.path]?.(question) : undefined;
}

const methods = ['GET', 'HEAD'];
const notAllowed: Answer = {
  status: 405,
  type: plainText,
  body: 'only GET and HEAD\n',
  headers: { allow: methods.join(', ') },
};

/**
 * Answers GET and HEAD; other methods get 405. Node drops the body of a request, and the connection ends with the
 * answer.
 */
export async function respond(
  answer: Answerer,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { status, type, body, headers } = methods.includes(request.method ?? '')
    ? await answered(answer, questionOf(request))
    : notAllowed;
  const length = String(Buffer.byteLength(body));
  const common = { 'content-type': type, 'content-length': length, 'x-content-type-options': 'nosniff' };
  response.writeHead(status, { ...common, ...headers });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function questionOf({ url = '/', socket }: IncomingMessage): Question {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  return { path, query: new URLSearchParams(mark < 0 ? '' : url.slice(mark)), family: familyOf(socket) };
}

/** A socket for both families shows IPv4 peers as ::ffff:a.b.c.d. */
function familyOf({ localAddress = '' }: Socket): 4 | 6 {
  return localAddress.includes('.') ? 4 : 6;
}

async function answered(answer: Answerer, question: Question): Promise<Answer> {
  try {
    return (await answer(question)) ?? { status: 404, type: plainText, body: 'not found\n' };
  } catch (error) {
    return { status: errorAnswer(error).status, type: plainText, body: `${messageOf(error)}\n` };
  }
}
