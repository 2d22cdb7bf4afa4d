/**
 * Sum of one Merkle leaf of an OR-Map: the mixed hashes of its keys, each over the live records of all its tags.
 *
 * Computed when somebody syncs, from a walk of the leaf's list: this is the one place of the storage where keys become
 * strings and values are decoded, because the client hashes their text (protocol reference §4.3).
 */
import { type OrRecord, orEntryHash } from '../crdt/or-map.ts';
import { codePointAt, fmix32, isUtf8 } from '../partition/hash.ts';
import { nextInLeaf } from './leaf-list.ts';
import { RecordImage } from './record.ts';
import { readBlock } from './record-block.ts';
import type { Slab } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** Decodes value bytes to what the client sees. Must not throw, nor answer a bigint or a cycle inside an object. */
export type DecodeValue = (bytes: Uint8Array, start: number, end: number) => unknown;

/** Sum of the leaf whose list starts at `head`, unsigned. */
export function orLeafSum(slab: Slab, head: RecordRef, decode: DecodeValue): number {
  let sum = 0;
  for (const [key, records] of liveRecordsByKey(slab, head, decode)) sum = (sum + fmix32(orEntryHash(key, records))) >>> 0;
  return sum;
}

function liveRecordsByKey(slab: Slab, head: RecordRef, decode: DecodeValue): Map<string, OrRecord[]> {
  const image = new RecordImage();
  const byKey = new Map<string, OrRecord[]>();
  for (let ref = head; ref !== 0; ref = nextInLeaf(slab, ref)) {
    readBlock(slab, ref, image);
    if (image.tombstone) continue;
    const key = textOf(image.source, image.keyStart, image.keyStart + image.keyBytes);
    const records = byKey.get(key);
    if (records === undefined) byKey.set(key, [decodeRecord(image, decode)]);
    else records.push(decodeRecord(image, decode));
  }
  return byKey;
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
