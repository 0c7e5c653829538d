// Which HTTP status an error has, and the body {code, message} of the API's error answers.
import type { ServerResponse } from 'node:http';
import { messageOf, SluiceError, type ErrorCode } from '../errors.ts';

export interface ErrorBody {
  readonly code: string; // SLB_E_…
  readonly message: string;
}

const statuses: Readonly<Partial<Record<ErrorCode, number>>> = {
  SLB_E_API: 400,
  SLB_E_ORIGIN: 403,
  SLB_E_NOT_FOUND: 404,
};

/**
 * A SluiceError has the status of its code, 500 for most. Errors of fastify, such as a failed validation, have a
 * `statusCode` below 500 and become SLB_E_API. Anything else is a bug in the agent: 500, SLB_E_INTERNAL.
 */
export function errorAnswer(error: unknown): { readonly status: number; readonly body: ErrorBody } {
  if (error instanceof SluiceError) {
    return { status: statuses[error.code] ?? 500, body: { code: error.code, message: error.detail } };
  }
  const { statusCode: status = 500 } = (error ?? {}) as { readonly statusCode?: number };
  return { status, body: { code: status < 500 ? 'SLB_E_API' : 'SLB_E_INTERNAL', message: messageOf(error) } };
}

/** Sends errorAnswer() as JSON, for requests that do not reach fastify. */
export function sendError(response: ServerResponse, error: unknown): void {
  const { status, body } = errorAnswer(error);
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}
