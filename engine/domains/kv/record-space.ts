/**
 * A database, or a map as a hash, over the records of one worker: what commands write is stamped by the server.
 *
 *   set ─ value as MessagePack (value.ts) ─ clock: now, but strictly after the stored record ─ join ─ event
 *
 * A key that is too long to be written is not there, which is told before it is looked at.
 *
 * A time to live is kept as the record keeps it, counted from the record's own stamp. What has expired is not there, whether or
 * not it has been removed yet. Here is what is done with one key; all that there is, is record-whole.ts.
 */
import { assert } from '../../assert.ts';
import { fnv1aUtf8, isUtf8, partitionOf } from '../../partition/hash.ts';
import type { RespCommand } from '../../protocol/resp-parser.ts';
import { OP_PUT, OP_REMOVE } from '../../protocol/op-index.ts';
import { JOIN_APPLIED, JOIN_CROWDED } from '../../storage/join-rule.ts';
import { KIND_LWW, PROVENANCE_CLIENT, RecordImage } from '../../storage/record.ts';
import { ALIKE_MAX, type RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { ChangeEvents } from '../crdt/change-events.ts';
import type { GridMap, MapCatalogue } from '../crdt/map-catalogue.ts';
import { KvError, WRONG_TYPE } from './command.ts';
import type { HashNames } from './hash-names.ts';
import type { ToldKey } from './joint-bodies.ts';
import { Crowd } from './crowd.ts';
import { AwayRecords } from './restored-values.ts';
import { RecordWhole } from './record-whole.ts';
import { assertGuarded, replyOfNumber } from './refused-reply.ts';
import {
  IDENTITY_BYTES_MAX,
  KEY_TOO_LONG,
  KEYS_ALIKE,
  type KeySpace,
  StoredValue,
  TOO_LONG,
  VALUE_BYTES_MAX,
  ValueAway,
} from './space.ts';
import { decodeValue, encodeValue, textHeaderBytes, VALUE_HEADER_BYTES } from './value.ts';

/** What the spaces of a worker share. */
export interface SpaceContext {
  readonly maps: MapCatalogue;
  readonly changes: ChangeEvents;
  readonly names: HashNames;
  /** Node id of this server, UTF-8. */
  readonly nodeId: Uint8Array;
  /** The clock of the command at hand, ms. */
  nowMs: number;
  /** Commands that were begun: another number, other arguments. */
  commands: number;
  /** What is written is decided: nothing may refuse it. */
  isDecided: boolean;
  /** The one partition that is looked at as a whole database is; -1: all. */
  only: number;
  /** Why a write of so many bytes to the partition is refused now: an error number, or -1. */
  readonly refusal: (partition: number, bytes: number) => number;
  /** Expires what is due, so that counts are true. */
  readonly catchUp: () => void;
  /** The first partition of the worker behind this one, -1 when this is the last. */
  readonly nextPartition: () => number;
}

export const TOO_MANY_MAPS = 'ERR TOO_MANY_MAPS there are as many maps as LATTICE_MAX_MAPS allows';
const COUNTER_MAX = 0xffff_ffff;
const SCRATCH_BYTES = 4096;
const SCRATCH_KEPT_BYTES = 1 << 20;
/** Shorter ones are copied by a loop: it costs less than the call of a copy. */
const LOOP_BYTES_MAX = 48;
const NO_BYTES = new Uint8Array(0);
/** An index that no argument has, and a place where nothing stands. */
const NO_ARGUMENT = -1;
const NOWHERE = -1;

export class RecordSpace implements KeySpace {
  readonly whole: RecordWhole;
  readonly #context: SpaceContext;
  readonly #name: Uint8Array;
  /** True for a database: its keys may be names of maps. */
  readonly #isDatabase: boolean;
  readonly #image = new RecordImage();
  readonly #stored = new RecordImage();
  readonly #answer = new StoredValue();
  /** The key at hand, and behind it what is written. One array, so that the store need not look at a new one each time. */
  #scratch = new Uint8Array(SCRATCH_BYTES);
  /** What stands in front of the scratch memory: this key, or this argument of that command. */
  #key: Uint8Array | undefined;
  #argument = NO_ARGUMENT;
  #command = 0;
  /** Where the node id stands in the scratch memory: keys of one length find it behind them. */
  #nodeAt = NOWHERE;
  #map: GridMap | undefined;

  constructor(context: SpaceContext, name: Uint8Array, isDatabase: boolean) {
    this.#context = context;
    this.#name = name;
    this.#isDatabase = isDatabase;
    this.whole = new RecordWhole(context, {
      store: () => this.#store(),
      remove: (key) => this.remove(key),
    });
  }

  isHash(key: Uint8Array): boolean {
    return (
      this.#isDatabase &&
      key.length <= IDENTITY_BYTES_MAX &&
      this.#context.names.has(key, key.length, fnv1aUtf8(key, 0, key.length))
    );
  }

  get(key: Uint8Array): StoredValue | undefined {
    if (key.length > IDENTITY_BYTES_MAX) return undefined;
    this.#identify(key);
    return this.#value();
  }

  at(args: RespCommand, index: number): StoredValue | undefined {
    if ((args.lengths[index] as number) > IDENTITY_BYTES_MAX) return undefined;
    this.#identifyArgument(args, index);
    return this.#value();
  }

  /** The live value of the key at hand. */
  #value(): StoredValue | undefined {
    const store = this.#store();
    const ref = store === undefined ? 0 : store.get(this.#image, this.#context.nowMs);
    if (ref === 0 || store === undefined) return undefined;
    const stored = this.#stored;
    store.read(ref, stored);
    if (stored.evicted) throw new ValueAway(store, [ref]);
    const answer = this.#answer;
    const header = textHeaderBytes(stored.source[stored.valueStart] as number);
    if (header > 0) {
      answer.source = stored.source;
      answer.start = stored.valueStart + header;
      answer.length = stored.valueBytes - header;
    } else {
      answer.source = decodeValue(stored.source, stored.valueStart, stored.valueBytes);
      answer.start = 0;
      answer.length = answer.source.length;
    }
    answer.expiresAtMs = stored.millis + stored.ttlMs;
    return answer;
  }

  has(key: Uint8Array): boolean {
    return this.#find(this.#store(), key) !== 0;
  }

  expiryOf(key: Uint8Array): number | undefined {
    const store = this.#store();
    const ref = this.#find(store, key);
    return ref === 0 || store === undefined ? undefined : store.expiryMillis(ref);
  }

  set(key: Uint8Array, value: Uint8Array, expiresAtMs: number): void {
    this.#assertFits(key.length, value.length);
    this.#identify(key);
    this.#put(value, 0, value.length, expiresAtMs);
  }

  put(args: RespCommand, index: number, source: Uint8Array, start: number, length: number, expiresAtMs: number): void {
    this.#assertFits(args.lengths[index] as number, length);
    this.#identifyArgument(args, index);
    this.#put(source, start, length, expiresAtMs);
  }

  #assertFits(keyBytes: number, valueBytes: number): void {
    if (this.#context.isDecided) return;
    if (valueBytes > VALUE_BYTES_MAX) throw new KvError(TOO_LONG);
    if (keyBytes + this.#name.length > IDENTITY_BYTES_MAX) throw new KvError(KEY_TOO_LONG);
  }

  putPairs(args: RespCommand, first: number): number {
    const context = this.#context;
    const wasDecided = context.isDecided;
    if (!wasDecided && args.count - first > 2) {
      this.#assertTakesPairs(args, first);
      context.isDecided = true;
    }
    try {
      let added = 0;
      for (let index = first; index < args.count; index += 2) {
        this.#assertFits(args.lengths[index] as number, args.lengths[index + 1] as number);
        this.#identifyArgument(args, index);
        if ((this.#store()?.get(this.#image, context.nowMs) ?? 0) === 0) added += 1;
        this.put(args, index, args.bytes, args.starts[index + 1] as number, args.lengths[index + 1] as number, Number.NaN);
      }
      return added;
    } finally {
      context.isDecided = wasDecided;
    }
  }

  /** Throws KvError when one of the pairs could not be written, or not all of them together. */
  #assertTakesPairs(args: RespCommand, first: number): void {
    const crowd = new Crowd(args, (args.count - first) >>> 1);
    let bytes = 0;
    for (let index = first; index < args.count; index += 2) {
      const [keyBytes, valueBytes] = [args.lengths[index] as number, args.lengths[index + 1] as number];
      this.#assertFits(keyBytes, valueBytes);
      bytes += keyBytes + this.#context.nodeId.length + valueBytes;
    }
    for (let index = first; index < args.count; index += 2) {
      this.#identifyArgument(args, index);
      this.#admit(bytes);
      if (!crowd.takes(index, this.#image.keyHash, this.#store()?.alikeKeys(this.#image) ?? 0)) throw new KvError(KEYS_ALIKE);
    }
    const { guard } = this.#open();
    for (let index = first; guard !== undefined && index < args.count; index += 2) {
      this.#identifyArgument(args, index);
      this.#encode(args.bytes, args.starts[index + 1] as number, args.lengths[index + 1] as number);
      this.#describe(this.#open().store(KIND_LWW), Number.NaN, false);
      assertGuarded(guard, this.#image);
    }
  }

  /** Writes a value under the key at hand; `source` is not memory of records, in which others may be dropped to make room. */
  #put(source: Uint8Array, start: number, length: number, expiresAtMs: number): void {
    this.#admit(this.#image.keyBytes + this.#context.nodeId.length + length);
    const map = this.#open();
    this.#encode(source, start, length);
    this.#write(map, expiresAtMs, false);
  }

  /** Puts a value where that of the key at hand belongs. */
  #encode(source: Uint8Array, start: number, length: number): void {
    const image = this.#image;
    const valueAt = image.keyBytes + this.#context.nodeId.length;
    const scratch = this.#room(valueAt + VALUE_HEADER_BYTES + length);
    const encoded = encodeValue(source, scratch, valueAt, start, length);
    if (typeof encoded === 'number') image.valueBytes = encoded - valueAt;
    else {
      this.#room(valueAt + encoded.length).set(encoded, valueAt);
      image.valueBytes = encoded.length;
    }
  }

  expire(key: Uint8Array, expiresAtMs: number): void {
    const store = this.#store();
    const ref = this.#find(store, key);
    assert(store !== undefined && ref !== 0, 'a key that is there');
    const stored = this.#stored;
    store.read(ref, stored);
    if (stored.evicted) throw new ValueAway(store, [ref]);
    const value = stored.source.slice(stored.valueStart, stored.valueStart + stored.valueBytes);
    const valueAt = key.length + this.#context.nodeId.length;
    this.#admit(valueAt); // perhaps by dropping this very value
    this.#room(valueAt + value.length).set(value, valueAt);
    this.#image.valueBytes = value.length;
    this.#write(this.#open(), expiresAtMs, false);
  }

  remove(key: Uint8Array): boolean {
    if (this.#find(this.#store(), key) === 0) return false;
    this.#admit(0);
    this.#image.valueBytes = 0;
    this.#write(this.#open(), Number.NaN, true);
    return true;
  }

  /** Throws ValueAway when values of these keys were dropped from memory: with all of them, so that they are read back together. */
  assertHere(keys: Iterable<Uint8Array>): void {
    const store = this.#store();
    if (store === undefined || store.evicted === 0) return;
    const away = new AwayRecords(store);
    for (const key of keys) {
      const ref = this.isHash(key) ? 0 : this.#find(store, key);
      if (ref !== 0 && !away.add(ref)) break;
    }
    away.assertNone();
  }

  /** What is stored under the key, for an act over several workers. Throws ValueAway. */
  tell(space: Uint8Array, key: Uint8Array): ToldKey {
    const store = this.#store();
    const isHash = this.isHash(key);
    const told = { space, key, isLive: false, isHash, value: NO_BYTES, expiresAtMs: Number.NaN, millis: -1, counter: 0 };
    const isNone = store === undefined || isHash || key.length > IDENTITY_BYTES_MAX;
    const ref = isNone ? 0 : store.find(this.#identified(key));
    if (store === undefined || ref === 0) return told;
    const stored = this.#stored;
    store.read(ref, stored);
    const { millis, counter, ttlMs } = stored;
    if (stored.tombstone || store.isExpired(ref, this.#context.nowMs)) return { ...told, millis, counter };
    if (stored.evicted) throw new ValueAway(store, [ref]);
    const value = decodeValue(stored.source, stored.valueStart, stored.valueBytes).slice();
    return { ...told, isLive: true, value, expiresAtMs: millis + ttlMs, millis, counter };
  }

  #identified(key: Uint8Array): RecordImage {
    this.#identify(key);
    return this.#image;
  }

  /** Stamp of the record of a key, live or not, for WATCH: the same as long as nobody writes. */
  version(key: Uint8Array): string {
    if (key.length > IDENTITY_BYTES_MAX) return '';
    const store = this.#store();
    this.#identify(key);
    const ref = store === undefined ? 0 : store.find(this.#image);
    if (store === undefined || ref === 0) return '';
    store.read(ref, this.#stored);
    const isLive = !this.#stored.tombstone && !store.isExpired(ref, this.#context.nowMs);
    return `${this.#stored.millis} ${this.#stored.counter} ${isLive}`;
  }

  #store(): RecordStore | undefined {
    this.#map ??= this.#context.maps.find(this.#name);
    return this.#map?.existing(KIND_LWW);
  }

  #open(): GridMap {
    this.#map ??= this.#context.maps.openByName(this.#name);
    if (this.#map === undefined) throw new KvError(TOO_MANY_MAPS);
    return this.#map;
  }

  /** The live record of the key, 0 when there is none. Throws KvError for the name of a map. */
  #find(store: RecordStore | undefined, key: Uint8Array): RecordRef {
    if (key.length > IDENTITY_BYTES_MAX) return 0;
    this.#identify(key);
    return store === undefined ? 0 : store.get(this.#image, this.#context.nowMs);
  }

  #identify(key: Uint8Array): void {
    if (key !== this.#key) {
      this.#copyKey(key, 0, key.length, 0);
      this.#key = key;
    }
    this.#assertNoHash();
  }

  #identifyArgument(args: RespCommand, index: number): void {
    const { commands } = this.#context;
    if (index !== this.#argument || commands !== this.#command) {
      this.#copyKey(args.bytes, args.starts[index] as number, args.lengths[index] as number, index === 1 ? args.keyHash : 0);
      this.#argument = index;
      this.#command = commands;
    }
    this.#assertNoHash();
  }

  /** Makes it the key at hand. `hash` is fnv1a of it; 0: not known. */
  #copyKey(source: Uint8Array, start: number, length: number, hash: number): void {
    this.#forgetKey();
    const image = this.#image;
    const scratch = this.#room(length);
    if (length !== this.#nodeAt) this.#nodeAt = NOWHERE;
    if (length > LOOP_BYTES_MAX) scratch.set(source.subarray(start, start + length));
    else for (let index = 0; index < length; index++) scratch[index] = source[start + index] as number;
    image.keyHash = hash === 0 ? fnv1aUtf8(source, start, start + length) : hash;
    image.keyStart = 0;
    image.keyBytes = length;
  }

  #forgetKey(): void {
    this.#key = undefined;
    this.#argument = NO_ARGUMENT;
  }

  /** Throws KvError for the name of a map. */
  #assertNoHash(): void {
    const image = this.#image;
    image.source = this.#scratch;
    if (this.#isDatabase && !this.#context.isDecided && this.#context.names.has(image.source, image.keyBytes, image.keyHash))
      throw new KvError(WRONG_TYPE);
  }

  #admit(bytes: number): void {
    if (this.#context.isDecided) return;
    const refused = this.#context.refusal(partitionOf(this.#image.keyHash), bytes);
    if (refused >= 0) throw new KvError(replyOfNumber(refused));
  }

  #room(bytes: number): Uint8Array {
    if (bytes > this.#scratch.length) {
      const before = this.#scratch;
      this.#scratch = new Uint8Array(Math.max(SCRATCH_BYTES, 2 ** Math.ceil(Math.log2(bytes))));
      this.#scratch.set(before);
    }
    return this.#scratch;
  }

  /** The value stands in the scratch memory behind key and node. */
  #write(map: GridMap, expiresAtMs: number, isRemoval: boolean): void {
    if (this.#scratch.length <= SCRATCH_KEPT_BYTES) this.#join(map, expiresAtMs, isRemoval);
    else this.#writeLarge(map, expiresAtMs, isRemoval);
  }

  /** Keeps no large memory, also when the write is refused. */
  #writeLarge(map: GridMap, expiresAtMs: number, isRemoval: boolean): void {
    try {
      this.#join(map, expiresAtMs, isRemoval);
    } finally {
      this.#scratch = new Uint8Array(SCRATCH_BYTES);
      this.#nodeAt = NOWHERE;
      this.#forgetKey();
    }
  }

  #join(map: GridMap, expiresAtMs: number, isRemoval: boolean): void {
    const { nowMs, changes, isDecided } = this.#context;
    const store = map.store(KIND_LWW);
    const image = this.#image;
    const ref = this.#describe(store, expiresAtMs, isRemoval);
    if (!isDecided && map.guard !== undefined) assertGuarded(map.guard, image);
    const joined = store.join(image, nowMs, ref, isDecided ? Number.POSITIVE_INFINITY : ALIKE_MAX);
    if (joined === JOIN_CROWDED) throw new KvError(KEYS_ALIKE);
    assert(joined === JOIN_APPLIED, 'a stamp after the stored one wins');
    if (changes.isHeard(map) && isUtf8(image.source, 0, image.keyBytes))
      changes.changed(map, isRemoval ? OP_REMOVE : OP_PUT, image, 0, 0, false);
  }

  /** Makes the image all that is written, and answers with the record that it follows. */
  #describe(store: RecordStore, expiresAtMs: number, isRemoval: boolean): RecordRef {
    const { nodeId, nowMs } = this.#context;
    const image = this.#image;
    const { keyBytes } = image;
    const scratch = this.#room(keyBytes + nodeId.length);
    if (this.#nodeAt !== keyBytes) {
      for (let index = 0; index < nodeId.length; index++) scratch[keyBytes + index] = nodeId[index] as number;
      this.#nodeAt = keyBytes;
    }
    image.source = scratch;
    image.tagStart = keyBytes;
    image.nodeStart = keyBytes;
    image.nodeBytes = nodeId.length;
    image.valueStart = keyBytes + nodeId.length;
    image.tombstone = isRemoval;
    image.provenance = PROVENANCE_CLIENT;
    const ref = this.#stamp(store, nowMs);
    image.ttlMs = expiresAtMs - image.millis;
    return ref;
  }

  /** Now, but strictly after the stored record, which is answered. */
  #stamp(store: RecordStore, nowMs: number): RecordRef {
    const image = this.#image;
    const ref = store.find(image);
    image.millis = Math.floor(nowMs);
    image.counter = 0;
    if (ref === 0 || store.millisOf(ref) < image.millis) return ref;
    const stored = this.#stored;
    store.read(ref, stored);
    const overflows = stored.counter === COUNTER_MAX;
    image.millis = overflows ? Math.floor(stored.millis) + 1 : stored.millis;
    image.counter = overflows ? 0 : stored.counter + 1;
    return ref;
  }
}
