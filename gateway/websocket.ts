/**
 * WebSocket upgrades at `/` and `/ws`, and the connections behind them. The only file that touches a uWS socket.
 *
 * The message's ArrayBuffer is gone when the callback returns, so everything up to the ring write happens inside it.
 * A closed socket throws on every use: a Connection forgets its socket on close and then does nothing.
 */
import type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t, WebSocket } from 'uWebSockets.js';
import { isPriority, type Priority } from '../engine/operation/priority.ts';
import type { Connection, Dialled } from './connection.ts';
import type { Session } from './session.ts';

export interface WebSocketEvents {
  /** Undefined refuses the connection: there are too many. */
  opened(connection: Connection, byInterest: boolean, priority: Priority): Session | undefined;
  /** `frame` is valid during the call only. */
  message(session: Session, frame: Uint8Array, isBinary: boolean): void;
  /** The kernel took what was buffered. */
  drained(session: Session): void;
  closed(session: Session): void;
}

export interface WebSocketOptions {
  readonly frameBytesMax: number;
  /** Hard bound of unread bytes; the gateway closes softer and earlier (outgoing.ts). */
  readonly unreadBytesMax: number;
  readonly idleTimeoutMs: number;
  /** The port speaks TLS. */
  readonly isSecure: boolean;
  /** Why an upgrade is refused, as an HTTP status line, or undefined. */
  readonly refuses: (origin: string, host: string) => string | undefined;
}

/** Where a socket keeps its session beside its user data: reading that calls into C++ for each frame. */
const SESSION: unique symbol = Symbol('session');

declare module 'uWebSockets.js' {
  interface WebSocket<UserData> {
    [SESSION]?: Session | undefined;
  }
}

interface SocketData {
  readonly byInterest: boolean;
  readonly priority: Priority;
  readonly dialled: Dialled;
  connection: WebSocketConnection | undefined;
  session: Session | undefined;
}

/** What `send` answers when nothing is left over. */
const SENT = 1;

class WebSocketConnection implements Connection {
  readonly dialled: Dialled;
  #socket: WebSocket<SocketData> | undefined;

  constructor(socket: WebSocket<SocketData>, dialled: Dialled) {
    this.#socket = socket;
    this.dialled = dialled;
  }

  send(frame: Uint8Array): boolean {
    return this.#socket?.send(frame, true) === SENT;
  }

  cork(write: () => void): void {
    this.#socket?.cork(write);
  }

  end(code: number, reason: string): void {
    this.#socket?.end(code, reason);
  }

  bufferedBytes(): number {
    return this.#socket?.getBufferedAmount() ?? 0;
  }

  forget(): void {
    this.#socket = undefined;
  }
}

/** The hard bound leaves room for the frame that passed the soft one, which may be longer than any that came, and the goodbye. */
const FRAMES_BEYOND = 4;

/** uWS counts idle time in steps of 4 s and wants 8 at least; the gateway's own reaper decides, this is its backstop. */
const IDLE_BACKSTOP_S = 240;

/** Adds the WebSocket routes to an app. */
export function serveWebSocket(app: TemplatedApp, options: WebSocketOptions, events: WebSocketEvents): void {
  const behavior = {
    compression: 0,
    maxPayloadLength: options.frameBytesMax,
    maxBackpressure: options.unreadBytesMax + FRAMES_BEYOND * options.frameBytesMax,
    closeOnBackpressureLimit: true,
    idleTimeout: Math.min(960, Math.max(IDLE_BACKSTOP_S, Math.ceil(options.idleTimeoutMs / 1000) + 60)),
    sendPingsAutomatically: false,
    upgrade: (response: HttpResponse, request: HttpRequest, context: us_socket_context_t) =>
      upgrade(options, response, request, context),
    open: (socket: WebSocket<SocketData>) => {
      const session = opened(socket, events);
      socket[SESSION] = session;
    },
    message: (socket: WebSocket<SocketData>, message: ArrayBuffer, isBinary: boolean) => {
      const session = socket[SESSION];
      if (session !== undefined) events.message(session, new Uint8Array(message), isBinary);
    },
    drain: (socket: WebSocket<SocketData>) => {
      const session = socket.getUserData().session;
      if (session !== undefined) events.drained(session);
    },
    close: (socket: WebSocket<SocketData>) => {
      const data = socket.getUserData();
      data.connection?.forget();
      if (data.session !== undefined) events.closed(data.session);
    },
  };
  app.ws<SocketData>('/', behavior);
  app.ws<SocketData>('/ws', behavior);
}

function upgrade(options: WebSocketOptions, response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
  const refusal = options.refuses(request.getHeader('origin'), request.getHeader('host'));
  if (refusal !== undefined) {
    response.writeStatus(refusal).end();
    return;
  }
  const priority = request.getQuery('priority') ?? '';
  const data: SocketData = {
    byInterest: request.getQuery('events') === 'interest',
    priority: isPriority(priority) ? priority : 'normal',
    dialled: dialledOf(request, options.isSecure),
    connection: undefined,
    session: undefined,
  };
  response.upgrade(
    data,
    request.getHeader('sec-websocket-key'),
    '', // no sub-protocol is ever chosen
    request.getHeader('sec-websocket-extensions'),
    context,
  );
}

function dialledOf(request: HttpRequest, isSecure: boolean): Dialled {
  const query: string | undefined = request.getQuery(); // undefined where there is none, whatever its type says
  return {
    host: request.getHeader('host'),
    path: request.getUrl() + (query === undefined || query === '' ? '' : `?${query}`),
    isSecure: isSecure || request.getHeader('x-forwarded-proto') === 'https',
  };
}

function opened(socket: WebSocket<SocketData>, events: WebSocketEvents): Session | undefined {
  const data = socket.getUserData();
  data.connection = new WebSocketConnection(socket, data.dialled);
  data.session = events.opened(data.connection, data.byInterest, data.priority);
  if (data.session === undefined) socket.end(1013, 'too many connections');
  return data.session;
}
