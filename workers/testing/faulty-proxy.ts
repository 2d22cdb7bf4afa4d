/** For tests: a TCP port in front of a Postgres socket that goes silent, closes, breaks or dawdles at a chosen moment. */
import assert from 'node:assert/strict';
// biome-ignore lint/style/noRestrictedImports: a proxy for tests
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What the proxy does with a chunk from the client. */
export type Fault = 'PASS' | 'SWALLOW' | 'FIN' | 'RESET' | 'DELAY';

export class FaultyProxy {
  /** How long a DELAY holds a chunk, and all that comes behind it, in ms. */
  delayMs = 0;
  /** Asked for each chunk that a client sends; `text` is its bytes as latin-1. */
  onClientChunk: (text: string) => Fault = () => 'PASS';
  /** False: accepts connections and closes them at once. */
  accepting = true;
  connections = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  constructor(serverPath: string) {
    this.#server = createServer((client) => this.#serve(client, serverPath));
  }

  /** Answers the port. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    assert.ok(address !== null && typeof address === 'object');
    return address.port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(client: Socket, serverPath: string): void {
    this.connections += 1;
    if (!this.accepting) {
      client.on('error', () => {});
      client.end();
      return;
    }
    const server = connect(serverPath);
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        server.destroy();
      });
    }
    server.on('data', (chunk) => client.write(chunk));
    let held: Promise<void> | undefined;
    client.on('data', (chunk: Buffer) => {
      const fault = this.onClientChunk(chunk.toString('latin1'));
      if (fault === 'DELAY') held = delay(this.delayMs);
      if (held === undefined) this.#apply(fault, chunk, client, server);
      else held = held.then(() => this.#apply(fault, chunk, client, server));
    });
  }

  #apply(fault: Fault, chunk: Buffer, client: Socket, server: Socket): void {
    if (fault === 'PASS' || fault === 'DELAY') server.write(chunk);
    if (fault === 'SWALLOW') server.removeAllListeners('data'); // silent from now on, in both directions
    if (fault === 'FIN') client.end();
    if (fault === 'RESET') client.resetAndDestroy();
  }
}
