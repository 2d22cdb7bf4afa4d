/**
 * A TCP port in front of a Postgres socket, where everything goes wrong that goes wrong on a network.
 *
 *   pass        bytes flow                        refuse      new connections are reset
 *   latency     each piece waits, order is kept   black hole  nothing moves, nothing ends, new connections are silent
 *   cut         after so many bytes the connection at hand ends: by FIN, or by RST in the middle of a message
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export type ProxyMode = 'pass' | 'latency' | 'black hole' | 'refuse';

/** Ends the connection that carries the byte, counted over all connections from now. */
export interface Cut {
  bytesLeft: number;
  readonly by: 'FIN' | 'RST';
}

export class FaultyProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #mode: ProxyMode = 'pass';
  #latencyMs = 0;
  #cut: Cut | undefined;
  /** Connections that were ended by us. */
  cuts = 0;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** Listens on a free port of loopback. `path` is the unix socket of Postgres. */
  static async open(path: string): Promise<FaultyProxy> {
    const server = createServer({ noDelay: true, pauseOnConnect: true });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const proxy = new FaultyProxy(server, address.port);
    server.on('connection', (client) => proxy.#join(client, path));
    return proxy;
  }

  /** Takes effect at once, on connections that stand as well. */
  set(mode: ProxyMode, latencyMs = 0): void {
    this.#mode = mode;
    this.#latencyMs = latencyMs;
    this.#cut = undefined;
    for (const socket of this.#sockets) {
      if (mode === 'black hole') socket.pause();
      else socket.resume();
      if (mode === 'refuse') reset(socket);
    }
  }

  /** Lets `bytes` more through, then ends that connection; the next ones are served. */
  cutAfter(bytes: number, by: Cut['by']): void {
    this.set('pass');
    this.#cut = { bytesLeft: bytes, by };
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(client: Socket, path: string): void {
    if (this.#mode === 'refuse') return void client.on('error', () => {}).resetAndDestroy();
    const postgres = connect(path);
    for (const [from, to] of [
      [client, postgres],
      [postgres, client],
    ] as const) {
      this.#sockets.add(from);
      let waiting = 0;
      let last: Promise<void> = Promise.resolve();
      from.on('data', (piece: Buffer) => {
        const latencyMs = this.#mode === 'latency' ? this.#latencyMs : 0;
        if (latencyMs === 0 && waiting === 0) return this.#forward(from, to, piece);
        waiting += 1; // also without latency: no piece may overtake another
        last = last.then(async () => {
          await delay(latencyMs);
          waiting -= 1;
          this.#forward(from, to, piece);
        });
      });
      from.on('error', () => {}); // 'close' follows
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
    if (this.#mode === 'black hole') postgres.pause();
    else client.resume();
  }

  #forward(from: Socket, to: Socket, piece: Buffer): void {
    const cut = this.#cut;
    if (cut !== undefined && piece.length > cut.bytesLeft) {
      to.write(piece.subarray(0, cut.bytesLeft));
      this.#cut = undefined;
      this.cuts += 1;
      for (const socket of [from, to]) {
        if (cut.by === 'FIN') socket.end();
        else reset(socket);
      }
      return;
    }
    if (cut !== undefined) cut.bytesLeft -= piece.length;
    if (to.write(piece)) return;
    from.pause();
    to.once('drain', () => {
      if (this.#mode !== 'black hole') from.resume();
    });
  }
}

/** A unix socket has no RST. */
function reset(socket: Socket): void {
  if (socket.remoteFamily === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
