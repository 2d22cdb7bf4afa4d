/**
 * The clients of W4: some connections with a part of the views each, as a client keeps them: QUERY_RESP replaces, LEAVE deletes,
 * anything else sets. Events of the map, which come as well, are counted and not decoded.
 */
import { decode, encode, isData } from '../../engine/protocol/codec.ts';
import { RawWebSocket } from '../../gateway/testing/raw-websocket.ts';
import type { TodoModel } from './todo-model.ts';

const QUERY_SIGN = 'QUERY_';
const QUERY_SIGN_WITHIN_BYTES = 24;

export interface ViewEvents {
  /** A row of a view came with the write of this number. */
  readonly onRow: (write: number) => void;
}

export class TodoViews {
  /** QUERY_UPDATE messages. */
  updates = 0;
  bytesDown = 0;
  responses = 0;
  /** The first thing that a right server never does, in words. */
  fault: string | undefined;
  readonly #sockets: RawWebSocket[] = [];
  /** By owner: key → write. */
  readonly #views: Map<string, number>[];
  readonly #events: ViewEvents;

  constructor(owners: number, events: ViewEvents) {
    this.#events = events;
    this.#views = Array.from({ length: owners }, () => new Map<string, number>());
  }

  /** @param pathOf the path of the connection with this number. */
  async open(port: number, connections: number, pathOf: (connection: number) => string): Promise<void> {
    for (let connection = 0; connection < connections; connection++) {
      const socket = await RawWebSocket.open({ port, path: pathOf(connection) });
      socket.onMessage = (message) => this.#take(message);
      void socket.closed.then(({ code, reason }) => {
        this.fault ??= `a connection was closed with ${code} ${reason}`;
      });
      this.#sockets.push(socket);
    }
  }

  /** Asks for the view of each owner. */
  subscribe(mapName: string): void {
    for (let owner = 0; owner < this.#views.length; owner++) {
      const query = { where: { owner, done: false }, sort: [{ field: 'ts', direction: 'asc' }], limit: 50 };
      const message = { type: 'QUERY_SUB', payload: { queryId: queryIdOf(owner), mapName, query } };
      this.#sockets[owner % this.#sockets.length]?.send(encode(message).slice());
    }
  }

  /** Views that are not what they must be. */
  wrongViews(model: TodoModel): number {
    let wrong = 0;
    for (const [owner, view] of this.#views.entries()) {
      const wanted = model.view(owner);
      if (wanted.length !== view.size || !wanted.every(({ key, value }) => view.get(key) === value.write)) wrong += 1;
    }
    return wrong;
  }

  close(): void {
    for (const socket of this.#sockets) socket.terminate();
  }

  #take(message: Uint8Array): void {
    this.bytesDown += message.length;
    const head = Buffer.from(message.buffer, message.byteOffset, Math.min(message.length, QUERY_SIGN_WITHIN_BYTES));
    if (!head.includes(QUERY_SIGN)) return;
    const { type, payload } = fieldsOf(decode(message));
    const { queryId, results, key, value, changeType } = fieldsOf(payload);
    const view = this.#views[ownerOf(String(queryId))];
    if (view === undefined) throw new Error(`an unknown query ${String(queryId)}`);
    if (type === 'QUERY_RESP') {
      this.responses += 1;
      view.clear();
      for (const row of Array.isArray(results) ? results : []) {
        const { key: rowKey, value: rowValue } = fieldsOf(row);
        view.set(String(rowKey), Number(fieldsOf(rowValue).write));
      }
      return;
    }
    this.updates += 1;
    this.#change(view, String(changeType), String(key), value);
  }

  #change(view: Map<string, number>, type: string, key: string, value: unknown): void {
    if (view.has(key) === (type === 'ENTER'))
      this.fault ??= `${type} of ${key}, which ${type === 'ENTER' ? 'is' : 'is not'} there`;
    if (type === 'LEAVE') {
      view.delete(key);
      return;
    }
    const write = Number(fieldsOf(value).write);
    view.set(key, write);
    this.#events.onRow(write);
  }
}

export function queryIdOf(owner: number): string {
  return `view-${String(owner).padStart(4, '0')}`;
}

function ownerOf(queryId: string): number {
  return Number(queryId.slice('view-'.length));
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  if (!isData(value)) throw new Error('a message that is no map');
  return value;
}
