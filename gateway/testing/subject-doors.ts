/**
 * One subject at every door of a node in one thread: a WebSocket, a Redis client, readers of events, requests by HTTP.
 *
 *   ask something at a door ─ settle ─▶ what the doors said since, one text a saying, without what no two runs have in common
 */
import { assert } from '../../engine/assert.ts';
import type { Subject } from '../../engine/domains/security/subject.ts';
import { isData } from '../../engine/protocol/codec.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { Principal } from '../authentication.ts';
import { eventsRoute } from '../http/events-route.ts';
import type { HttpReply, HttpStream } from '../http/http-reply.ts';
import type { HttpSink } from '../http/http-sink.ts';
import { mapRoutes } from '../http/maps-route.ts';
import type { Route } from '../http/route.ts';
import { syncRoute } from '../http/sync-route.ts';
import type { RespConnection } from '../resp/resp-connection.ts';
import type { RespSocket } from '../resp/resp-socket.ts';
import type { OneThreadNode, TestClient } from './one-thread-node.ts';
import { gatewayOf, settle } from './policy-node.ts';

/** Far behind all tests. */
const NEVER_SECONDS = 4_000_000_000;
const BODY_BYTES_MAX = 1 << 20;
const IDLE_MS = 60_000;

export interface Request {
  readonly method?: 'get' | 'put' | 'post' | 'delete';
  readonly parameters?: readonly string[];
  readonly query?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A reader of events who reads all at once. */
export class StreamEnd implements HttpSink {
  text = '';
  isOver = false;
  #onClosed: () => void = () => {};

  write(chunk: Uint8Array | string): boolean {
    this.text += typeof chunk === 'string' ? chunk : new TextDecoder().decode(chunk);
    return true;
  }

  bufferedBytes(): number {
    return 0;
  }

  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#onClosed();
  }

  onClosed(told: () => void): void {
    this.#onClosed = told;
  }

  onDrained(): void {}

  /** The events since the last call. */
  heard(): { readonly event: string; readonly data: Readonly<Record<string, unknown>> }[] {
    const blocks = this.text.split('\n\n');
    this.text = '';
    return blocks.flatMap((block) => {
      const [, event = '', data = ''] = /^id: .*\nevent: (.*)\ndata: (.*)$/.exec(block) ?? [];
      return event === '' ? [] : [{ event, data: Object(JSON.parse(data)) }];
    });
  }
}

/** A client of Redis that says one command at a time. */
export class RedisEnd implements RespSocket {
  readonly remoteAddress = '127.0.0.1:1';
  readonly localAddress = '127.0.0.1:2';
  unreadBytes = 0;
  /** False: what is written to it stays unread. */
  reads = true;
  readonly connection: RespConnection;
  isOpen = true;
  #said = '';

  constructor(node: OneThreadNode, principal: Principal | undefined) {
    const connection = gatewayOf(node).resp?.connected(this);
    assert(connection !== undefined, 'the node takes clients of Redis');
    this.connection = connection;
    connection.authenticate(principal, principal?.id ?? 'default');
  }

  write(bytes: Uint8Array): void {
    this.#said += new TextDecoder('latin1').decode(bytes);
    if (!this.reads) this.unreadBytes += bytes.length;
  }

  end(): void {
    this.isOpen = false;
  }

  destroy(): void {
    this.isOpen = false;
  }

  pause(): void {}

  resume(): void {}

  say(...words: readonly string[]): void {
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    this.connection.received(new TextEncoder().encode(`*${words.length}\r\n${parts.join('')}`));
  }

  /** Reads what it has left unread. */
  read(): void {
    this.unreadBytes = 0;
    this.connection.drained();
  }

  /** Bytes since the last call. */
  heard(): string {
    const said = this.#said;
    this.#said = '';
    return said;
  }
}

export class SubjectDoors {
  readonly client: TestClient;
  readonly redis: RedisEnd;
  /** Subscribes, and says nothing else. */
  readonly listener: RedisEnd;
  readonly streams: StreamEnd[] = [];
  readonly principal: Principal | undefined;
  readonly #node: OneThreadNode;
  readonly #routes: ReadonlyMap<string, Route>;

  constructor(node: OneThreadNode, subject: Subject | undefined) {
    this.#node = node;
    this.principal = subject === undefined ? undefined : { ...subject, expiresSeconds: NEVER_SECONDS };
    const { accessControl, door } = gatewayOf(node);
    this.client = node.client();
    this.client.session.principal = this.principal;
    this.client.session.access = accessControl.accessOf(this.principal);
    accessControl.listen(this.client.session, undefined);
    this.redis = new RedisEnd(node, this.principal);
    this.listener = new RedisEnd(node, this.principal);
    const routes = [
      ...mapRoutes(() => door, BODY_BYTES_MAX),
      syncRoute(() => door, BODY_BYTES_MAX),
      eventsRoute(() => door, IDLE_MS),
    ];
    this.#routes = new Map(routes.map((route) => [route.path, route]));
  }

  /** Asks by HTTP and waits for the answer; a refusal is one. */
  async http(path: string, request: Request): Promise<HttpReply | HttpStream | GridError> {
    const { method = 'get', parameters = [], query = {}, body = '', headers = {} } = request;
    const endpoint = this.#routes.get(path)?.methods[method];
    assert(endpoint !== undefined, `${method} ${path}`);
    const text = new URLSearchParams();
    for (const [name, values] of Object.entries(query)) for (const value of [values].flat()) text.append(name, value);
    const question = {
      method,
      path,
      queryText: text.toString(),
      parameters,
      header: (name: string) => headers[name] ?? '',
      address: () => '127.0.0.1',
    };
    const subject = { principal: this.principal, access: gatewayOf(this.#node).door.accessOf(this.principal), charge: () => {} };
    const asked = { question, query: undefined, subject, body: new TextEncoder().encode(body) };
    let answer: HttpReply | HttpStream | GridError | undefined;
    void answered(() => endpoint.answer(asked)).then((told) => {
      answer = told;
    });
    for (let round = 0; answer === undefined; round++) {
      assert(round < 100, `no answer to ${path}`);
      await settle(this.#node);
    }
    return answer;
  }

  /** Opens a stream of events; undefined, or why it is refused. */
  async stream(query: NonNullable<Request['query']>): Promise<StreamEnd | GridError> {
    const answer = await this.http('/events', { query });
    if (answer instanceof GridError) return answer;
    assert('stream' in answer, 'a stream');
    const end = new StreamEnd();
    answer.stream(end);
    this.streams.push(end);
    await settle(this.#node);
    return end;
  }

  /** Says a command and waits for its reply. */
  async command(...words: readonly string[]): Promise<string> {
    this.redis.say(...words);
    return this.#reply(this.redis);
  }

  /** Says a command of a subscriber and waits for what comes first. */
  async subscriber(...words: readonly string[]): Promise<string> {
    this.listener.say(...words);
    return this.#reply(this.listener);
  }

  /** Everything that came unasked since the last call: of the WebSocket, of the streams, and of the subscriber. */
  heard(): string[] {
    return [
      ...this.client.heard().map((message) => told('ws', message)),
      ...this.client.closes.splice(0).map((close) => told('ws closed', close)),
      ...this.streams.flatMap((stream, index) => stream.heard().map((event) => told(`stream ${index}`, event))),
      told('subscriber', this.listener.heard()),
    ];
  }

  async #reply(end: RedisEnd): Promise<string> {
    for (let round = 0; round < 100; round++) {
      await settle(this.#node);
      const reply = end.heard();
      if (reply !== '') return reply;
    }
    throw new Error('no reply');
  }
}

async function answered(
  ask: () => HttpReply | HttpStream | Promise<HttpReply | HttpStream>,
): Promise<HttpReply | HttpStream | GridError> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof GridError) return error;
    throw error;
  }
}

/** An answer by HTTP in a line. */
export function replyText(answer: HttpReply | HttpStream | StreamEnd | GridError): string {
  if (answer instanceof GridError) return told('refused', { code: answer.code, message: answer.message });
  if (answer instanceof StreamEnd || 'stream' in answer) return 'a stream';
  const { status, body, headers = [] } = answer;
  return told(`http ${status}`, { body: typeof body === 'string' && body !== '' ? JSON.parse(body) : body, headers });
}

/** The door and what it said, without times and names that differ from run to run. */
export function told(door: string, said: unknown): string {
  return `${door} ${JSON.stringify(steady('', said))}`;
}

/** Stamps that tests give are older. */
const SERVER_MS = 1_750_000_000_000;
/** Numbers of the whole node: they rise with what anybody does (limits of what policies hide). */
const NODE_NUMBERS = new Set([
  'sequence',
  'nextSequence',
  'fencingToken',
  'publisherId',
  'serverHlc',
  'serverSyncTimestamp',
  'metadata',
]);

function steady(name: string, value: unknown): unknown {
  if (NODE_NUMBERS.has(name)) return name;
  if (typeof value === 'number' && value > SERVER_MS) return 'now';
  if ((name === 'nextCursor' || name === 'cursor') && typeof value === 'string') return cursorOf(value);
  if (name === 'timestamp' && isData(value) && Number(value.millis) > SERVER_MS) return 'now';
  if (Array.isArray(value)) return value.map((item) => steady('', item));
  if (!isData(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([field, item]) => [field, steady(field, item)]));
}

/** What a client can read in the cursor that it got. */
function cursorOf(text: string): unknown {
  try {
    return steady('', JSON.parse(Buffer.from(text, 'base64url').toString()));
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}
