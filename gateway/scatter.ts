/**
 * Map-wide questions: asked of every worker at once, answered to the client when all have answered.
 *
 *   SYNC_INIT           leaves of the whole map ─ add ─ fold to the root          SYNC_RESP_ROOT
 *   MERKLE_REQ_BUCKET   leaves under the path   ─ add ─ fold to 16 buckets        SYNC_RESP_BUCKETS
 *                       path of three digits: the records of the leaf             SYNC_RESP_LEAF
 *   ORMAP_*             the same for OR-Maps; PUSH_DIFF goes to the keys' owners  ORMAP_*
 *
 * The server decides where a walk ends: a small LWW map is answered with its records at once.
 */
import { addSums, firstLeafOf, foldBuckets, foldRoot, isPath, leafCountOf } from '../engine/crdt/merkle-tree.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { encode } from '../engine/protocol/codec.ts';
import { REQUEST_LEAF, REQUEST_LEAVES, REQUEST_OR_DIFF, REQUEST_OR_PUSH } from '../engine/protocol/envelope.ts';
import { ERROR_CODES } from '../engine/protocol/errors.ts';
import { MessageWriter } from '../engine/protocol/msgpack-writer.ts';
import { encodeText } from '../engine/protocol/wire-text.ts';
import type { PushedRecord, PushRights } from '../engine/domains/sync/sync-service.ts';
import { KIND_LWW, type RecordKind } from '../engine/storage/record.ts';
import type { Gather } from './call-table.ts';
import type { GrantScope } from './grant-scope.ts';
import type { Session } from './session.ts';
import type { WorkerCalls } from './worker-calls.ts';
import type { WorkerLinks } from './worker-links.ts';

/** LWW maps of up to this size are sent whole instead of walked; by a walk a slow client comes closer each time it is cut. */
const WHOLE_MAP_RECORDS_MAX = 64;
const WHOLE_MAP_BYTES_MAX = 64 * 1024;
const LEAVES = 4096;

export interface Timestamp {
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
}

export interface ScatterOptions {
  readonly calls: WorkerCalls;
  readonly links: WorkerLinks;
  readonly enqueue: (session: Session, frame: Uint8Array) => void;
  readonly sendError: (session: Session, status: number, message: string) => void;
  /** The server's clock, for the client's to follow. */
  readonly now: () => Timestamp;
}

/** An entry of `ORMAP_PUSH_DIFF` as it came. */
export interface PushEntry {
  readonly key: string;
  readonly records: readonly PushedRecord[];
  readonly tombstones: readonly string[];
}

export class Scatter {
  readonly #options: ScatterOptions;

  constructor(options: ScatterOptions) {
    this.#options = options;
  }

  /** Answers with the root of the map; `fullResync`, asked with the root, says whether an OR-Map's client starts afresh. False when the question must wait. */
  root(session: Session, mapName: string, kind: RecordKind, scope: number, fullResync: (rootHash: number) => boolean): boolean {
    return this.#leaves(session, mapName, kind, '', scope, ({ sums }) => {
      const type = kind === KIND_LWW ? 'SYNC_RESP_ROOT' : 'ORMAP_SYNC_RESP_ROOT';
      const rootHash = foldRoot(sums);
      const payload = {
        mapName,
        rootHash,
        timestamp: this.#options.now(),
        ...(fullResync(rootHash) ? { fullResync: true } : {}),
      };
      this.#send(session, { type, payload });
    });
  }

  /** Answers with the 16 buckets under the path, or with the records when the walk ends here. */
  bucket(session: Session, mapName: string, kind: RecordKind, path: string, scope: number): boolean {
    if (!isPath(path)) return true; // an unknown path is not answered; the client ignores what it does not know, too
    if (path.length === 3) return this.#leaf(session, mapName, kind, path, scope);
    return this.#leaves(session, mapName, kind, path, scope, (leaves) => {
      const isSmall = leaves.records <= WHOLE_MAP_RECORDS_MAX && leaves.bytes <= WHOLE_MAP_BYTES_MAX;
      if (kind === KIND_LWW && isSmall && this.#leaf(session, mapName, kind, path, scope)) return;
      const buckets: Record<string, number> = {};
      for (const [digit, hash] of bucketHashes(leaves, path)) buckets[digit] = hash;
      const type = kind === KIND_LWW ? 'SYNC_RESP_BUCKETS' : 'ORMAP_SYNC_RESP_BUCKETS';
      this.#send(session, { type, payload: { mapName, path, buckets } });
    });
  }

  /** Answers with the entries of the keys. */
  diff(session: Session, mapName: string, keys: readonly string[], scope: number): boolean {
    const body = encode({ map: encodeText(mapName), keys, scope }).slice();
    return this.#ask(
      session,
      REQUEST_OR_DIFF,
      () => body,
      new ItemsGather(this, session, 'ORMAP_DIFF_RESPONSE', mapName, undefined),
    );
  }

  /** Hands pushed entries to the owners of their keys, and all tombstones to every worker. Answers only to correct. */
  push(session: Session, mapName: string, entries: readonly PushEntry[], writerListens: boolean, rights: PushRights): boolean {
    const { links } = this.#options;
    const tombstones = [...new Set(entries.flatMap((entry) => entry.tombstones))];
    const byWorker: PushEntry[][] = Array.from({ length: links.count }, () => []);
    for (const entry of entries) {
      if (!entry.key.isWellFormed()) continue; // would not cross the ring as it is; such a key is written by ops alone
      byWorker[links.table.ownerOf(partitionOf(fnv1a(entry.key)))]?.push(entry);
    }
    const gather = new ItemsGather(this, session, 'ORMAP_DIFF_RESPONSE', mapName, undefined, true);
    const map = encodeText(mapName);
    const bodyOf = (worker: number): Uint8Array => {
      const own = (byWorker[worker] ?? []).map(({ key, records }) => ({ key, records }));
      return encode({ map, entries: own, tombstones, writerListens, ...rights }).slice();
    };
    return this.#ask(session, REQUEST_OR_PUSH, bodyOf, gather);
  }

  /** Sends what a gather put together. */
  deliver(session: Session, frame: Uint8Array): void {
    if (session.isOpen) this.#options.enqueue(session, frame);
  }

  /** Says that a question failed. */
  fail(session: Session, error: number, what: string): void {
    if (session.isOpen) this.#options.sendError(session, 503, `${ERROR_CODES[error] ?? 'UNAVAILABLE'}: ${what}`);
  }

  #leaves(
    session: Session,
    mapName: string,
    kind: RecordKind,
    prefix: string,
    scope: number,
    done: (leaves: MapLeaves) => void,
  ): boolean {
    const body = encode({ map: encodeText(mapName), kind, prefix, scope }).slice();
    return this.#ask(session, REQUEST_LEAVES, () => body, new LeavesGather(this, session, mapName, done));
  }

  #leaf(session: Session, mapName: string, kind: RecordKind, path: string, scope: number): boolean {
    const body = encode({ map: encodeText(mapName), kind, prefix: path, scope }).slice();
    const type = kind === KIND_LWW ? 'SYNC_RESP_LEAF' : 'ORMAP_SYNC_RESP_LEAF';
    return this.#ask(session, REQUEST_LEAF, () => body, new ItemsGather(this, session, type, mapName, path));
  }

  #ask(session: Session, kind: number, bodyOf: (worker: number) => Uint8Array, gather: Gather): boolean {
    const { calls } = this.#options;
    if (!calls.ask(session, kind, calls.everyone, bodyOf, gather)) return false;
    session.leavesTraces = true; // answers that take their time
    return true;
  }

  #send(session: Session, message: object): void {
    this.deliver(session, encode(message).slice());
  }
}

/** The leaves of a map, of all workers together. */
interface MapLeaves {
  readonly sums: Uint32Array;
  /** 1 for each leaf with records, of tombstones too, which an OR-Map does not hash. */
  readonly present: Uint8Array;
  readonly records: number;
  readonly bytes: number;
}

/**
 * A bucket of nothing but tombstones has the hash 0: a client that has nothing there passes it by, and one that missed
 * the removals sees that it differs and comes for them.
 */
function bucketHashes({ sums, present }: MapLeaves, path: string): Iterable<[string, number]> {
  const hashes = foldBuckets(sums, path);
  const buckets: [string, number][] = [];
  for (let digit = 0; digit < 16; digit++) {
    const hash = hashes[digit] ?? 0;
    const child = path + digit.toString(16);
    const first = firstLeafOf(child);
    if (hash !== 0 || present.subarray(first, first + leafCountOf(child)).includes(1)) buckets.push([digit.toString(16), hash]);
  }
  return buckets;
}

/** Adds the leaf sums of all workers. */
class LeavesGather implements Gather {
  readonly #scatter: Scatter;
  readonly #session: Session;
  readonly #guard: GrantScope | undefined;
  readonly #mapName: string;
  readonly #done: (leaves: MapLeaves) => void;
  readonly #sums = new Uint32Array(LEAVES);
  readonly #present = new Uint8Array(LEAVES);
  #records = 0;
  #bytes = 0;
  #error = -1;

  constructor(scatter: Scatter, session: Session, mapName: string, done: (leaves: MapLeaves) => void) {
    this.#scatter = scatter;
    this.#session = session;
    this.#guard = session.access.guard;
    this.#mapName = mapName;
    this.#done = done;
  }

  answered(_worker: number, error: number, body: Uint8Array): void {
    if (error >= 0) {
      this.#error = error;
      return;
    }
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    this.#records += view.getUint32(0, true);
    this.#bytes += view.getUint32(4, true);
    const sums = new Uint32Array(LEAVES);
    for (let at = 8; at + 8 <= body.byteLength; at += 8) {
      const leaf = view.getUint32(at, true);
      sums[leaf] = view.getUint32(at + 4, true);
      this.#present[leaf] = 1;
    }
    addSums(this.#sums, sums);
  }

  complete(): void {
    if (this.#session.access.guard !== this.#guard) return; // asked with other rights: the client is told to ask anew
    if (this.#error >= 0) this.#scatter.fail(this.#session, this.#error, `sync of map ${this.#mapName}`);
    else this.#done({ sums: this.#sums, present: this.#present, records: this.#records, bytes: this.#bytes });
  }

  expired(): void {
    this.#scatter.fail(this.#session, ERROR_CODES.indexOf('DEADLINE_EXCEEDED'), `sync of map ${this.#mapName}`);
  }
}

/** Bytes of items that wait for those of other workers, to be one frame with them. */
const ITEMS_KEPT_BYTES_MAX = 64 * 1024;

/**
 * Puts the items of all workers into frames: `records` of an LWW leaf or `entries` of an OR-Map. The client merges each, so what is more
 * than a little leaves as it comes: an answer may be longer than anybody may keep.
 */
class ItemsGather implements Gather {
  readonly #scatter: Scatter;
  readonly #session: Session;
  readonly #guard: GrantScope | undefined;
  readonly #type: string;
  readonly #mapName: string;
  readonly #path: string | undefined;
  readonly #onlyIfAny: boolean;
  readonly #parts: Uint8Array[] = [];
  #keptBytes = 0;
  #hasSent = false;
  #error = -1;

  constructor(scatter: Scatter, session: Session, type: string, mapName: string, path: string | undefined, onlyIfAny = false) {
    this.#scatter = scatter;
    this.#session = session;
    this.#guard = session.access.guard;
    this.#type = type;
    this.#mapName = mapName;
    this.#path = path;
    this.#onlyIfAny = onlyIfAny;
  }

  answered(_worker: number, error: number, body: Uint8Array): void {
    if (error >= 0) this.#error = error;
    else if (itemsIn(body) > 0) this.#take(body);
  }

  complete(): void {
    if (this.#session.access.guard !== this.#guard) return; // asked with other rights: the client is told to ask anew
    if (this.#error >= 0) {
      this.#scatter.fail(this.#session, this.#error, `${this.#type} of map ${this.#mapName}`);
      return;
    }
    if (this.#parts.length > 0 || !(this.#hasSent || this.#onlyIfAny)) this.#send();
  }

  expired(): void {
    this.#scatter.fail(this.#session, ERROR_CODES.indexOf('DEADLINE_EXCEEDED'), `${this.#type} of map ${this.#mapName}`);
  }

  #take(part: Uint8Array): void {
    if (this.#session.access.guard !== this.#guard) return;
    this.#parts.push(part);
    this.#keptBytes += part.length;
    if (this.#keptBytes > ITEMS_KEPT_BYTES_MAX) this.#send();
  }

  #send(): void {
    this.#scatter.deliver(this.#session, this.#frame(this.#parts));
    this.#parts.length = 0;
    this.#keptBytes = 0;
    this.#hasSent = true;
  }

  #frame(parts: readonly Uint8Array[]): Uint8Array {
    const out = new MessageWriter();
    out.mapHeader(2);
    out.string('type');
    out.string(this.#type);
    out.string('payload');
    out.mapHeader(this.#path === undefined ? 2 : 3);
    out.string('mapName');
    out.string(this.#mapName);
    if (this.#path !== undefined) {
      out.string('path');
      out.string(this.#path);
    }
    out.string(this.#type === 'SYNC_RESP_LEAF' ? 'records' : 'entries');
    out.arrayHeader(parts.reduce((items, part) => items + itemsIn(part), 0));
    for (const part of parts) out.raw(part, 4, part.length - 4);
    return out.bytes.slice(0, out.length);
  }
}

function itemsIn(part: Uint8Array): number {
  return new DataView(part.buffer, part.byteOffset, part.byteLength).getUint32(0, true);
}
