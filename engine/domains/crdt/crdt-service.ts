/**
 * Joins writes into the records of the partitions that this worker owns.
 *
 * Runs on the partition's own thread: a merge needs no lock and never suspends. A write older than the stored one
 * counts as handled, not refused: the join makes it a no-op, and a client that sends again after a lost ack must see
 * success. The hot path: a kernel joins runs of puts that overwrite (merge-runs.ts); of each other op, an image over the ring's
 * own bytes is joined into the map's store.
 */
import { type ErrorCode, errorNumber } from '../../protocol/errors.ts';
import {
  FLAG_EMPTY,
  FLAG_JUDGED,
  FLAG_FENCED,
  FLAG_UNSTAMPED,
  FLAG_WRITER_LISTENS,
  OP_KIND_MASK,
  OP_OR_ADD,
  OP_OR_REMOVE,
  OP_PUT,
  OP_REMOVE,
} from '../../protocol/op-index.ts';
import { PACKED, packedBytes, packedFence, packedFlags, packedNameBytes, packedOrdinal } from '../../protocol/packed-op.ts';
import { compareLwwStamps } from '../../crdt/lww.ts';
import type { RingMemory } from '../../protocol/envelope.ts';
import type { ManagedService } from '../../operation/service-registry.ts';
import { type MergeKernel, RUN_OPS_MAX } from '../../storage/merge-kernel.ts';
import { KIND_LWW, KIND_OR, RecordImage, type RecordKind } from '../../storage/record.ts';
import { JOIN_APPLIED, JOIN_CROWDED, JOIN_EVICTED, JOIN_STALE, type RecordStore } from '../../storage/record-store.ts';
import { sameSpan } from '../../storage/record-block.ts';
import { stampAfter } from '../../storage/server-stamp.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { ChangeEvents, EventKind } from './change-events.ts';
import { NO_SCOPE } from '../security/access.ts';
import type { GridMap, MapCatalogue } from './map-catalogue.ts';
import { MergeRuns } from './merge-runs.ts';
import { pointAtOp } from './packed-image.ts';
import type { Rejections } from './rejections.ts';
import { JUDGED_ALLOWED, JUDGED_REPEAT, type RowJudge } from './row-judge.ts';
import type { WriteRefusal } from './write-guard.ts';

export interface CrdtServiceOptions {
  readonly maps: MapCatalogue;
  readonly changes: ChangeEvents;
  /** Node id of this server, UTF-8: stamps writes that come without a clock. */
  readonly nodeId: Uint8Array;
  /** Writes to absent keys with an older clock are refused: their tombstones may be gone. In ms; 0 = none pruned. */
  readonly pruneWatermarkMs: () => number;
  /** Takes a write that is refused for good, with the reason, to be kept as a dead letter. The image is valid during the call. */
  readonly onDeadLetter: (map: GridMap, image: RecordImage, reason: ErrorCode) => void;
  /** A write can only be judged by the value of this record, which was dropped from memory: read it back. The write comes again. */
  readonly onValueNeeded?: (store: RecordStore, ref: RecordRef) => void;
  /** Judges ops with FLAG_JUDGED. Without it there are none. */
  readonly judge?: RowJudge;
  /** Judges the tokens of fenced writes; without it every fenced write is refused. */
  readonly fences?: { admits(lock: string, token: number): boolean };
  /** Joins usual ops; its memory is that of the stores' slab. Without it all ops are joined here. */
  readonly kernel?: MergeKernel | undefined;
}

/** Ops whose memory is touched before the first of them is joined: what they touch fits the first-level cache. */
const WARMED_OPS = RUN_OPS_MAX;
const FORBIDDEN = errorNumber('FORBIDDEN');
const TOO_MANY_MAPS = errorNumber('TOO_MANY_MAPS');
const STALE_OPERATION = errorNumber('STALE_OPERATION');
const INTERNAL = errorNumber('INTERNAL');
const UNAVAILABLE = errorNumber('UNAVAILABLE');
const FENCED = errorNumber('FENCED');
const FENCED_LATE = errorNumber('FENCED_LATE');
const KEYS_ALIKE = errorNumber('KEYS_ALIKE');

export class CrdtService implements ManagedService {
  readonly name = 'crdt';
  readonly #maps: MapCatalogue;
  readonly #changes: ChangeEvents;
  readonly #nodeId: Uint8Array;
  readonly #pruneWatermarkMs: () => number;
  readonly #onDeadLetter: CrdtServiceOptions['onDeadLetter'];
  readonly #onValueNeeded: CrdtServiceOptions['onValueNeeded'];
  readonly #judge: RowJudge | undefined;
  readonly #fences: CrdtServiceOptions['fences'];
  /** Joins usual ops; undefined: all are joined here. */
  readonly #runs: MergeRuns | undefined;
  readonly #image = new RecordImage();
  readonly #stored = new RecordImage();
  /** What a guard said of the write at hand. */
  #refusal: WriteRefusal | undefined;
  /** What warming has read: kept so that the reads are not optimised away. */
  #touched = 0;

  constructor(options: CrdtServiceOptions) {
    this.#maps = options.maps;
    this.#changes = options.changes;
    this.#nodeId = options.nodeId;
    this.#pruneWatermarkMs = options.pruneWatermarkMs;
    this.#onDeadLetter = options.onDeadLetter;
    this.#onValueNeeded = options.onValueNeeded;
    this.#judge = options.judge;
    this.#fences = options.fences;
    this.#runs = options.kernel && new MergeRuns(options.kernel, options.maps, options.changes);
  }

  init(): void {}

  reset(): void {
    this.#maps.reset();
  }

  async shutdown(): Promise<void> {} // records are flushed by their data store, which outlives the services

  /**
   * Applies `count` packed ops (packed-op.ts), the first at byte `at` of `memory`. `gateway` and `session` say who writes,
   * `scope` which row rules it has. What cannot be applied is added to `rejections`.
   */
  applyOps(
    memory: RingMemory,
    at: number,
    count: number,
    gateway: number,
    session: number,
    nowMs: number,
    rejections: Rejections,
    scope: number = NO_SCOPE,
  ): void {
    let word = at >> 2;
    for (let first = 0; first < count; first += WARMED_OPS) {
      const ops = Math.min(count - first, WARMED_OPS);
      const end = endOfOps(memory.words, word, ops);
      this.#runs?.begin(memory, word, end, ops, gateway);
      if (ops > 1) this.#warm(memory.words, word, ops, gateway);
      this.#applyGroup(memory, word, ops, gateway, session, nowMs, rejections, scope);
      word = end;
    }
  }

  /** Applies ops in their order: runs of usual ones by the kernel, each of the others by itself. */
  #applyGroup(
    memory: RingMemory,
    firstWord: number,
    ops: number,
    gateway: number,
    session: number,
    nowMs: number,
    rejections: Rejections,
    scope: number,
  ): void {
    const words = memory.words;
    const runs = this.#runs;
    let word = firstWord;
    for (let left = ops; left > 0; ) {
      const merged = runs === undefined ? 0 : runs.join(memory, word, left, gateway, session, nowMs);
      if (runs !== undefined && merged > 0) {
        word = runs.nextWord;
        left -= merged;
        continue;
      }
      const error = this.#applyOp(memory, word, gateway, session, nowMs, scope);
      if (error >= 0) this.#reject(rejections, packedOrdinal(words, word), error);
      word += packedBytes(words, word) >> 2;
      left -= 1;
    }
  }

  #reject(rejections: Rejections, ordinal: number, error: number): void {
    rejections.add(ordinal, error, this.#refusal?.detail);
    this.#refusal = undefined;
  }

  /** Refuses the ops unread: a worker has died at them, twice. They are kept as dead letters and rejected. */
  setAside(memory: RingMemory, at: number, count: number, gateway: number, rejections: Rejections): void {
    const words = memory.words;
    let word = at >> 2;
    for (let index = 0; index < count; index++) {
      const mapId = words[word + PACKED.MAP_ID] as number;
      const map = this.#maps.byId(gateway, mapId) ?? this.#open(memory, word, gateway, mapId);
      pointAtOp(this.#image, memory, word);
      if (map !== undefined) this.#onDeadLetter(map, this.#image, 'INTERNAL');
      rejections.add(packedOrdinal(words, word), INTERNAL);
      word += packedBytes(words, word) >> 2;
    }
  }

  /** Touches the memory of all the ops' records first, so that the waits for it overlap. */
  #warm(words: Int32Array, firstWord: number, count: number, gateway: number): void {
    if (this.#runs?.warm(words, firstWord, count, gateway) === true) return;
    let touched = this.#touched;
    let word = firstWord;
    for (let index = 0; index < count; index++) {
      const store = this.#maps.byId(gateway, words[word + PACKED.MAP_ID] as number)?.existing(KIND_LWW);
      if (store !== undefined) touched ^= store.warm((words[word + PACKED.KEY_HASH] as number) >>> 0);
      word += packedBytes(words, word) >> 2;
    }
    this.#touched = touched;
  }

  /** Joins one op. Returns -1 when it was handled, else an error number. */
  #applyOp(memory: RingMemory, word: number, gateway: number, session: number, nowMs: number, scope: number): number {
    const flags = packedFlags(memory.words, word);
    const mapId = memory.words[word + PACKED.MAP_ID] as number;
    const map = this.#maps.byId(gateway, mapId) ?? this.#open(memory, word, gateway, mapId);
    if (map === undefined) return TOO_MANY_MAPS;
    if ((flags & FLAG_EMPTY) !== 0) return -1;

    const image = this.#image;
    pointAtOp(image, memory, word);
    const kind = flags & OP_KIND_MASK;
    if ((flags & FLAG_JUDGED) !== 0) {
      const judged = this.#judge?.judge(map, image, gateway, scope, nowMs) ?? FORBIDDEN;
      if (judged !== JUDGED_ALLOWED) return judged === JUDGED_REPEAT ? -1 : judged;
    }
    if (map.guard !== undefined) {
      this.#refusal = map.guard.refusal(kind >= OP_OR_ADD ? KIND_OR : KIND_LWW, image, gateway, session);
      if (this.#refusal !== undefined) return errorNumber(this.#refusal.code);
    }
    const store = map.store(kind >= OP_OR_ADD ? KIND_OR : KIND_LWW);
    const isFenced = (flags & FLAG_FENCED) !== 0;
    if (isFenced && !this.#isAdmitted(memory, word)) return this.#isStored(store, image, kind) ? -1 : FENCED;
    if (kind === OP_OR_REMOVE) stampRemoval(image, nowMs);
    else if ((flags & FLAG_UNSTAMPED) !== 0) this.#stamp(store, image, nowMs);
    else if (image.millis < this.#pruneWatermarkMs() && store.find(image) === 0) {
      this.#onDeadLetter(map, image, 'STALE_OPERATION');
      return STALE_OPERATION;
    }
    if (kind === OP_OR_ADD && isOrphan(map, image)) {
      return this.#removeOrphan(map, image, nowMs);
    }
    const joined = store.join(image, nowMs);
    if (joined === JOIN_EVICTED) {
      this.#onValueNeeded?.(store, store.lastRef);
      return UNAVAILABLE;
    }
    if (joined === JOIN_CROWDED) return KEYS_ALIKE;
    if (joined === JOIN_APPLIED) {
      this.#changes.changed(map, eventKind(kind, image), image, gateway, session, (flags & FLAG_WRITER_LISTENS) !== 0);
      return -1;
    }
    // Who holds a lock is told that its write is not what is stored: it lost to another's clock ahead of its own.
    return isFenced && joined === JOIN_STALE && kind < OP_OR_ADD && !this.#isStored(store, image, kind) ? FENCED_LATE : -1;
  }

  /** True when no newer token of the op's lock is granted. */
  #isAdmitted(memory: RingMemory, word: number): boolean {
    const fence = packedFence(memory, word);
    return fence !== undefined && this.#fences?.admits(fence.lock, fence.token) === true;
  }

  /**
   * True when the write, or a later one of its writer, was taken in before: a client that sends again after a lost ack must
   * see success.
   */
  #isStored(store: RecordStore, image: RecordImage, kind: number): boolean {
    const ref = store.find(image);
    if (ref === 0) return false;
    if (kind === OP_OR_ADD) return true;
    if (kind === OP_OR_REMOVE) return store.isTombstone(ref);
    const stored = this.#stored;
    store.read(ref, stored);
    const isByWriter =
      stored.nodeBytes === image.nodeBytes &&
      sameSpan(stored.source, stored.nodeStart, image.source, image.nodeStart, image.nodeBytes);
    return isByWriter && compareLwwStamps(image, stored) <= 0;
  }

  /** Joins an image that did not come as a packed op (push-diff), unless a guard refuses it. True when it changed the record. */
  applyImage(map: GridMap, image: RecordImage, gateway: number, session: number, writerListens: boolean, nowMs: number): boolean {
    const isOr = image.tagBytes > 0;
    if (map.guard?.refusal(isOr ? KIND_OR : KIND_LWW, image, gateway, session) !== undefined) return false;
    if (isOr && !image.tombstone && isOrphan(map, image)) {
      this.#removeOrphan(map, image, nowMs);
      return false;
    }
    if (map.store(isOr ? KIND_OR : KIND_LWW).join(image, nowMs) !== JOIN_APPLIED) return false;
    this.#changes.changed(map, eventKind(isOr ? OP_OR_ADD : OP_PUT, image), image, gateway, session, writerListens);
    return true;
  }

  /** Tells every session that `image` is now the record of its key, whoever wrote it. */
  tell(map: GridMap, kind: RecordKind, image: RecordImage): void {
    this.#changes.changed(map, eventKind(kind === KIND_OR ? OP_OR_ADD : OP_PUT, image), image, 0, 0, false);
  }

  /** The op's map by its name; undefined when there are too many maps, or the op before had the same and there were. */
  #open(memory: RingMemory, word: number, gateway: number, mapId: number): GridMap | undefined {
    const nameBytes = packedNameBytes(memory, word);
    if (nameBytes === 0) return undefined;
    pointAtOp(this.#image, memory, word);
    const start = this.#image.valueStart + this.#image.valueBytes;
    return this.#maps.open(gateway, mapId, memory.bytes, start, start + nameBytes);
  }

  /**
   * Somebody removed this tag before its add came here, and now its key is known: the removal becomes a record like any
   * other, staged and logged. Everybody is told, the writer too, who holds the tag as live. Answers with an error number or -1.
   */
  #removeOrphan(map: GridMap, image: RecordImage, nowMs: number): number {
    image.tombstone = true;
    image.valueBytes = 0;
    stampRemoval(image, nowMs);
    const joined = map.store(KIND_OR).join(image, nowMs);
    if (joined === JOIN_CROWDED) return KEYS_ALIKE;
    if (joined === JOIN_APPLIED) this.#changes.changed(map, OP_OR_REMOVE, image, 0, 0, false);
    return -1;
  }

  /** A write without a clock wins over what is stored: it is stamped by the server, strictly after it. */
  #stamp(store: RecordStore, image: RecordImage, nowMs: number): void {
    // The image has one source for all its spans, so the node id is joined to the key in bytes of its own.
    const keyBytes = image.keyBytes;
    const joined = new Uint8Array(keyBytes + image.valueBytes + this.#nodeId.length);
    joined.set(image.source.subarray(image.keyStart, image.keyStart + keyBytes), 0);
    joined.set(image.source.subarray(image.valueStart, image.valueStart + image.valueBytes), keyBytes);
    joined.set(this.#nodeId, keyBytes + image.valueBytes);
    image.source = joined;
    image.keyStart = 0;
    image.valueStart = keyBytes;
    image.nodeStart = keyBytes + image.valueBytes;
    image.nodeBytes = this.#nodeId.length;
    stampAfter(store, image, nowMs);
  }
}

/**
 * A removal of a tag (`millis:counter:node`) comes without a clock. It is as new as this server, so that it is kept for
 * the whole horizon however old the tag is; but not older than the tag, whose add must be too old to come back by then.
 */
function stampRemoval(image: RecordImage, nowMs: number): void {
  let millis = 0;
  let at = image.tagStart;
  const end = at + image.tagBytes;
  for (; at < end; at++) {
    const digit = (image.source[at] as number) - 0x30;
    if (digit < 0 || digit > 9) break;
    millis = millis * 10 + digit;
  }
  image.millis =
    at > image.tagStart && millis <= Number.MAX_SAFE_INTEGER ? Math.max(millis, Math.floor(nowMs)) : Math.floor(nowMs);
  image.counter = 0;
  image.nodeBytes = 0;
  image.ttlMs = Number.NaN;
}

/** Somebody removed this tag before its add came here: a removed tag never comes back. */
function isOrphan(map: GridMap, image: RecordImage): boolean {
  return map.orphans.count > 0 && map.orphans.has(image.source, image.tagStart, image.tagBytes);
}

/** Word behind `count` ops. */
function endOfOps(words: Int32Array, firstWord: number, count: number): number {
  let word = firstWord;
  for (let left = count; left > 0; left--) word += packedBytes(words, word) >> 2;
  return word;
}

function eventKind(kind: number, image: RecordImage): EventKind {
  if (kind >= OP_OR_ADD) return image.tombstone ? OP_OR_REMOVE : OP_OR_ADD;
  return image.tombstone ? OP_REMOVE : OP_PUT;
}
