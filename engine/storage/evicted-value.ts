/**
 * What stays of a value that was dropped from memory, and how it is dropped and put back.
 *
 *   block before   header | key | tag | node | value ···················
 *   block after    header | key | tag | node | bytes u32 | hash u32                              EVICTED_BIT set; LWW
 *                                            | bytes u32 | hash u32 | key's hash u32 | tags u64   OR-Map
 *
 * Clock, TTL, entry hash, leaf and counters stay as they are: to everything but a reader of the value nothing happened.
 * Length and hash tell whether a write that comes again with the same clock is a repeat, and whether what the data store
 * answers is what was dropped. A value is put back only under the very clock under which it was dropped.
 *
 * The hash of an OR-Map's leaf is computed from the text of all values of its keys. So what is dropped keeps the hash that
 * its key had, and of which tags it was; all zeros when it was not found out (or-leaf.ts).
 */
import { compareLwwStamps } from '../crdt/lww.ts';
import { FNV_OFFSET, fmix32 } from '../partition/hash.ts';
import { KIND_LWW, RecordImage, type RecordKind } from './record.ts';
import { HEADER_BYTES } from './record-block.ts';
import { roundedBytes } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** Bytes that stand in the place of an evicted value: of an LWW record, of an OR record. */
const LWW_STAND_IN_BYTES = 8;
const OR_STAND_IN_BYTES = 20;
const KEY_HASH_AT = 8;
/** A value is dropped only if its block becomes smaller by so much. */
const GAIN_BYTES_MIN = 32;

/** Entry hash of a key of an OR-Map, and the live tags that it is of. */
export interface KeyHash {
  readonly hash: number;
  readonly tagsLow: number;
  readonly tagsHigh: number;
}

/** A store whose values can be dropped and put back; a RecordStore is one. */
export interface ValueStore {
  readonly kind: RecordKind;
  readonly map: Uint8Array;
  find(image: RecordImage): RecordRef;
  read(ref: RecordRef, into: RecordImage): void;
  stagedAt(ref: RecordRef): number;
  costBytes(ref: RecordRef): number;
  /** Hash of the record's key in an OR-Map; undefined where it is not known, and would cost much to find out. */
  keyHash(ref: RecordRef): KeyHash | undefined;
  /** As RecordTable.replaceValue. */
  replaceValue(ref: RecordRef, image: RecordImage, evicted: boolean): RecordRef;
}

const scratch = new RecordImage();
const standIn = new RecordImage();
let standInBytes = new Uint8Array(512);
let standInView = new DataView(standInBytes.buffer);

/** Bytes of memory that dropping the record's value would give back; 0 when it must stay. */
export function droppableBytes(store: ValueStore, ref: RecordRef): number {
  if (store.stagedAt(ref) !== 0) return 0;
  store.read(ref, scratch);
  if (scratch.tombstone || scratch.evicted) return 0;
  const blockBytes = scratch.valueStart + scratch.valueBytes - scratch.keyStart + HEADER_BYTES;
  const gain = store.costBytes(ref) - roundedBytes(blockBytes - scratch.valueBytes + standInBytesOf(store.kind));
  return gain >= GAIN_BYTES_MIN ? gain : 0;
}

/** Drops the value of a record for which `droppableBytes` is not 0. The record moves. */
export function dropValue(store: ValueStore, ref: RecordRef): RecordRef {
  const keyHash = store.kind === KIND_LWW ? undefined : store.keyHash(ref);
  const bytes = standInBytesOf(store.kind);
  store.read(ref, scratch);
  const { source, nodeStart, nodeBytes, valueStart, valueBytes } = scratch;
  if (standInBytes.length < nodeBytes + bytes) {
    standInBytes = new Uint8Array((nodeBytes + bytes) * 2);
    standInView = new DataView(standInBytes.buffer);
  }
  standInBytes.set(source.subarray(nodeStart, nodeStart + nodeBytes));
  standInView.setUint32(nodeBytes, valueBytes, true);
  standInView.setUint32(nodeBytes + 4, valueHash(source, valueStart, valueStart + valueBytes), true);
  standInBytes.fill(0, nodeBytes + KEY_HASH_AT, nodeBytes + bytes);
  Object.assign(standIn, scratch);
  standIn.source = standInBytes;
  standIn.nodeStart = 0;
  standIn.valueStart = nodeBytes;
  standIn.valueBytes = bytes;
  if (keyHash !== undefined) keepKeyHash(standIn, keyHash);
  return store.replaceValue(ref, standIn, true);
}

/**
 * Puts back the value of an evicted record from an image that the data store answered. False when the record is gone,
 * changed, or the image is not what was dropped: then nothing happened.
 */
export function fillValue(store: ValueStore, image: RecordImage): boolean {
  const ref = store.find(image);
  if (ref === 0) return false;
  store.read(ref, scratch);
  if (!scratch.evicted || !isSameVersion(scratch, image)) return false;
  store.replaceValue(ref, image, false);
  return true;
}

/** True when `image` is the version, value and all, of which `evicted` is what stayed. */
export function isSameVersion(evicted: RecordImage, image: RecordImage): boolean {
  return !image.tombstone && compareLwwStamps(evicted, image) === 0 && isEvictedValue(evicted, image);
}

/** True when the image's value has the length and the hash of the one that was dropped. */
export function isEvictedValue(evicted: RecordImage, image: RecordImage): boolean {
  if (evictedBytes(evicted) !== image.valueBytes) return false;
  return readUint32(evicted, 4) === valueHash(image.source, image.valueStart, image.valueStart + image.valueBytes);
}

/** Length of the value that was dropped. */
export function evictedBytes(evicted: RecordImage): number {
  return readUint32(evicted, 0);
}

/** What an evicted OR record keeps of its key; all zeros when nothing is known. */
export function keptKeyHash(evicted: RecordImage): KeyHash {
  return {
    hash: readUint32(evicted, KEY_HASH_AT),
    tagsLow: readUint32(evicted, KEY_HASH_AT + 4),
    tagsHigh: readUint32(evicted, KEY_HASH_AT + 8),
  };
}

/** Writes the hash of its key into an evicted OR record. */
export function keepKeyHash({ source, valueStart }: RecordImage, { hash, tagsLow, tagsHigh }: KeyHash): void {
  [hash, tagsLow, tagsHigh].forEach((word, index) => {
    const at = valueStart + KEY_HASH_AT + index * 4;
    for (let byte = 0; byte < 4; byte++) source[at + byte] = word >>> (byte * 8);
  });
}

function standInBytesOf(kind: RecordKind): number {
  return kind === KIND_LWW ? LWW_STAND_IN_BYTES : OR_STAND_IN_BYTES;
}

function readUint32({ source, valueStart }: RecordImage, offset: number): number {
  const at = valueStart + offset;
  const low = (source[at] as number) | ((source[at + 1] as number) << 8) | ((source[at + 2] as number) << 16);
  return (low | ((source[at + 3] as number) << 24)) >>> 0;
}

/** Of a value's bytes, unsigned: FNV-1a over bytes, mixed at the end. */
function valueHash(bytes: Uint8Array, start: number, end: number): number {
  let hash: number = FNV_OFFSET;
  for (let index = start; index < end; index++) hash = Math.imul(hash ^ (bytes[index] as number), 0x01000193);
  return fmix32(hash) >>> 0;
}
