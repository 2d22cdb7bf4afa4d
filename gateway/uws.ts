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

/** Binds the port for this app alone; `done` gets false when that is not possible. */
export function listenExclusively(
  app: TemplatedApp,
  host: string,
  port: number,
  done: (socket: us_listen_socket | false) => void,
): void {
  app.listen(host, port, LIBUS_LISTEN_EXCLUSIVE_PORT, done);
}
