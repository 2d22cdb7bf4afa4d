/**
 * What stays of a value that was dropped from memory, and how it is dropped and put back.
 *
 *   block before   header | key | node | value ···················
 *   block after    header | key | node | bytes u32 | hash u32        EVICTED_BIT set, the valueBytes of the header are 8
 *
 * Clock, TTL, entry hash, leaf and counters stay as they are: to everything but a reader of the value nothing happened.
 * Length and hash tell whether a write that comes again with the same clock is a repeat, and whether what the data store
 * answers is what was dropped. A value is put back only under the very clock under which it was dropped.
 *
 * LWW values only. The hash of an OR-Map's leaf is computed from the JSON text of all its values whenever one of them
 * changes, so dropping them would turn each write into reads from the data store.
 */
import { compareLwwStamps } from '../crdt/lww.ts';
import { FNV_OFFSET, fmix32 } from '../partition/hash.ts';
import { KIND_LWW, RecordImage, type RecordKind } from './record.ts';
import { HEADER_BYTES } from './record-block.ts';
import { roundedBytes } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** Bytes that stand in the place of an evicted value. */
export const STAND_IN_BYTES = 8;
/** A value is dropped only if its block becomes smaller by so much. */
const GAIN_BYTES_MIN = 32;

/** A store whose values can be dropped and put back; a RecordStore is one. */
export interface ValueStore {
  readonly kind: RecordKind;
  readonly map: Uint8Array;
  find(image: RecordImage): RecordRef;
  read(ref: RecordRef, into: RecordImage): void;
  stagedAt(ref: RecordRef): number;
  costBytes(ref: RecordRef): number;
  /** As RecordTable.replaceValue. */
  replaceValue(ref: RecordRef, image: RecordImage, evicted: boolean): RecordRef;
}

const scratch = new RecordImage();
const standIn = new RecordImage();
let standInBytes = new Uint8Array(512);
let standInView = new DataView(standInBytes.buffer);

/** Bytes of memory that dropping the record's value would give back; 0 when it must stay. */
export function droppableBytes(store: ValueStore, ref: RecordRef): number {
  if (store.kind !== KIND_LWW || store.stagedAt(ref) !== 0) return 0;
  store.read(ref, scratch);
  if (scratch.tombstone || scratch.evicted) return 0;
  const blockBytes = scratch.valueStart + scratch.valueBytes - scratch.keyStart + HEADER_BYTES;
  const gain = store.costBytes(ref) - roundedBytes(blockBytes - scratch.valueBytes + STAND_IN_BYTES);
  return gain >= GAIN_BYTES_MIN ? gain : 0;
}

/** Drops the value of a record for which `droppableBytes` is not 0. The record moves. */
export function dropValue(store: ValueStore, ref: RecordRef): RecordRef {
  store.read(ref, scratch);
  const { source, nodeStart, nodeBytes, valueStart, valueBytes } = scratch;
  if (standInBytes.length < nodeBytes + STAND_IN_BYTES) {
    standInBytes = new Uint8Array((nodeBytes + STAND_IN_BYTES) * 2);
    standInView = new DataView(standInBytes.buffer);
  }
  standInBytes.set(source.subarray(nodeStart, nodeStart + nodeBytes));
  standInView.setUint32(nodeBytes, valueBytes, true);
  standInView.setUint32(nodeBytes + 4, valueHash(source, valueStart, valueStart + valueBytes), true);
  Object.assign(standIn, scratch);
  standIn.source = standInBytes;
  standIn.nodeStart = 0;
  standIn.valueStart = nodeBytes;
  standIn.valueBytes = STAND_IN_BYTES;
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
