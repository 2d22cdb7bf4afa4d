/**
 * What a route answers: a status, headers, and a body at once or as a stream.
 *
 * Every error has one body, `{code, error, message, retryable}`: the code is the status, as the protocol has it for POST
 * /sync, the error its name in engine/protocol/errors.ts, which never changes.
 */
import type { ErrorCode } from '../../engine/protocol/errors.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { HttpSink } from './http-sink.ts';

/** Names and values. A value never holds a line break: whoever makes one of what a client sent encodes it. */
export type Headers = readonly (readonly [string, string])[];

export interface HttpReply {
  /** Of the statuses in STATUS_TEXTS. */
  readonly status: number;
  /** Undefined where the status has none (204, 304). */
  readonly body?: string | Uint8Array;
  readonly contentType?: string;
  readonly headers?: Headers;
}

/** A body that goes on until somebody ends it. */
export interface HttpStream {
  readonly status: 200;
  readonly contentType: string;
  readonly headers?: Headers;
  /** Called once the headers are written. */
  readonly stream: (sink: HttpSink) => void;
}

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: '200 OK',
  201: '201 Created',
  202: '202 Accepted',
  204: '204 No Content',
  304: '304 Not Modified',
  400: '400 Bad Request',
  401: '401 Unauthorized',
  403: '403 Forbidden',
  404: '404 Not Found',
  405: '405 Method Not Allowed',
  406: '406 Not Acceptable',
  409: '409 Conflict',
  410: '410 Gone',
  412: '412 Precondition Failed',
  413: '413 Payload Too Large',
  415: '415 Unsupported Media Type',
  421: '421 Misdirected Request',
  422: '422 Unprocessable Content',
  429: '429 Too Many Requests',
  500: '500 Internal Server Error',
  501: '501 Not Implemented',
  503: '503 Service Unavailable',
  504: '504 Gateway Timeout',
  507: '507 Insufficient Storage',
};

export function statusLine(status: number): string {
  return STATUS_TEXTS[status] ?? String(status);
}

export const JSON_TYPE = 'application/json; charset=utf-8';

export function jsonReply(status: number, document: unknown, headers: Headers = []): HttpReply {
  return { status, body: JSON.stringify(document), contentType: JSON_TYPE, headers };
}

export function textReply(status: number, body: string): HttpReply {
  return { status, body, contentType: 'text/plain; charset=utf-8' };
}

/** Without a body. */
export function emptyReply(status: 204 | 304, headers: Headers = []): HttpReply {
  return { status, headers };
}

/** The error as its client reads it. */
export function replyOfError(error: GridError): HttpReply {
  const headers: [string, string][] = [];
  if (error.retryable && (error.status === 429 || error.status === 503)) headers.push(['Retry-After', '1']);
  if (error.status === 401) headers.push(['WWW-Authenticate', 'Bearer realm="lattice"']);
  const { status, code, message, retryable } = error;
  return jsonReply(status, { code: status, error: code, message, retryable }, headers);
}

export function errorReply(code: ErrorCode, message: string): HttpReply {
  return replyOfError(new GridError(code, message));
}
