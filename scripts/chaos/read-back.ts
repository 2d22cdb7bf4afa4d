/**
 * Reads everything: as a client that comes for the first time, by a Merkle walk of each map and a question for each
 * counter, and from Postgres itself.
 *
 * The walk only pulls: (OR)SYNC_INIT ─ root ─ bucket '' ─ buckets … leaves ─ (OR)SYNC_INIT ─ root. The two roots must be
 * equal, else somebody still writes and the walk begins anew; and the tree over what was read must have that root.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { decode } from '@msgpack/msgpack';
import { decodeFrame, encodeFrame, isMessage, type Message } from '../../gateway/testing/client-codec.ts';
import { lwwRecord, mapIn, mapsIn, numberIn, orEntry, payloadOf, textIn } from '../../gateway/testing/client-fields.ts';
import { ClientLwwMap, ClientOrMap, rootOf } from '../../gateway/testing/client-maps.ts';
import { RawWebSocket } from '../../gateway/testing/raw-websocket.ts';
import { readCounterState } from '../../engine/crdt/pn-counter.ts';
import { PgClient } from '../../workers/postgres/connection.ts';
import type { PgTarget } from '../../workers/postgres/pg-session.ts';
import { Snapshot, type StoredWrite } from './snapshot.ts';
import { COUNTERS } from './doors/counter-door.ts';
import { DOOR_MAPS } from './doors/doors.ts';
import { DATABASE_MAP } from './doors/resp-door.ts';
import { LWW_MAPS, OR_MAPS } from './write-mix.ts';

const WALK_DEADLINE_MS = 20_000;
const STORAGE_DEADLINE_MS = 30_000;
const RETRY_MS = 50;
/** Longer than a worker that stands still is noticed and replaced, on a machine that has much else to do. */
const ANSWER_MS_MAX = 30_000;

/** What clients see. Tries again while workers are replaced or writes arrive; rejects with the last reason at the deadline. */
export async function readMaps(port: number, deadlineMs = WALK_DEADLINE_MS): Promise<Snapshot> {
  const endsMs = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await readOnce(port);
    } catch (error) {
      if (performance.now() > endsMs) throw error;
      await delay(RETRY_MS);
    }
  }
}

async function readOnce(port: number): Promise<Snapshot> {
  const snapshot = new Snapshot();
  const socket = await RawWebSocket.open({ port, path: '/ws?events=interest' });
  try {
    for (const map of [...LWW_MAPS, ...DOOR_MAPS]) {
      const { records } = await walk(socket, map, new ClientLwwMap());
      for (const [key, { value, timestamp }] of records)
        noteWrite(snapshot, map, key, { stamp: timestamp, value: value === null ? undefined : JSON.stringify(value) });
    }
    for (const map of OR_MAPS) {
      const { items } = await walk(socket, map, new ClientOrMap());
      for (const [key, records] of items)
        for (const { tag, value } of records.values()) snapshot.add(map, tag, { key, value: JSON.stringify(value) });
    }
    for (const name of COUNTERS) await readCounter(socket, name, snapshot);
    return snapshot;
  } finally {
    socket.terminate();
  }
}

/** Removals of a database are forgotten after ten minutes, in memory and in Postgres not at once: they are left out. */
function noteWrite(snapshot: Snapshot, map: string, key: string, write: StoredWrite): void {
  if (map !== DATABASE_MAP || write.value !== undefined) snapshot.put(map, key, write);
}

function readCounter(socket: RawWebSocket, name: string, snapshot: Snapshot): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (text: string): void => reject(new Error(`counter ${name}: ${text}`));
    const impatience = setTimeout(() => fail('the question was not answered'), ANSWER_MS_MAX);
    void socket.closed.then(() => fail('the connection was closed'));
    socket.onMessage = (frame) => {
      const message = decodeFrame(frame);
      if (!isMessage(message)) return;
      if (message.type === 'ERROR') fail(JSON.stringify(payloadOf(message)));
      if (message.type !== 'COUNTER_RESPONSE' || payloadOf(message).name !== name) return;
      clearTimeout(impatience);
      const { positive, negative } = readCounterState(payloadOf(message).state) ?? {};
      for (const node of new Set([...(positive?.keys() ?? []), ...(negative?.keys() ?? [])]))
        snapshot.count(name, node, { positive: positive?.get(node) ?? 0, negative: negative?.get(node) ?? 0 });
      resolve();
    };
    socket.send(encodeFrame({ type: 'COUNTER_REQUEST', payload: { name } }));
  });
}

/** Fills the map with all that the server has. */
function walk<M extends ClientLwwMap | ClientOrMap>(socket: RawWebSocket, mapName: string, map: M): Promise<M> {
  return new Promise((resolve, reject) => {
    const fail = (text: string): void => reject(new Error(`${mapName}: ${text}`));
    const impatience = setTimeout(() => fail('the walk was not answered'), ANSWER_MS_MAX);
    void socket.closed.then(() => fail('the connection was closed during the walk'));
    const steps = new MapWalk(mapName, map, (message) => socket.send(encodeFrame(message)));
    socket.onMessage = (frame) => {
      try {
        const message = decodeFrame(frame);
        if (!isMessage(message) || !steps.take(message)) return;
        clearTimeout(impatience);
        resolve(map);
      } catch (error) {
        fail(error instanceof Error ? error.message : String(error));
      }
    };
    steps.begin();
  });
}

class MapWalk {
  readonly #mapName: string;
  readonly #map: ClientLwwMap | ClientOrMap;
  readonly #send: (message: Message) => void;
  readonly #prefix: string;
  /** Questions about buckets without an answer. */
  #open = 0;
  /** That the server told at the beginning. */
  #root: number | undefined;

  constructor(mapName: string, map: ClientLwwMap | ClientOrMap, send: (message: Message) => void) {
    this.#mapName = mapName;
    this.#map = map;
    this.#send = send;
    this.#prefix = map instanceof ClientOrMap ? 'ORMAP_' : '';
  }

  /** Asks for the root: the first time to begin, the second to see that nobody wrote meanwhile. */
  begin(): void {
    const empty = { lastSyncTimestamp: 0, rootHash: 0, bucketHashes: {}, claimedEpoch: 0 };
    this.#send({ type: `${this.#prefix}SYNC_INIT`, mapName: this.#mapName, ...empty });
  }

  /** Takes an answer. True when the walk is done; throws when what was read is not what the server has. */
  take(message: Message): boolean {
    switch (message.type) {
      case `${this.#prefix}SYNC_RESP_ROOT`:
        return this.#takeRoot(numberIn(payloadOf(message), 'rootHash'));
      case `${this.#prefix}SYNC_RESP_BUCKETS`: {
        const payload = payloadOf(message);
        for (const digit of Object.keys(mapIn(payload, 'buckets'))) this.#ask(textIn(payload, 'path') + digit);
        break;
      }
      case `${this.#prefix}SYNC_RESP_LEAF`:
        takeLeaf(this.#map, payloadOf(message));
        break;
      case 'ERROR':
        throw new Error(`the walk was refused: ${JSON.stringify(payloadOf(message))}`);
      default:
        return false;
    }
    this.#open -= 1;
    if (this.#open === 0) this.begin();
    return false;
  }

  #takeRoot(told: number): boolean {
    if (this.#root === undefined) {
      this.#root = told;
      this.#ask('');
      return false;
    }
    if (told !== this.#root) throw new Error('it was written during the walk');
    if (rootOf(this.#map.tree()) !== told) throw new Error('what was read does not have the root that the server tells');
    return true;
  }

  #ask(path: string): void {
    this.#open += 1;
    this.#send({ type: `${this.#prefix}MERKLE_REQ_BUCKET`, payload: { mapName: this.#mapName, path } });
  }
}

function takeLeaf(map: ClientLwwMap | ClientOrMap, payload: Message): void {
  if (map instanceof ClientLwwMap) {
    for (const item of mapsIn(payload, 'records')) map.merge(textIn(item, 'key'), lwwRecord(mapIn(item, 'record')));
    return;
  }
  for (const { key, records } of mapsIn(payload, 'entries').map(orEntry)) for (const record of records) map.apply(key, record);
}

/** What Postgres holds of the maps that are written. */
export async function readStored(target: PgTarget): Promise<Snapshot> {
  const client = new PgClient({ target, applicationName: 'lattice chaos' });
  try {
    const snapshot = new Snapshot();
    const [lww, or, counters] = await client.run(STORAGE_DEADLINE_MS, async (session) => [
      await session.rows('select map, key, millis, counter, node, value from lattice.lww'),
      await session.rows('select map, key, tag, value from lattice.or_map where not tombstone'),
      await session.rows('select name, node, positive, negative from lattice.counter'),
    ]);
    for (const row of lww ?? []) {
      const stamp = { millis: Number(row.millis), counter: Number(row.counter), nodeId: textOf(row.node) };
      noteWrite(snapshot, textOf(row.map), textOf(row.key), { stamp, value: jsonOf(row.value) });
    }
    for (const row of or ?? [])
      snapshot.add(textOf(row.map), textOf(row.tag), { key: textOf(row.key), value: jsonOf(row.value) ?? 'null' });
    for (const row of counters ?? [])
      snapshot.count(textOf(row.name), textOf(row.node), { positive: Number(row.positive), negative: Number(row.negative) });
    return snapshot;
  } finally {
    await client.close();
  }
}

/** Dead letters, which a run of valid writes must not make. */
export async function deadLetters(target: PgTarget): Promise<readonly string[]> {
  const client = new PgClient({ target, applicationName: 'lattice chaos' });
  try {
    const rows = await client.run(STORAGE_DEADLINE_MS, (session) => session.rows('select key, reason from lattice.dead_letters'));
    return rows.map((row) => `${textOf(row.key)}: ${String(row.reason)}`);
  } finally {
    await client.close();
  }
}

function textOf(bytes: unknown): string {
  if (!(bytes instanceof Uint8Array)) throw new TypeError('a column is no bytea');
  return Buffer.from(bytes).toString('utf8');
}

function jsonOf(bytes: unknown): string | undefined {
  if (bytes === null) return undefined;
  if (!(bytes instanceof Uint8Array)) throw new TypeError('a value is no bytea');
  return JSON.stringify(decode(bytes));
}
