/**
 * A TCP port in front of a Postgres socket, so that a test can take the database away and give it back.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

interface Line {
  reachable: boolean;
  /** Bytes from Postgres that went through, and how many may. */
  answeredBytes: number;
  answerBytesMax: number;
}

export class PostgresProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  readonly #line: Line;

  private constructor(port: number, server: Server, sockets: Set<Socket>, line: Line) {
    this.port = port;
    this.#server = server;
    this.#sockets = sockets;
    this.#line = line;
  }

  /** Listens on a free port of loopback. `path` is the unix socket of Postgres. */
  static async open(path: string): Promise<PostgresProxy> {
    const sockets = new Set<Socket>();
    const line: Line = { reachable: true, answeredBytes: 0, answerBytesMax: Number.POSITIVE_INFINITY };
    const keep = (socket: Socket): void => {
      sockets.add(socket);
      socket.on('error', () => {}); // 'close' follows
      socket.on('close', () => sockets.delete(socket));
    };
    const server = createServer({ noDelay: true }, (client) => {
      keep(client);
      if (!line.reachable) return void client.destroy();
      const postgres = connect(path);
      keep(postgres);
      client.on('close', () => postgres.destroy());
      postgres.on('close', () => client.destroy());
      client.pipe(postgres);
      postgres.on('data', (chunk) => {
        client.write(chunk);
        line.answeredBytes += chunk.length;
        if (line.answeredBytes >= line.answerBytesMax) postgres.pause();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return new PostgresProxy(address.port, server, sockets, line);
  }

  /** From the next `bytes` bytes on, Postgres is not heard any more until `restore`. */
  holdAnswersAfter(bytes: number): void {
    this.#line.answerBytesMax = this.#line.answeredBytes + bytes;
  }

  /** Takes Postgres away: every connection ends, new ones are cut at once. */
  cut(): void {
    this.#line.reachable = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  restore(): void {
    this.#line.reachable = true;
    this.#line.answerBytesMax = Number.POSITIVE_INFINITY;
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
