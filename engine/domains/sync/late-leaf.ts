/**
 * Answers with records that are many megabytes, or of which some have no value in memory: a little at a time, read back from the
 * data store where they must be.
 *
 *   asked ─▶ waits for its turn (late-turns.ts) ─▶ for each few records: load what is evicted ─ encode ─▶ part, part, …
 *
 * The loop of the worker goes on meanwhile; records come, change and go. So what to send is noted by key, and each record
 * is sent as it is at the moment of encoding. What was read is put back into memory only where there is room: a sync of
 * more than memory holds streams through, leaf by leaf. What cannot be read is an error, never an empty value.
 *
 * Of an OR-Map a chunk's records are one entry for each key among them: a key may come in several, clients merge them. Its leaf
 * sums may need values too: those are read back key by key, and what was found out is kept in place of the values (or-leaf.ts).
 */
import type { LateParts } from '../../operation/request-handler.ts';
import { GridError } from '../../protocol/errors.ts';
import { evictedBytes, fillValue } from '../../storage/evicted-value.ts';
import { becomeRemoval, isExpiredImage } from '../../storage/expired-record.ts';
import { KIND_LWW, RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { imageOf, type StoredRecord, storedRecord } from '../../storage/stored-record.ts';
import { type LoadedValues, ValueLoader } from '../../storage/value-loader.ts';
import { ItemParts, PART_BYTES_MAX } from './item-parts.ts';
import { type LateTurn, LateTurns } from './late-turns.ts';
import { byteText, encodeEntry, type KeyRecords } from './or-entries.ts';

export interface LateLeavesOptions {
  /** Reads back values that were dropped from memory; undefined: none are. */
  readonly loader: ValueLoader | undefined;
  /** True when a value of this size may be kept in memory. */
  readonly hasRoomFor: (bytes: number) => boolean;
  /** The time by which a record counts as expired, ms; NaN: none does. */
  readonly nowMs: () => number;
  /** Lets the worker's loop go on for a turn; left out: it goes on only while something is read back. */
  readonly pause?: () => Promise<void>;
  /** Answers under way at a time: each holds a few records with their values. */
  readonly answersMax?: number;
  /** Answers that may wait for their turn. */
  readonly waitingMax?: number;
}

const ANSWERS_MAX = 4;
const WAITING_MAX = 8192;
/** Longest wait for a turn, ms. */
const DEADLINE_MS = 30_000;
/** Records encoded between two pauses, and the bytes of values read for them; one record may exceed it. */
const CHUNK_RECORDS = 256;
const CHUNK_BYTES = 4 * 1024 * 1024;
/** Times that a record is asked for which changes each time while it is read. */
const ATTEMPTS_MAX = 5;
/** Who asks where nobody is told to be gone. */
const NOBODY = '';

export class LateLeaves {
  readonly #loader: ValueLoader | undefined;
  readonly #options: LateLeavesOptions;
  readonly #turns: LateTurns;
  readonly #image = new RecordImage();

  constructor(options: LateLeavesOptions) {
    this.#options = options;
    this.#loader = options.loader;
    this.#turns = new LateTurns(options.answersMax ?? ANSWERS_MAX, options.waitingMax ?? WAITING_MAX);
  }

  /** Answers under way and waiting. */
  get answers(): number {
    return this.#turns.answers;
  }

  /** True when the leaf has a record whose value must be read back to answer. */
  needs(store: RecordStore, leaf: number, nowMs: number): boolean {
    let found = false;
    store.forEachInLeaf(leaf, (ref) => {
      found ||= this.#isMissing(store, ref, nowMs);
    });
    return found;
  }

  /** True when one of these records has a value that must be read back. */
  needsAny(store: RecordStore, refs: readonly RecordRef[], nowMs: number): boolean {
    return refs.some((ref) => this.#isMissing(store, ref, nowMs));
  }

  /** Whoever asked as this is gone: what it waits for is given up. */
  forget(asker: string): void {
    this.#turns.forget(asker);
  }

  /** The records of the leaves, in parts. `asker` says whose turn it is. */
  answer(store: RecordStore, leaves: readonly number[], asker = NOBODY): LateParts {
    return this.#inTurn(asker, (turn) =>
      this.#records(
        store,
        leaves.map((leaf) => () => keysOf(store, leaf)),
        new ItemParts(),
        turn,
      ),
    );
  }

  /** The records of the leaves that are wanted, in parts. `isWanted` is told of each when it is its leaf's turn. */
  answerSome(
    store: RecordStore,
    leaves: readonly number[],
    isWanted: (record: RecordImage) => boolean,
    asker = NOBODY,
  ): LateParts {
    return this.#inTurn(asker, (turn) =>
      this.#records(
        store,
        leaves.map((leaf) => () => keysOf(store, leaf, isWanted)),
        new ItemParts(),
        turn,
      ),
    );
  }

  /** Records of an OR-Map, in parts, behind what is in `out` already. */
  answerWith(store: RecordStore, refs: readonly RecordRef[], out: ItemParts, asker = NOBODY): LateParts {
    const wanted = refs.map((ref) => identityAt(store, ref));
    return this.#inTurn(asker, (turn) => this.#records(store, [() => wanted], out, turn));
  }

  /** What `answer` says once the leaf sums of the OR-Map are known. */
  answerOnceHashed(store: RecordStore, answer: () => Uint8Array, asker = NOBODY): LateParts {
    return this.#inTurn(asker, () => this.#hashed(store, answer));
  }

  async *#inTurn(asker: string, parts: (turn: LateTurn) => LateParts): LateParts {
    const sinceMs = this.#options.nowMs();
    const turn = await this.#turns.take(asker); // a read has its deadline, so turns come
    try {
      this.#assertInTime(sinceMs);
      yield* parts(turn);
    } finally {
      this.#turns.giveBack(turn);
    }
  }

  async *#records(store: RecordStore, portions: readonly (() => StoredRecord[])[], out: ItemParts, turn: LateTurn): LateParts {
    for (const portion of portions) {
      const wanted = portion();
      while (wanted.length > 0) {
        await this.#encodeSome(out, store, wanted);
        await this.#options.pause?.();
        if (turn.isOver) throw new GridError('UNAVAILABLE', 'whoever asked is gone');
        for (let part = out.takeClosed(); part !== undefined; part = out.takeClosed()) yield part;
      }
    }
    yield* out.finish();
  }

  /** Reads keys back until every leaf can be hashed. Keys may change, and others be dropped, while it reads. */
  async *#hashed(store: RecordStore, answer: () => Uint8Array): LateParts {
    let unknown = this.#unknown(store);
    for (let attempt = 0; unknown.length > 0; attempt++) {
      const before = unknown.length;
      const missing = unknown.flat().filter((ref) => this.#isMissing(store, ref, Number.NaN));
      const identities = unknown.map((refs) => refs.map((ref) => identityAt(store, ref)));
      const values = await this.#load(store, missing);
      const learned = identities.filter((records) => this.#learn(store, records, values)).length;
      if (learned > 0) attempt = 0;
      else if (attempt === ATTEMPTS_MAX) throw this.#inconsistent(before);
      unknown = this.#unknown(store);
    }
    yield answer();
  }

  /** Some of the keys that keep leaves from being hashed: one at least, or as many as a chunk of values may have. */
  #unknown(store: RecordStore): RecordRef[][] {
    store.refreshLeaves();
    const chunk: RecordRef[][] = [];
    let records = 0;
    let bytes = 0;
    for (const refs of store.unknownKeys(CHUNK_RECORDS)) {
      for (const ref of refs) if (this.#isMissing(store, ref, Number.NaN)) bytes += evictedBytes(this.#image);
      records += refs.length;
      if (chunk.length > 0 && (bytes > CHUNK_BYTES || records > CHUNK_RECORDS)) break;
      chunk.push(refs);
    }
    return chunk;
  }

  /** False when the key has changed so much that values are missing again. */
  #learn(store: RecordStore, records: readonly StoredRecord[], values: LoadedValues): boolean {
    const refs = records.map((record) => store.find(imageOf(record))).filter((ref) => ref !== 0 && !store.isTombstone(ref));
    return store.learnKey(refs, (evicted) => ValueLoader.valueOf(store, evicted, values));
  }

  #load(store: RecordStore, refs: readonly RecordRef[]): Promise<LoadedValues> {
    if (this.#loader === undefined) throw new GridError('UNAVAILABLE', 'a value is not in memory');
    return this.#loader.load(store, refs);
  }

  /** Nobody waits any more for what was asked so long ago. */
  #assertInTime(sinceMs: number): void {
    if (this.#options.nowMs() - sinceMs > DEADLINE_MS)
      throw new GridError('UNAVAILABLE', `no turn came within ${DEADLINE_MS} ms`);
  }

  /** Encodes records from the end of `wanted`, and takes them off: as many as a chunk may have. */
  async #encodeSome(out: ItemParts, store: RecordStore, wanted: StoredRecord[]): Promise<void> {
    let chunk = this.#takeChunk(store, wanted);
    let values: LoadedValues = new Map();
    for (let attempt = 0; chunk.length > 0; attempt++) {
      const missing = this.#missing(store, chunk);
      if (missing.length > 0) {
        if (attempt === ATTEMPTS_MAX) throw this.#inconsistent(missing.length);
        values = await this.#load(store, missing);
      }
      if (store.kind === KIND_LWW) chunk = chunk.filter((record) => !this.#encode(out, store, record, values));
      else if (this.#hasAll(store, chunk, values)) return this.#encodeEntries(out, store, chunk, values);
    }
  }

  /** True when the value of each record is in memory, read back, or not wanted any more. */
  #hasAll(store: RecordStore, chunk: readonly StoredRecord[], values: LoadedValues): boolean {
    return this.#missing(store, chunk).every((ref) => {
      store.read(ref, this.#image);
      return ValueLoader.valueOf(store, this.#image, values) !== undefined;
    });
  }

  /** Encodes OR records as they are now, an entry for each key. */
  #encodeEntries(out: ItemParts, store: RecordStore, chunk: readonly StoredRecord[], values: LoadedValues): void {
    const nowMs = this.#options.nowMs();
    const byKey = new Map<string, KeyRecords>();
    for (const record of chunk) {
      const ref = store.find(imageOf(record));
      if (ref === 0) continue; // removed and forgotten meanwhile
      if (!Number.isNaN(nowMs)) store.touch(ref, nowMs);
      const key = byteText(record.key, 0, record.key.length);
      const records = byKey.get(key) ?? { live: [], tombstones: [] };
      byKey.set(key, records);
      (store.isTombstone(ref) || store.isExpired(ref, nowMs) ? records.tombstones : records.live).push(ref);
    }
    const readBack = (evicted: RecordImage): RecordImage | undefined => ValueLoader.valueOf(store, evicted, values);
    for (const records of byKey.values()) encodeEntry(out.item(), store, records, undefined, [], readBack);
  }

  /** Records whose values fit a chunk where they must be read, and else a part. */
  #takeChunk(store: RecordStore, wanted: StoredRecord[]): StoredRecord[] {
    const chunk: StoredRecord[] = [];
    let readBytes = 0;
    let hereBytes = 0;
    while (chunk.length < CHUNK_RECORDS) {
      const next = wanted.at(-1);
      if (next === undefined) break;
      const ref = store.find(imageOf(next));
      if (ref !== 0 && this.#isMissing(store, ref, this.#options.nowMs())) readBytes += evictedBytes(this.#image);
      else if (ref !== 0) hereBytes += this.#image.valueBytes;
      if (chunk.length > 0 && (readBytes > CHUNK_BYTES || hereBytes > PART_BYTES_MAX)) break;
      chunk.push(next);
      wanted.pop();
    }
    return chunk;
  }

  /** References of those whose value must be read. */
  #missing(store: RecordStore, chunk: readonly StoredRecord[]): RecordRef[] {
    const refs: RecordRef[] = [];
    for (const record of chunk) {
      const ref = store.find(imageOf(record));
      if (ref !== 0 && this.#isMissing(store, ref, this.#options.nowMs())) refs.push(ref);
    }
    return refs;
  }

  /** Points the image at the record. True when its value is wanted and not in memory. */
  #isMissing(store: RecordStore, ref: RecordRef, nowMs: number): boolean {
    store.read(ref, this.#image);
    return this.#image.evicted && !isExpiredImage(this.#image, nowMs);
  }

  /** Encodes the record as it is now. False when its value is not here: it changed, and was dropped again, while it was read. */
  #encode(out: ItemParts, store: RecordStore, record: StoredRecord, values: LoadedValues): boolean {
    const ref = store.find(imageOf(record));
    if (ref === 0) return true; // removed and forgotten meanwhile
    const nowMs = this.#options.nowMs();
    if (!Number.isNaN(nowMs)) store.touch(ref, nowMs);
    if (!this.#isMissing(store, ref, nowMs)) {
      if (isExpiredImage(this.#image, nowMs)) becomeRemoval(this.#image);
      out.lwwItem(this.#image);
      return true;
    }
    const loaded = ValueLoader.valueOf(store, this.#image, values);
    if (loaded === undefined) return false;
    out.lwwItem(loaded);
    if (this.#options.hasRoomFor(loaded.valueBytes)) fillValue(store, loaded);
    return true;
  }

  #inconsistent(records: number): GridError {
    if (this.#loader !== undefined) this.#loader.missing += records;
    return new GridError('UNAVAILABLE', `${records} records are not in the data store as they were dropped from memory`);
  }
}

/** Key of each record of the leaf that is wanted, copied: references do not outlive a wait. */
export function keysOf(store: RecordStore, leaf: number, isWanted?: (record: RecordImage) => boolean): StoredRecord[] {
  const keys: StoredRecord[] = [];
  const image = new RecordImage();
  store.forEachInLeaf(leaf, (ref) => {
    if (isWanted !== undefined) store.read(ref, image);
    if (isWanted === undefined || isWanted(image)) keys.push(identityAt(store, ref));
  });
  return keys;
}

function identityAt(store: RecordStore, ref: RecordRef): StoredRecord {
  const image = new RecordImage();
  store.read(ref, image);
  image.nodeBytes = 0;
  image.valueBytes = 0;
  return storedRecord(store.kind, store.map, image);
}
