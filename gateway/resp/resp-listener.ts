/**
 * The TCP port of the Redis door: sockets of node:net, each with its connection.
 *
 * With a certificate the port speaks TLS (node:tls), and a connection begins when its handshake is over.
 *
 *   data ─ connection.received ─ requests in the rings ─ `onWritten`: whoever sleeps at their other end is woken
 */
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, Server as TlsServer } from 'node:tls';
import { GridError } from '../../engine/protocol/errors.ts';
import type { RespDoor } from './resp-door.ts';
import type { RespSocket } from './resp-socket.ts';

/** Who has not shaken hands by then is cut off. */
const HANDSHAKE_MS = 10_000;

export interface RespListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly door: RespDoor;
  /** Certificate and key in PEM form; undefined: the port speaks plainly. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  /** Told of bytes that were taken. */
  readonly onWritten: (bytes: number) => void;
}

export class RespListener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens. Rejects with GridError UNAVAILABLE when the port cannot be bound. */
  static listen({ host, port, door, tls, onWritten }: RespListenerOptions): Promise<RespListener> {
    const noDelay = true;
    const server =
      tls === undefined
        ? createServer({ noDelay })
        : createTlsServer({ noDelay, cert: tls.cert, key: tls.key, handshakeTimeout: HANDSHAKE_MS });
    const listener = new RespListener(server);
    server.on(tls === undefined ? 'connection' : 'secureConnection', (socket) => listener.#accept(socket, door, onWritten));
    if (tls !== undefined) server.on('connection', (socket) => listener.#keep(socket));
    return new Promise((resolve, reject) => {
      // Once it listens, nobody is told: a connection could not be accepted, for want of descriptors, and the next one may be.
      server.on('error', (error) => {
        reject(new GridError('UNAVAILABLE', `${host}:${port} cannot be bound for Redis clients: ${error.message}`));
      });
      server.listen({ host, port, exclusive: true }, () => resolve(listener));
    });
  }

  /** New connections get this certificate. */
  renew({ cert, key }: { readonly cert: Buffer; readonly key: Buffer }): void {
    if (this.#server instanceof TlsServer) this.#server.setSecureContext({ cert, key });
  }

  /** Takes no more connections. */
  stop(): void {
    this.#server.close();
  }

  /** Ends every connection. */
  destroy(): void {
    this.stop();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** A connection whose handshake is under way. */
  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #accept(socket: Socket, door: RespDoor, onWritten: (bytes: number) => void): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy()); // a reset connection is closed, as any other
    const connection = door.connected(new NetSocket(socket));
    socket.on('close', () => {
      this.#sockets.delete(socket);
      if (connection !== undefined) door.closed(connection);
    });
    if (connection === undefined) return;
    socket.on('data', (chunk: Buffer) => {
      connection.received(chunk);
      onWritten(chunk.length);
    });
    socket.on('drain', () => {
      connection.drained();
      onWritten(0);
    });
  }
}

class NetSocket implements RespSocket {
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.remoteAddress = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`;
    this.localAddress = `${socket.localAddress ?? ''}:${socket.localPort ?? 0}`;
  }

  get unreadBytes(): number {
    return this.#socket.writableLength;
  }

  write(bytes: Uint8Array): void {
    if (this.#socket.writable) this.#socket.write(bytes);
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }
}
