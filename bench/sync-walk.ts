/**
 * A client that catches up by the Merkle walk, made for measuring: it keeps hashes and leaf sums, and no values.
 *
 *   SYNC_INIT ─▶ root ─┬─ equal ─▶ done
 *                      └─▶ bucket '' ─▶ the buckets that differ ─▶ … ─▶ leaves ─▶ sums follow ─▶ root equal: done
 *
 * Questions follow one another as the answers come, so the same answers in the same order make the same walk: a server that
 * plays recorded frames back gives the price of moving the same bytes. Source: docs/PROTOCOL.md §5.5.
 */
import { leafOf, foldBuckets, foldRoot, LEAVES } from '../engine/crdt/merkle-tree.ts';
import { fmix32, fnv1a } from '../engine/partition/hash.ts';
import { type Data, decode, encode, isData } from '../engine/protocol/codec.ts';
import { RawWebSocket } from '../gateway/testing/raw-websocket.ts';

const WALK_DEADLINE_MS = 120_000;

export interface WalkReport {
  readonly ms: number;
  /** Frames of the server, in the order in which they came. */
  readonly frames: readonly Uint8Array[];
  readonly bytesDown: number;
  readonly bytesUp: number;
  readonly questions: number;
  /** Records that came, wanted or not. */
  readonly records: number;
}

export class SyncWalker {
  readonly #mapName: string;
  /** Key → hash of its entry. */
  readonly #hashes = new Map<string, number>();
  readonly #sums = new Uint32Array(LEAVES);

  constructor(mapName: string) {
    this.#mapName = mapName;
  }

  get records(): number {
    return this.#hashes.size;
  }

  get root(): number {
    return foldRoot(this.#sums);
  }

  /** Walks over a connection of its own. Rejects when the roots differ at the end, or it takes too long. */
  async walk(port: number): Promise<WalkReport> {
    const socket = await RawWebSocket.open({ port, path: '/ws?events=interest' });
    try {
      return await new Walk(socket, this.#mapName, this.#sums, (key, hash) => this.#put(key, hash)).run();
    } finally {
      socket.terminate();
    }
  }

  #put(key: string, hash: number): void {
    const leaf = leafOf(fnv1a(key));
    const before = this.#hashes.get(key);
    this.#hashes.set(key, hash);
    const delta = fmix32(hash) - (before === undefined ? 0 : fmix32(before));
    this.#sums[leaf] = ((this.#sums[leaf] as number) + delta) >>> 0;
  }
}

class Walk {
  readonly #socket: RawWebSocket;
  readonly #mapName: string;
  readonly #sums: Uint32Array;
  readonly #put: (key: string, hash: number) => void;
  readonly #frames: Uint8Array[] = [];
  #bytesUp = 0;
  #questions = 0;
  #open = 0;
  #records = 0;
  #serverRoot = 0;

  constructor(socket: RawWebSocket, mapName: string, sums: Uint32Array, put: (key: string, hash: number) => void) {
    this.#socket = socket;
    this.#mapName = mapName;
    this.#sums = sums;
    this.#put = put;
  }

  async run(): Promise<WalkReport> {
    const beganMs = performance.now();
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the walk took more than ${WALK_DEADLINE_MS} ms`)), WALK_DEADLINE_MS);
      void this.#socket.closed.then(({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`)));
      this.#socket.onMessage = (frame) => {
        try {
          if (!this.#take(frame)) return;
          clearTimeout(timer);
          resolve();
        } catch (cause) {
          reject(cause);
        }
      };
      this.#ask({ type: 'SYNC_INIT', mapName: this.#mapName, lastSyncTimestamp: 0 });
    });
    const ms = performance.now() - beganMs;
    const root = foldRoot(this.#sums);
    if (root !== this.#serverRoot) throw new Error(`the roots differ at the end: ${root} here, ${this.#serverRoot} there`);
    const bytesDown = this.#frames.reduce((sum, { length }) => sum + length, 0);
    return { ms, frames: this.#frames, bytesDown, bytesUp: this.#bytesUp, questions: this.#questions, records: this.#records };
  }

  /** True when the walk is done. */
  #take(frame: Uint8Array): boolean {
    this.#frames.push(frame);
    const message = decode(frame);
    if (!isData(message) || !isData(message.payload)) throw new Error('a frame that is no message');
    const { type, payload } = message;
    this.#open -= 1;
    if (type === 'SYNC_RESP_ROOT') this.#root(payload);
    else if (type === 'SYNC_RESP_BUCKETS') this.#buckets(payload);
    else if (type === 'SYNC_RESP_LEAF') this.#leaf(payload);
    else throw new Error(`an unexpected ${String(type)}`);
    return this.#open === 0;
  }

  #root({ rootHash }: Data): void {
    this.#serverRoot = Number(rootHash);
    if (this.#serverRoot !== foldRoot(this.#sums)) this.#askBucket('');
  }

  #buckets({ path, buckets }: Data): void {
    const at = String(path);
    const own = foldBuckets(this.#sums, at);
    if (!isData(buckets)) throw new Error('buckets without hashes');
    for (const digit of Object.keys(buckets)) {
      if (Number(buckets[digit]) !== own[Number.parseInt(digit, 16)]) this.#askBucket(at + digit);
    }
  }

  #leaf({ records }: Data): void {
    if (!Array.isArray(records)) throw new Error('a leaf without records');
    for (const item of records as Data[]) {
      const { key, record } = item;
      if (typeof key !== 'string' || !isData(record) || !isData(record.timestamp)) throw new Error('a record without its clock');
      const { millis, counter, nodeId } = record.timestamp;
      this.#put(key, fnv1a(`${key}:${String(millis)}:${String(counter)}:${String(nodeId)}`));
      this.#records += 1;
    }
  }

  #askBucket(path: string): void {
    this.#ask({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: this.#mapName, path } });
  }

  #ask(message: object): void {
    const frame = encode(message).slice();
    this.#open += 1;
    this.#questions += 1;
    this.#bytesUp += frame.length;
    this.#socket.send(frame);
  }
}
