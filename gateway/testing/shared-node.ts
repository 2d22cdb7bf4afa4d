/**
 * One grid with a Postgres of its own for all tests of a file: started before the first, stopped after the last.
 *
 * What connects through it is closed at the end; a grid that gave up by itself fails the file.
 */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import type { Config } from '../../engine/config.ts';
import { opAck, type OpAck, payloadOf } from './client-fields.ts';
import type { Message } from './client-codec.ts';
import { startGrid, type TestGrid, testStorage, type TestStorage } from './test-grid.ts';
import { TopGunClient } from './topgun-client.ts';
import { WireSession } from './wire-session.ts';

export class SharedNode {
  #node: TestGrid | undefined;
  #storage: TestStorage | undefined;
  readonly #ends: (() => void)[] = [];

  /** Call it at the top of a file. */
  constructor(overrides: Partial<Config> = {}) {
    before(async () => {
      this.#storage = await testStorage();
      this.#node = await startGrid({ ...this.#storage.config, store: 'write-behind', workerThreads: 2, ...overrides });
    });
    after(async () => {
      for (const end of this.#ends) end();
      await this.#node?.grid.stop();
      await this.#storage?.close();
      assert.deepEqual(this.#node?.fatal, []);
    });
  }

  get port(): number {
    return this.#node?.port ?? 0;
  }

  get storage(): TestStorage {
    if (this.#storage === undefined) throw new Error('the node is not started');
    return this.#storage;
  }

  /** A connection by hand. */
  async wire(path = '/ws', port = this.port): Promise<WireSession> {
    const session = await WireSession.open({ port, path });
    this.#ends.push(() => session.socket.terminate());
    return session;
  }

  /** A client that is not connected yet. */
  client(nodeId: string, port = this.port): TopGunClient {
    const client = new TopGunClient({ port, nodeId });
    this.#ends.push(() => client.close());
    return client;
  }
}

/** Sends the ops as one batch and answers with the next acknowledgement. */
export async function ackOf(session: WireSession, ...ops: readonly Message[]): Promise<OpAck> {
  session.sendOps(...ops);
  return opAck(payloadOf(await session.next('OP_ACK')));
}
