/**
 * A TCP port in front of a Postgres socket, so that a test can take the database away and give it back.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class PostgresProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  readonly #reachable: { value: boolean };

  private constructor(port: number, server: Server, sockets: Set<Socket>, reachable: { value: boolean }) {
    this.port = port;
    this.#server = server;
    this.#sockets = sockets;
    this.#reachable = reachable;
  }

  /** Listens on a free port of loopback. `path` is the unix socket of Postgres. */
  static async open(path: string): Promise<PostgresProxy> {
    const sockets = new Set<Socket>();
    const reachable = { value: true };
    const keep = (socket: Socket): void => {
      sockets.add(socket);
      socket.on('error', () => {}); // 'close' follows
      socket.on('close', () => sockets.delete(socket));
    };
    const server = createServer({ noDelay: true }, (client) => {
      keep(client);
      if (!reachable.value) return void client.destroy();
      const postgres = connect(path);
      keep(postgres);
      client.on('close', () => postgres.destroy());
      postgres.on('close', () => client.destroy());
      client.pipe(postgres).pipe(client);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return new PostgresProxy(address.port, server, sockets, reachable);
  }

  /** Takes Postgres away: every connection ends, new ones are cut at once. */
  cut(): void {
    this.#reachable.value = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  restore(): void {
    this.#reachable.value = true;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
