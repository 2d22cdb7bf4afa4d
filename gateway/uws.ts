/**
 * What uWebSockets.js offers and its types, as packed for npm, leave out: an exclusive bind, and sharing accepted sockets.
 */
import { LIBUS_LISTEN_EXCLUSIVE_PORT } from 'uWebSockets.js';
import type { TemplatedApp, us_listen_socket } from 'uWebSockets.js';

declare module 'uWebSockets.js' {
  /** Bind fails when somebody else listens on the port. */
  const LIBUS_LISTEN_EXCLUSIVE_PORT: number;

  interface TemplatedApp {
    listen(host: string, port: number, options: number, cb: (listenSocket: us_listen_socket | false) => void): TemplatedApp;
    /** Names this app for `addChildAppDescriptor` of an app on another thread. */
    getDescriptor(): number;
    /** From now on sockets that this app accepts go to its children in turn. */
    addChildAppDescriptor(descriptor: number): TemplatedApp;
  }
}

/** Below the ports that systems give to outgoing connections, so that nobody takes the port between two starts. */
const ANY_PORT_MIN = 12_000;
const ANY_PORT_MAX = 32_000;
const ANY_PORT_ATTEMPTS = 100;

/**
 * Binds the port for this app alone; `done` gets false when that is not possible. Port 0 takes a free one, chosen here:
 * uWS leaves SO_REUSEADDR out for 0, and then the port cannot be bound again for a minute after connections on it.
 */
export function listenExclusively(
  app: TemplatedApp,
  host: string,
  port: number,
  done: (socket: us_listen_socket | false) => void,
  attemptsLeft: number = ANY_PORT_ATTEMPTS,
): void {
  const chosen = port === 0 ? ANY_PORT_MIN + Math.floor(Math.random() * (ANY_PORT_MAX - ANY_PORT_MIN)) : port;
  app.listen(host, chosen, LIBUS_LISTEN_EXCLUSIVE_PORT, (socket) => {
    if (socket === false && port === 0 && attemptsLeft > 1) listenExclusively(app, host, 0, done, attemptsLeft - 1);
    else done(socket);
  });
}
