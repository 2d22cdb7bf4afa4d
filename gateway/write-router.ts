/**
 * From a scanned frame of writes to the rings of the workers that own its keys.
 *
 *   rows ─ check, number the map, find the worker ─┬─ all to one worker: packed straight into its ring
 *                                                  └─ several, or large: per worker, in parts
 *
 * What crosses is packed (packed-op.ts): what merging needs of an op, and of its map's name only where the map changes.
 *
 * The hot path makes no object and no string. What is unusual (refused ops, ids that are no plain numbers or do not
 * rise by one, asked levels) is noted in the call's details, which only then exist.
 */
import {
  FLAG_EMPTY,
  FLAG_INVALID,
  FLAG_JUDGED,
  FLAG_WRITER_LISTENS,
  OP,
  OP_KIND_MASK,
  OP_OR_REMOVE,
  OP_PUT,
  OP_REMOVE,
  OP_WORDS,
  type OpIndex,
  type FrameIds,
  type RowKernel,
} from '../engine/protocol/op-index.ts';
import { NO_SCOPE } from '../engine/domains/security/access.ts';
import { bytesWhenPacked, type PackMemory, packMemory, packOp } from '../engine/protocol/packed-op.ts';
import { CALL_NONE, ENVELOPE_BYTES, FLAG_MORE, RECORD_OPS, SCOPE_SHIFT, writeEnvelope } from '../engine/protocol/envelope.ts';
import { errorNumber } from '../engine/protocol/errors.ts';
import { partitionOf } from '../engine/partition/hash.ts';
import { type ClockQuarantine, QUARANTINE_NODE_BYTES_MAX, QUARANTINE_NODES_MAX } from '../engine/crdt/clock-quarantine.ts';
import { FULL } from '../workers/ring.ts';
import type { RingWriter } from '../workers/ring-writer.ts';
import type { BatchDetails, CallTable } from './call-table.ts';
import { clockOwner } from './clock-owner.ts';
import { ALLOWED, BY_ROW, DENIED, type GrantScope, REMOVE, WRITE } from './grant-scope.ts';
import type { MapNames } from './map-names.ts';
import type { Session } from './session.ts';
import type { WorkerLinks } from './worker-links.ts';

/** Larger parts of one call would make others wait for the copy. */
const PART_BYTES_MAX = 256 * 1024;
/** Map, key and tag together are a primary key in Postgres. */
const IDENTITY_BYTES_MAX = 2048;
const NODE_BYTES_MAX = 256;
/** Up to here words are copied one by one: a view for `set` costs more. */
const WORD_COPY_BYTES_MAX = 384;

const INVALID_OPERATION = errorNumber('INVALID_OPERATION');
const FORBIDDEN = errorNumber('FORBIDDEN');
const KEY_TOO_LARGE = errorNumber('KEY_TOO_LARGE');

/** What became of a frame. */
export type Routed =
  /** On its way; the call will be answered. */
  | 'sent'
  /** No op in it goes to a worker: the call can be settled at once. */
  | 'settled'
  /** No room now: try the same frame again later. */
  | 'held'
  /** A worker that it would go to does not answer. */
  | 'refused';

/** The details of the call in a slot, made when first asked for. */
export type DetailsOf = (slot: number) => BatchDetails;

export class WriteRouter {
  readonly #links: WorkerLinks;
  readonly #maps: MapNames;
  readonly #calls: CallTable;
  readonly #quarantine: ClockQuarantine;
  readonly #partBytesMax: number;
  /** Worker of each op of the frame at hand, -1 for ops that go to none. */
  #workers = new Int32Array(256);
  /** Bytes of the ops of the frame at hand when they go to one worker. */
  #packedBytes = 0;
  /** Bit per worker that gets a part. */
  #targets = 0;
  /** Call id and flags of the records of the frame at hand. */
  #callId = CALL_NONE;
  #opsFlags = 0;
  /** By which the rows of the frame at hand are judged; NO_SCOPE when none is. */
  #scope: number = NO_SCOPE;
  /** The worker that had no room, after `route` answered 'held'. */
  heldFor = -1;
  /** The worker that does not answer, after `route` answered 'refused'. */
  refusedBy = -1;
  readonly #ids: FrameIds = { high: 0, low: 0, dense: true, cost: 0, latestMillis: 0 };

  constructor(links: WorkerLinks, maps: MapNames, calls: CallTable, quarantine: ClockQuarantine) {
    this.#links = links;
    this.#maps = maps;
    this.#calls = calls;
    this.#quarantine = quarantine;
    this.#partBytesMax = Math.min(PART_BYTES_MAX, ...links.writers.map(({ ring }) => ring.recordBytesMax - ENVELOPE_BYTES));
  }

  /** Reads the ids of the frame. The answer is valid until the next call. */
  ids(index: OpIndex, highestSeen: number): FrameIds {
    const ids = this.#ids;
    if (index.kernel !== undefined) {
      index.kernel.ids(highestSeen, ids);
      return ids;
    }
    ids.high = 0;
    ids.low = 0;
    ids.dense = true;
    ids.cost = 0;
    ids.latestMillis = 0;
    let previous = 0;
    for (let op = 0; op < index.count; op++) {
      const row = op * OP_WORDS;
      const id = plainNumber(index.bytes, index.words[row + OP.ID_START] as number, index.words[row + OP.ID_BYTES] as number);
      if (id === 0 || id > highestSeen) ids.cost += 1;
      if (id === 0 || (op > 0 && id !== previous + 1)) ids.dense = false;
      if (id > 0 && (ids.low === 0 || id < ids.low)) ids.low = id;
      if (id > ids.high) ids.high = id;
      previous = id;
      const millis = index.floats[(row >> 1) + OP.MILLIS_F64] as number;
      if (millis > ids.latestMillis && ((index.words[row + OP.FLAGS] as number) & 2) === 0) ids.latestMillis = millis;
    }
    return ids;
  }

  /** Clocks of the writer that are too far ahead and have no fixed offset yet, each as its node id and its owner; empty almost always. */
  wildClocks(session: Session, index: OpIndex, latestMillis: number): { node: Uint8Array; millis: number }[] {
    const owner = clockOwner(session.principal);
    const wild: { node: Uint8Array; millis: number }[] = [];
    for (let op = 0; op < index.count; op++) {
      const row = op * OP_WORDS;
      if (!((index.floats[(row >> 1) + OP.MILLIS_F64] as number) > latestMillis)) continue;
      if (((index.words[row + OP.FLAGS] as number) & 2) !== 0) continue; // tags and stamps of OR-Maps stay as they are
      const start = index.words[row + OP.NODE_START] as number;
      const end = start + (index.words[row + OP.NODE_BYTES] as number);
      if (this.#quarantine.offsetOf(index.bytes, start, end, owner) !== 0 || !this.#canQuarantine(end - start, wild.length))
        continue;
      const node = new Uint8Array(end - start + owner.length);
      node.set(index.bytes.subarray(start, end), 0);
      node.set(owner, end - start);
      wild.push({ node, millis: index.floats[(row >> 1) + OP.MILLIS_F64] as number });
    }
    return wild;
  }

  /** Marks LWW ops as invalid whose clock is too far ahead and cannot be given an offset, or is so with its offset. Rare. */
  refuseWildClocks(session: Session, index: OpIndex, latestMillis: number): void {
    const owner = clockOwner(session.principal);
    for (let op = 0; op < index.count; op++) {
      const row = op * OP_WORDS;
      const flags = index.words[row + OP.FLAGS] as number;
      const millis = index.floats[(row >> 1) + OP.MILLIS_F64] as number;
      if ((flags & 2) !== 0 || !(millis > latestMillis)) continue;
      const start = index.words[row + OP.NODE_START] as number;
      const end = start + (index.words[row + OP.NODE_BYTES] as number);
      const offsetMs = this.#quarantine.offsetOf(index.bytes, start, end, owner);
      if (offsetMs !== 0 && millis + offsetMs <= latestMillis) continue;
      index.words[row + OP.FLAGS] = flags | FLAG_INVALID;
    }
  }

  #canQuarantine(nodeBytes: number, asked: number): boolean {
    return nodeBytes <= QUARANTINE_NODE_BYTES_MAX && this.#quarantine.nodes + asked < QUARANTINE_NODES_MAX;
  }

  /**
   * Sends the ops of the frame to their workers as the call in `slot`. Nothing is sent when the answer is 'held' or 'refused'.
   * Ops that no worker may see are noted in `details`, which is made by `detailsOf` when they are first needed.
   */
  route(session: Session, index: OpIndex, slot: number, listens: boolean, detailsOf: DetailsOf): Routed {
    if (!this.#quarantine.isEmpty) this.#correctClocks(session, index);
    const guard = session.access.guard;
    this.#scope = guard === undefined ? NO_SCOPE : this.#guard(session, guard, index, detailsOf, slot);
    const only = this.#assign(index, slot, listens, detailsOf, guard !== undefined);
    if (this.#targets === 0) return 'settled';
    this.refusedBy = this.#links.firstRefused(this.#targets);
    if (this.refusedBy >= 0) return 'refused';
    for (let worker = 0; worker < this.#links.count; worker++) {
      if ((this.#targets & (1 << worker)) === 0 || this.#links.takes(worker)) continue;
      this.heldFor = worker;
      return 'held';
    }
    this.#calls.waiting[slot] = this.#targets;
    const levels = this.#calls.details[slot]?.levels;
    this.#opsFlags = levels === undefined ? 0 : levels.opsFlags;
    this.#opsFlags |= this.#scope << SCOPE_SHIFT;
    // Whoever forgets gets no answers, and its slot is soon another's: with an id, late answers could run through all generations.
    this.#callId = levels?.forgets === true ? CALL_NONE : this.#calls.callId(slot);
    if (only >= 0) {
      if (index.kernel !== undefined) this.#packedBytes = index.kernel.pack();
      if (this.#packedBytes <= this.#partBytesMax) return this.#sendWhole(session, index, slot, only);
    }
    for (let worker = 0; worker < this.#links.count; worker++) {
      if ((this.#targets & (1 << worker)) !== 0) this.#sendParts(session, index, slot, worker);
    }
    return 'sent';
  }

  /** Workers there are. */
  get workers(): number {
    return this.#links.count;
  }

  /** The worker that owns the key with this hash. */
  ownerOf(keyHash: number): number {
    return this.#links.table.ownerOf(partitionOf(keyHash));
  }

  /** Finds each op's worker. Returns the worker when every op goes to the same one, else -1. */
  #assign(index: OpIndex, slot: number, listens: boolean, detailsOf: DetailsOf, isGuarded: boolean): number {
    if (index.count > this.#workers.length) this.#workers = new Int32Array(index.count * 2);
    const workers = this.#workers;
    const { bytes, words } = index;
    const writerListens = listens ? FLAG_WRITER_LISTENS : 0;
    const hasOneWorker = this.#links.count === 1;
    const packsLater = index.kernel !== undefined;
    this.#targets = 0;
    let only = -2;
    let packedBytes = 0;
    let mapId = 0;
    for (let op = 0; op < index.count; op++) {
      const row = op * OP_WORDS;
      // What is denied may name a map that has no number, and gets none.
      const isEmpty = ((words[row + OP.FLAGS] as number) & FLAG_EMPTY) !== 0;
      const isDenied = isGuarded && isEmpty && detailsOf(slot).rejected.get(op) === FORBIDDEN;
      const error = isDenied ? FORBIDDEN : this.#check(bytes, words, row);
      let worker = -1;
      if (error >= 0) detailsOf(slot).rejected.set(op, error);
      else if (!isEmpty) {
        worker = hasOneWorker ? 0 : this.ownerOf(words[row + OP.KEY_HASH] as number);
        words[row + OP.FLAGS] = (words[row + OP.FLAGS] as number) | writerListens;
        this.#targets |= 1 << worker;
        if (!packsLater) packedBytes += bytesWhenPacked(words, row, words[row + OP.MAP_ID] !== mapId);
        mapId = words[row + OP.MAP_ID] as number;
      }
      workers[op] = worker;
      if (only === -2) only = worker;
      else if (only !== worker) only = -1;
    }
    this.#packedBytes = packedBytes;
    return only;
  }

  /** Asks the policies about each op: what is denied is rejected, what depends on the row is marked. Answers the scope that judges it. */
  #guard(session: Session, guard: GrantScope, index: OpIndex, detailsOf: DetailsOf, slot: number): number {
    const { bytes, words } = index;
    const mayWrite = (name: string): boolean => guard.decideName(WRITE, name) !== DENIED;
    const mayRemove = (name: string): boolean => guard.decideName(REMOVE, name) !== DENIED;
    let isJudged = false;
    for (let op = 0; op < index.count; op++) {
      const row = op * OP_WORDS;
      const flags = words[row + OP.FLAGS] as number;
      const action = isRemoval(flags, words[row + OP.VALUE_BYTES] as number) ? REMOVE : WRITE;
      const error = this.#check(bytes, words, row, action === WRITE ? mayWrite : mayRemove);
      if (error >= 0 && error !== FORBIDDEN) continue; // is rejected for that
      const decision = error === FORBIDDEN ? DENIED : guard.decideMap(action, words[row + OP.MAP_ID] as number, this.#maps);
      if (decision === ALLOWED) continue;
      if (decision === BY_ROW) {
        words[row + OP.FLAGS] = flags | FLAG_JUDGED;
        isJudged = true;
      } else {
        words[row + OP.FLAGS] = flags | FLAG_EMPTY; // goes to no worker
        detailsOf(slot).rejected.set(op, FORBIDDEN);
      }
    }
    return isJudged ? session.access.scope : NO_SCOPE;
  }

  /** Numbers the map of a row, unless `isAllowed` says no to a new name, and looks at its sizes. Returns an error number, or -1 when the op may go on. */
  #check(bytes: Uint8Array, words: Int32Array, row: number, isAllowed?: (name: string) => boolean): number {
    if (((words[row + OP.FLAGS] as number) & FLAG_INVALID) !== 0) return INVALID_OPERATION;
    const mapBytes = words[row + OP.MAP_BYTES] as number;
    const mapId = this.#maps.idOf(bytes, words[row + OP.MAP_START] as number, mapBytes, isAllowed);
    const error = this.#maps.errorOf(mapId);
    if (error !== undefined) return errorNumber(error);
    words[row + OP.MAP_ID] = mapId;
    const identityBytes = mapBytes + (words[row + OP.KEY_BYTES] as number) + (words[row + OP.TAG_BYTES] as number);
    if (identityBytes > IDENTITY_BYTES_MAX || (words[row + OP.NODE_BYTES] as number) > NODE_BYTES_MAX) return KEY_TOO_LARGE;
    return -1;
  }

  /** One record, written in place. */
  #sendWhole(session: Session, index: OpIndex, slot: number, worker: number): Routed {
    const writer = this.#links.writers[worker];
    if (writer === undefined) return 'held';
    const count = index.count;
    const packedBytes = this.#packedBytes;
    const at = writer.claim(ENVELOPE_BYTES + packedBytes);
    if (at === FULL) {
      this.heldFor = worker;
      writer.ring.wantRoom(ENVELOPE_BYTES + packedBytes);
      return 'held';
    }
    const ring = writer.ring;
    const deadlineMs = this.#calls.deadlineMs[slot] as number;
    writeEnvelope(ring, at, RECORD_OPS, this.#callId, session.id, count, packedBytes, this.#opsFlags, deadlineMs);
    if (index.kernel !== undefined) copyPacked(index.kernel, packedBytes, ring, at + ENVELOPE_BYTES);
    else packAll(ring, at + ENVELOPE_BYTES, index);
    writer.commit();
    return 'sent';
  }

  /** The ops of one worker, as one record or several; what finds no room waits in the writer's backlog. */
  #sendParts(session: Session, index: OpIndex, slot: number, worker: number): void {
    const words = index.words;
    const part: number[] = [];
    let partBytes = 0;
    let mapId = 0;
    for (let op = 0; op < index.count; op++) {
      if (this.#workers[op] !== worker) continue;
      const row = op * OP_WORDS;
      let opBytes = bytesWhenPacked(words, row, words[row + OP.MAP_ID] !== mapId);
      if (part.length > 0 && partBytes + opBytes > this.#partBytesMax) {
        this.#sendPart(session, index, slot, worker, part, partBytes, true);
        part.length = 0;
        partBytes = 0;
        opBytes = bytesWhenPacked(words, row, true);
      }
      part.push(op);
      partBytes += opBytes;
      mapId = words[row + OP.MAP_ID] as number;
    }
    this.#sendPart(session, index, slot, worker, part, partBytes, false);
  }

  #sendPart(
    session: Session,
    index: OpIndex,
    slot: number,
    worker: number,
    ops: readonly number[],
    partBytes: number,
    more: boolean,
  ): void {
    const writer = this.#links.writers[worker] as RingWriter;
    const claimedAt = writer.claim(ENVELOPE_BYTES + partBytes);
    const memory: PackMemory = claimedAt === FULL ? packMemory(ENVELOPE_BYTES + partBytes) : writer.ring;
    const at = claimedAt === FULL ? 0 : claimedAt;
    const deadlineMs = this.#calls.deadlineMs[slot] as number;
    const flags = this.#opsFlags | (more ? FLAG_MORE : 0);
    writeEnvelope(memory, at, RECORD_OPS, this.#callId, session.id, ops.length, partBytes, flags, deadlineMs);
    const { bytes, words, floats, view } = index;
    let opAt = at + ENVELOPE_BYTES;
    let mapId = 0;
    for (const op of ops) {
      const row = op * OP_WORDS;
      opAt = packOp(memory, opAt, bytes, view, words, floats, row, words[row + OP.MAP_ID] !== mapId);
      mapId = words[row + OP.MAP_ID] as number;
    }
    if (claimedAt === FULL) writer.write(memory.bytes);
    else writer.commit();
  }

  /** Applies the fixed offsets of quarantined nodes to LWW stamps, the same for every re-send. */
  #correctClocks(session: Session, index: OpIndex): void {
    const owner = clockOwner(session.principal);
    for (let op = 0; op < index.count; op++) {
      const row = op * OP_WORDS;
      if (((index.words[row + OP.FLAGS] as number) & 2) !== 0) continue;
      const start = index.words[row + OP.NODE_START] as number;
      const end = start + (index.words[row + OP.NODE_BYTES] as number);
      const offsetMs = this.#quarantine.offsetOf(index.bytes, start, end, owner);
      if (offsetMs !== 0)
        index.floats[(row >> 1) + OP.MILLIS_F64] = Math.max(0, (index.floats[(row >> 1) + OP.MILLIS_F64] as number) + offsetMs);
    }
  }
}

/** A put of nil removes, too. */
function isRemoval(flags: number, valueBytes: number): boolean {
  const kind = flags & OP_KIND_MASK;
  return kind === OP_REMOVE || kind === OP_OR_REMOVE || (kind === OP_PUT && valueBytes === 0);
}

/** Packs all ops of the frame. */
function packAll(to: PackMemory, start: number, { bytes, words, floats, view, count }: OpIndex): void {
  let at = start;
  let mapId = 0;
  for (let op = 0; op < count; op++) {
    const row = op * OP_WORDS;
    at = packOp(to, at, bytes, view, words, floats, row, words[row + OP.MAP_ID] !== mapId);
    mapId = words[row + OP.MAP_ID] as number;
  }
}

function copyPacked(kernel: RowKernel, bytes: number, to: PackMemory, at: number): void {
  if (bytes > WORD_COPY_BYTES_MAX) {
    to.bytes.set(kernel.packed.subarray(0, bytes), at);
    return;
  }
  const words = to.words;
  const from = kernel.packedWords;
  const first = at >> 2;
  for (let index = 0; index < bytes >> 2; index++) words[first + index] = from[index] as number;
}

/** The value of 1–15 decimal digits without a leading zero, else 0. */
export function plainNumber(bytes: Uint8Array, start: number, length: number): number {
  if (length === 0 || length > 15 || bytes[start] === 0x30) return 0;
  let value = 0;
  for (let index = start; index < start + length; index++) {
    const digit = (bytes[index] as number) - 0x30;
    if (digit < 0 || digit > 9) return 0;
    value = value * 10 + digit;
  }
  return value;
}
