/**
 * One request and its answer: the only file that touches a uWS request or response, beside http-sink.ts.
 *
 *   request ─ onAborted ─ refused? ─ route ─┬─ reply ───────▶ status, headers, body, in one write
 *                                           ├─ stream ──────▶ headers, then whatever its sink is given
 *                                           ├─ throw, reject ▶ 500, or the status of a GridError
 *                                           └─ too late ─────▶ 504
 *
 * A throw in a uWS handler that has neither replied nor set onAborted ends the process, whatever listens for uncaught
 * exceptions; and a response whose client has gone throws on every use. So an Exchange sets onAborted before anything
 * else, and replies at most once, and never after the client went. A body is read while it comes: what is longer than
 * allowed is refused before anything is kept for it. A large answer leaves as its client reads; where too much waits to be read by all
 * clients together, OVERLOADED is answered in its place.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { GridError } from '../../engine/protocol/errors.ts';
import { errorReply, type Headers, type HttpReply, type HttpStream, replyOfError, statusLine } from './http-reply.ts';
import { ResponseSink } from './http-sink.ts';
import type { UnreadAnswers } from './unread-answers.ts';

/** What a handler may know of a request; uWS's own request is gone at the first await. */
export interface HttpQuestion {
  /** In small letters. */
  readonly method: string;
  readonly path: string;
  /** Behind the question mark, as it came. */
  readonly queryText: string;
  /** The variable parts of the path, decoded. */
  readonly parameters: readonly string[];
  /** '' when absent; `name` in small letters. */
  header(name: string): string;
  /** Address of who is connected, as text. */
  address(): string;
}

export interface ExchangeOptions {
  /** Told of what a handler threw, unless it is a GridError, which the client may read. Must not throw. */
  readonly onFailure: (error: unknown, path: string) => void;
  /** A handler that has not answered by then is answered for. */
  readonly deadlineMs: number;
  /** Where large answers are counted until they are read. */
  readonly unread: UnreadAnswers;
}

const NO_BODY = new Uint8Array(0);
const FIRST_BODY_BYTES = 16 * 1024;
/** A larger answer leaves as its client reads, and counts until it has. */
const LARGE_BYTES = 64 * 1024;

/** Sent with every answer. */
const FIXED_HEADERS: Headers = [['X-Content-Type-Options', 'nosniff']];

const BODILESS: ReadonlySet<number> = new Set([204, 304]);

export class Exchange {
  readonly question: HttpQuestion;
  readonly #response: HttpResponse;
  readonly #options: ExchangeOptions;
  readonly #headers: [string, string][] = [];
  readonly #contentLength: number;
  /** Answered, or the client has gone. */
  #over = false;
  /** The rest of a body is not worth waiting for. */
  #closes = false;
  #sink: ResponseSink | undefined;
  /** Of a large answer that is not read. */
  #unreadBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(response: HttpResponse, request: HttpRequest, parameterCount: number, options: ExchangeOptions) {
    response.onAborted(() => {
      this.#over = true;
      clearTimeout(this.#timer);
      this.#sink?.aborted();
      this.#wasRead();
    });
    this.#response = response;
    this.#options = options;
    const headers = new Map<string, string>();
    request.forEach((name, value) => void headers.set(name, value));
    this.#contentLength = lengthOf(headers.get('content-length') ?? '0');
    const address = Buffer.from(response.getRemoteAddressAsText()).toString();
    this.question = {
      method: request.getMethod(),
      path: request.getUrl(),
      queryText: request.getQuery(),
      parameters: Array.from({ length: parameterCount }, (_, index) => decoded(request.getParameter(index) ?? '')),
      header: (name) => headers.get(name) ?? '',
      address: () => address,
    };
  }

  /** Adds a header to whatever will be answered. */
  addHeader(name: string, value: string): void {
    this.#headers.push([name, value]);
  }

  /**
   * The whole body. Call it in the turn in which the request came. While `ready` is pending nothing is read from the
   * socket, beyond what came along with the headers. Rejects with GridError FRAME_TOO_LARGE, or BAD_REQUEST for a length that is
   * none, and then the connection ends with the answer.
   */
  body(bytesMax: number, ready: Promise<unknown> | undefined): Promise<Uint8Array> {
    const tooLarge = (): GridError => {
      this.#closes = true;
      return new GridError('FRAME_TOO_LARGE', `a body of more than ${bytesMax} bytes`);
    };
    if (Number.isNaN(this.#contentLength)) {
      this.#closes = true;
      return Promise.reject(new GridError('BAD_REQUEST', 'Content-Length is no number of bytes'));
    }
    if (this.#contentLength > bytesMax) return Promise.reject(tooLarge());
    return new Promise((resolve, reject) => {
      let body = NO_BODY;
      let length = 0;
      this.#response.onData((chunk, isLast) => {
        if (length + chunk.byteLength > bytesMax) {
          length = bytesMax; // whatever follows is too much as well
          return reject(tooLarge());
        }
        if (length + chunk.byteLength > body.length) {
          const wanted = Math.max(this.#contentLength, body.length * 2, length + chunk.byteLength, isLast ? 0 : FIRST_BODY_BYTES);
          body = grown(body, Math.min(wanted, bytesMax));
        }
        body.set(new Uint8Array(chunk), length);
        length += chunk.byteLength;
        if (isLast) resolve(body.subarray(0, length));
      });
      if (ready === undefined) return;
      this.#response.pause();
      const resume = (): void => {
        if (!this.#over) this.#response.resume();
      };
      ready.then(resume, resume);
    });
  }

  /** Says why, as an HTTP status line such as `403 Forbidden`. */
  refuse(line: string): void {
    const code = line.startsWith('503') ? 'UNAVAILABLE' : 'FORBIDDEN';
    this.reply(errorReply(code, `refused: ${line.slice(4)}`));
  }

  reply(reply: HttpReply | HttpStream): void {
    if (this.#over) return;
    clearTimeout(this.#timer);
    if ('stream' in reply && this.question.method !== 'head') this.#begin(reply);
    else this.#write('stream' in reply ? { ...reply, body: '' } : reply);
  }

  replyLater(reply: Promise<HttpReply | HttpStream>): void {
    const { deadlineMs } = this.#options;
    this.#timer = setTimeout(() => {
      this.#closes = true; // a body may still be on its way
      this.reply(errorReply('DEADLINE_EXCEEDED', `no answer within ${deadlineMs} ms`));
    }, deadlineMs);
    this.#timer.unref();
    reply.then((settled) => this.reply(settled)).catch((error: unknown) => this.fail(error));
  }

  fail(error: unknown): void {
    if (error instanceof GridError) return this.reply(replyOfError(error));
    this.#options.onFailure(error, this.question.path);
    this.reply(errorReply('INTERNAL', 'internal error'));
  }

  #write(reply: HttpReply): void {
    const { body } = reply;
    this.#over = true;
    if (body !== undefined && body.length > LARGE_BYTES && !this.#closes && this.question.method !== 'head') {
      const bytes = typeof body === 'string' ? Buffer.from(body) : body;
      if (this.#options.unread.takes(bytes.length)) this.#writeLarge(reply, bytes);
      else this.#write(errorReply('OVERLOADED', 'too many large answers wait to be read'));
      return;
    }
    this.#response.cork(() => {
      this.#writeHead(reply);
      // Only where a status says that there is no body may its length be left out: clients wait for it otherwise. Left out,
      // not undefined: that would be written as a length of 2^63, for which clients wait too.
      if (body === undefined && BODILESS.has(reply.status) && !this.#closes) this.#response.endWithoutBody();
      else if (body === undefined) this.#response.endWithoutBody(0, this.#closes);
      else if (this.question.method === 'head') this.#response.endWithoutBody(Buffer.byteLength(body), this.#closes);
      else this.#response.end(body, this.#closes);
    });
  }

  #writeLarge(reply: HttpReply, body: Uint8Array): void {
    this.#options.unread.add(body.length);
    this.#unreadBytes = body.length;
    const writeFrom = (offset: number): boolean => {
      const [isTaken, isDone] = this.#response.tryEnd(body.subarray(offset), body.length);
      if (isDone) this.#wasRead();
      return isTaken;
    };
    this.#response.onWritable(writeFrom);
    this.#response.cork(() => {
      this.#writeHead(reply);
      writeFrom(0);
    });
  }

  #wasRead(): void {
    this.#options.unread.remove(this.#unreadBytes);
    this.#unreadBytes = 0;
  }

  #begin(reply: HttpStream): void {
    this.#sink = new ResponseSink(this.#response);
    this.#response.cork(() => this.#writeHead(reply));
    reply.stream(this.#sink);
  }

  #writeHead({ status, contentType, headers = [] }: HttpReply | HttpStream): void {
    this.#response.writeStatus(statusLine(status));
    if (contentType !== undefined) this.#response.writeHeader('Content-Type', contentType);
    if (!headers.some(([name]) => name === 'Cache-Control')) this.#response.writeHeader('Cache-Control', 'no-store');
    for (const [name, value] of [...FIXED_HEADERS, ...this.#headers, ...headers]) this.#response.writeHeader(name, value);
  }
}

/** NaN for what is no length: uWS looks at the first of several Content-Length only, and this may be another. */
function lengthOf(text: string): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}

function grown(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(length);
  larger.set(bytes);
  return larger;
}

/** A part of a path as it was meant. What is no UTF-8 is kept as it came, and names nothing. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (error instanceof URIError) return part;
    throw error;
  }
}
