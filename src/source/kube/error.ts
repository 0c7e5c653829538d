// Errors of requests to the API server, from its Status objects and HTTP headers.
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { messageOf } from '../../errors.ts';
import { at, isMapping, root, type Place } from '../parse/reader.ts';

export interface Answer extends Readable {
  readonly statusCode?: number | undefined;
  readonly statusMessage?: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

/** A refusal of the server, or a timeout. */
export interface Refusal {
  readonly message: string;
  readonly status?: number;
  readonly reason?: string;
  readonly retryAfterMs?: number;
  readonly causes?: readonly string[];
}

export class ApiError extends Error {
  readonly status: number;
  readonly reason: string;
  readonly retryAfterMs: number;
  readonly causes: readonly string[];

  constructor({ message, status = 0, reason = '', retryAfterMs = 0, causes = [] }: Refusal) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
    this.causes = causes;
  }
}

/** From a Status object: the body of a refused request, or the object of an ERROR event. */
export function fromStatus(raw: unknown, fallback: Refusal): Refusal {
  const status = root(raw);
  const seconds = at(status, 'details', 'retryAfterSeconds').value;
  const retryAfterMs = typeof seconds === 'number' ? seconds * 1000 : (fallback.retryAfterMs ?? 0);
  const causes = at(status, 'details', 'causes').value;
  const code = at(status, 'code').value;
  return {
    message: string(at(status, 'message')) ?? fallback.message,
    status: typeof code === 'number' ? code : (fallback.status ?? 0),
    reason: string(at(status, 'reason')) ?? '',
    retryAfterMs,
    causes: Array.isArray(causes) ? causes.flatMap((cause) => string(at(root(cause), 'reason')) ?? []) : [],
  };
}

/** Reads the small body of a refusal. If it is not JSON, the error has the HTTP status only. */
export async function readError(answer: Answer): Promise<ApiError> {
  const fallback = {
    message: `${answer.statusCode} ${answer.statusMessage}`,
    status: answer.statusCode ?? 0,
    retryAfterMs: parseRetryAfter(answer.headers['retry-after']),
  };
  try {
    return new ApiError(fromStatus(JSON.parse(await readSmall(answer)), fallback));
  } catch {
    return new ApiError(fallback);
  }
}

/** The resourceVersion is too old, or newer than the server's cache: only a new list helps. */
export function isExpired(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  const { status, reason, causes } = error;
  return (
    status === 410 || reason === 'Expired' || reason === 'Gone' || causes.includes('ResourceVersionTooLarge')
  );
}

/** The server does not know the request: it is older, or the feature gate is off. */
export function isNotSupported(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 400 || error.status === 422);
}

/** 429: a list would be one more request, and an expensive one. */
export function isTooMany(error: unknown): boolean {
  return error instanceof ApiError && error.status === 429;
}

/** The server refused this request as such. With 401, 403, 404 and 429 it would refuse a list too. */
export function isRejection(error: unknown): boolean {
  return error instanceof ApiError && error.status >= 400 && ![401, 403, 404, 429].includes(error.status);
}

/** The message of an error, with what to do about it where that is known. */
export function explain(error: unknown): string {
  if (error instanceof ApiError && error.status === 403)
    return `${error.message} (see the ClusterRole in deploy/)`;
  if (isMapping(error) && typeof error['code'] === 'string') return `${messageOf(error)} (${error['code']})`;
  return messageOf(error);
}

const maxBody = 64 * 1024;

async function readSmall(answer: Answer): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBody) break;
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Seconds → milliseconds. The form with a date, which the API server does not use, counts as 0. */
function parseRetryAfter(header: string | undefined): number {
  const seconds = Number(header);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}

function string(place: Place): string | undefined {
  return typeof place.value === 'string' && place.value !== '' ? place.value : undefined;
}
