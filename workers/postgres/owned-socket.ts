/**
 * The socket under one Postgres session, made here rather than by postgres.js, so that it can be cut at a deadline.
 *
 * postgres.js never rejects some queries after a FIN, reconnects without end when the server closes before it is
 * ready, and leaves a half-closed socket behind when the other side is silent (porsager/postgres#1193, #1097). So a
 * session gets exactly one socket: its end is reported whatever listeners were removed (TLS removes them all), and
 * every further one is refused.
 */
// biome-ignore lint/style/noRestrictedImports: the one client socket of workers/, see above; listening stays in gateway/
import { Socket } from 'node:net';

export class OwnedSocket extends Socket {
  readonly #onGone: () => void;

  /** @param onGone Called once, when the socket is destroyed by whoever. */
  constructor(onGone: () => void) {
    super();
    this.#onGone = onGone;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#onGone();
    super._destroy(error, callback);
  }
}

/**
 * Starts connecting and answers at once: what is written meanwhile is queued by the socket. A failure comes as its
 * 'error' event, which postgres.js handles, whereas a rejected factory would leave its connection stuck.
 *
 * @param options What postgres.js hands to its `socket` option: `path`, or `host` and `port` as arrays.
 */
export function connectSocket(options: unknown, onGone: () => void): OwnedSocket {
  const socket = new OwnedSocket(onGone);
  const { path, host, port } = addressOf(options);
  if (path !== undefined) {
    socket.connect(path);
  } else {
    socket.connect(port, host);
    Object.assign(socket, { host, port }); // postgres.js takes the TLS server name from here
  }
  return socket;
}

/** A socket that fails on the next turn, when postgres.js has attached its listeners. */
export function refusedSocket(): Socket {
  const socket = new Socket();
  setImmediate(() => socket.destroy(Object.assign(new Error('the session is over'), { code: 'CONNECTION_ENDED' })));
  return socket;
}

function addressOf(options: unknown): { path?: string; host: string; port: number } {
  const { path, host, port } = Object(options);
  if (typeof path === 'string' && path !== '') return { path, host: '', port: 0 };
  return { host: String(Array.isArray(host) ? host[0] : host), port: Number(Array.isArray(port) ? port[0] : port) };
}
