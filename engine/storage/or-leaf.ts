/**
 * Sum of one Merkle leaf of an OR-Map: the mixed hashes of its keys, each over the live records of all its tags.
 *
 * Computed when somebody syncs, from a walk of the leaf's list: this is the one place of the storage where keys become
 * strings and values are decoded, because the client hashes their text (docs/PROTOCOL.md §4.3).
 *
 *   all values of the key in memory    hashed from them
 *   some were dropped                  what was dropped keeps the hash of its key, and of which tags: the value of a tag
 *                                      never changes, so it holds as long as the live tags are the same
 *   the tags are others by now         not known: the values must be read back (unknownKeys, learnKey)
 */
import { type OrRecord, orEntryHash } from '../crdt/or-map.ts';
import { codePointAt, fmix32, isUtf8 } from '../partition/hash.ts';
import { type KeyHash, keptKeyHash, keepKeyHash } from './evicted-value.ts';
import { nextInLeaf } from './leaf-list.ts';
import { RecordImage } from './record.ts';
import { readBlock } from './record-block.ts';
import type { Slab } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** Decodes value bytes to what the client sees. Must not throw, nor answer a bigint or a cycle inside an object. */
export type DecodeValue = (bytes: Uint8Array, start: number, end: number) => unknown;

/** The record with the value that was dropped from it, if it was read back. */
export type ValueOf = (evicted: RecordImage) => RecordImage | undefined;

/** What a value that is dropped may cost to find out the hash of its key for: above it is found out when somebody syncs. */
const WALKED_MAX = 1024;
const TAGS_MAX = 256;
const VALUE_BYTES_MAX = 1024 * 1024;

/** Sum of the leaf whose list starts at `head`, unsigned; undefined when the hash of one of its keys is not known. */
export function orLeafSum(slab: Slab, head: RecordRef, decode: DecodeValue): number | undefined {
  let sum = 0;
  for (const refs of liveByKey(slab, head).values()) {
    const hash = hashOf(slab, refs, decode);
    if (hash === undefined) return undefined;
    sum = (sum + fmix32(hash)) >>> 0;
  }
  return sum;
}

/** The keys of the leaf whose hash is not known: the live records of each. */
export function unknownKeys(slab: Slab, head: RecordRef): RecordRef[][] {
  const image = new RecordImage();
  return [...liveByKey(slab, head).values()].filter((refs) => {
    if (!refs.some((ref) => isEvicted(slab, ref, image))) return false;
    return keptHash(slab, refs) === undefined;
  });
}

/** Finds out the hash of a key with values that were read back, and keeps it. False when one is still not here. */
export function learnKey(slab: Slab, refs: readonly RecordRef[], decode: DecodeValue, readBack: ValueOf): boolean {
  const hash = hashOfValues(slab, refs, decode, readBack);
  if (hash === undefined) return false;
  const kept = { hash, ...tagsOf(slab, refs) };
  const image = new RecordImage();
  for (const ref of refs) if (isEvicted(slab, ref, image)) keepKeyHash(image, kept);
  return true;
}

/** Hash of the key of `ref`, for its value is about to be dropped; undefined when finding it out would cost too much. */
export function keyHashOf(slab: Slab, head: RecordRef, ref: RecordRef, decode: DecodeValue): KeyHash | undefined {
  const image = new RecordImage();
  readBlock(slab, ref, image);
  const { source, keyHash, keyStart, keyBytes } = image;
  const key = source.subarray(keyStart, keyStart + keyBytes);
  const refs: RecordRef[] = [];
  let walked = 0;
  let valueBytes = 0;
  for (let other = head; other !== 0; other = nextInLeaf(slab, other)) {
    readBlock(slab, other, image);
    if (++walked > WALKED_MAX) return undefined;
    if (image.tombstone || image.keyHash !== keyHash || !hasKey(image, key)) continue;
    refs.push(other);
    if (!image.evicted) valueBytes += image.valueBytes;
    if (refs.length > TAGS_MAX) return undefined;
  }
  const kept = keptHash(slab, refs);
  if (kept === undefined && valueBytes > VALUE_BYTES_MAX) return undefined;
  const hash = kept ?? hashOfValues(slab, refs, decode, () => undefined);
  return hash === undefined ? undefined : { hash, ...tagsOf(slab, refs) };
}

function hashOf(slab: Slab, refs: readonly RecordRef[], decode: DecodeValue): number | undefined {
  const image = new RecordImage();
  if (refs.some((ref) => isEvicted(slab, ref, image))) return keptHash(slab, refs);
  return hashOfValues(slab, refs, decode, () => undefined);
}

/** From the values of all records; undefined when one is neither in memory nor read back. */
function hashOfValues(slab: Slab, refs: readonly RecordRef[], decode: DecodeValue, readBack: ValueOf): number | undefined {
  const image = new RecordImage();
  const records: OrRecord[] = [];
  let key = '';
  for (const ref of refs) {
    readBlock(slab, ref, image);
    const valued = image.evicted ? readBack(image) : image;
    if (valued === undefined) return undefined;
    key = keyOf(image);
    records.push(decodeRecord(valued, decode));
  }
  return orEntryHash(key, records);
}

/** The hash that a dropped value kept of its key, if it was of these tags. */
function keptHash(slab: Slab, refs: readonly RecordRef[]): number | undefined {
  const tags = tagsOf(slab, refs);
  const image = new RecordImage();
  for (const ref of refs) {
    if (!isEvicted(slab, ref, image)) continue;
    const kept = keptKeyHash(image);
    if (kept.tagsLow === tags.tagsLow && kept.tagsHigh === tags.tagsHigh) return kept.hash;
  }
  return undefined;
}

/** Which tags these are, in any order: two sums over two hashes of each tag. */
function tagsOf(slab: Slab, refs: readonly RecordRef[]): Omit<KeyHash, 'hash'> {
  const image = new RecordImage();
  let low = refs.length;
  let high = 0;
  for (const ref of refs) {
    readBlock(slab, ref, image);
    const { source, tagStart, tagBytes } = image;
    let forwards = 0x811c9dc5;
    let backwards = 0x2f0b4c47;
    for (let index = 0; index < tagBytes; index++) {
      forwards = Math.imul(forwards ^ (source[tagStart + index] as number), 0x01000193);
      backwards = Math.imul(backwards ^ (source[tagStart + tagBytes - 1 - index] as number), 0x01000193);
    }
    low = (low + fmix32(forwards)) >>> 0;
    high = (high + fmix32(backwards)) >>> 0;
  }
  return { tagsLow: low, tagsHigh: high };
}

function liveByKey(slab: Slab, head: RecordRef): Map<string, RecordRef[]> {
  const image = new RecordImage();
  const byKey = new Map<string, RecordRef[]>();
  for (let ref = head; ref !== 0; ref = nextInLeaf(slab, ref)) {
    readBlock(slab, ref, image);
    if (image.tombstone) continue;
    const key = keyOf(image);
    const refs = byKey.get(key);
    if (refs === undefined) byKey.set(key, [ref]);
    else refs.push(ref);
  }
  return byKey;
}

function isEvicted(slab: Slab, ref: RecordRef, image: RecordImage): boolean {
  readBlock(slab, ref, image);
  return image.evicted;
}

function hasKey({ source, keyStart, keyBytes }: RecordImage, key: Uint8Array): boolean {
  if (keyBytes !== key.length) return false;
  for (let index = 0; index < keyBytes; index++) if (source[keyStart + index] !== key[index]) return false;
  return true;
}

function keyOf({ source, keyStart, keyBytes }: RecordImage): string {
  return textOf(source, keyStart, keyStart + keyBytes);
}

function decodeRecord(image: RecordImage, decode: DecodeValue): OrRecord {
  const { source, millis, counter, ttlMs } = image;
  return {
    tag: textOf(source, image.tagStart, image.tagStart + image.tagBytes),
    value: image.valueBytes === 0 ? null : decode(source, image.valueStart, image.valueStart + image.valueBytes), // nil is stored as nothing
    millis,
    counter,
    nodeId: textOf(source, image.nodeStart, image.nodeStart + image.nodeBytes),
    ttlMs: Number.isNaN(ttlMs) ? undefined : ttlMs,
  };
}

/** The string that the bytes spell, lone surrogates included (a TextDecoder would replace them); else a unit a byte. */
function textOf(bytes: Uint8Array, start: number, end: number): string {
  const utf8 = isUtf8(bytes, start, end);
  let text = '';
  for (let index = start; index < end; ) {
    const point = utf8 ? codePointAt(bytes, index) : (bytes[index] as number);
    index += !utf8 || point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    text += String.fromCodePoint(point);
  }
  return text;
}
