/**
 * OR-Map records as clients exchange them: one entry per key, with its live records and its tombstones.
 *
 * The record table holds one record per (key, tag); the records of a Merkle leaf are linked, so the entries of a leaf
 * are gathered by one walk. `{key, records: [{value, timestamp, tag, ttlMs?}], tombstones: [tag]}`, docs/PROTOCOL.md §5.6.
 */
import type { MessageWriter } from '../../protocol/msgpack-writer.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import { isExpiredImage } from '../../storage/expired-record.ts';
import type { ValueOf } from '../../storage/or-leaf.ts';
import { RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { encodeRecord } from '../crdt/change-events.ts';

/** The records of one key. */
export interface KeyRecords {
  readonly live: RecordRef[];
  readonly tombstones: RecordRef[];
}

/**
 * Groups the records of a leaf by key; the map's keys are the key's bytes, one character each. A record that has expired
 * by `nowMs` is among the tombstones: the value of a tag never changes, so nothing can keep it from becoming one.
 */
export function recordsByKey(store: RecordStore, leaf: number, nowMs: number): Map<string, KeyRecords> {
  const image = new RecordImage();
  const byKey = new Map<string, KeyRecords>();
  store.forEachInLeaf(leaf, (ref) => {
    store.read(ref, image);
    const key = byteText(image.source, image.keyStart, image.keyBytes);
    let records = byKey.get(key);
    if (records === undefined) {
      records = { live: [], tombstones: [] };
      byKey.set(key, records);
    }
    (image.tombstone || isExpiredImage(image, nowMs) ? records.tombstones : records.live).push(ref);
  });
  return byKey;
}

/**
 * Appends one entry. `key` may be left out when there are records; `removed` are tags known as removed without a record;
 * `readBack` has the values that were read back.
 */
export function encodeEntry(
  out: MessageWriter,
  store: RecordStore,
  records: KeyRecords,
  key?: Uint8Array,
  removed: readonly string[] = [],
  readBack: ValueOf = nothing,
): void {
  const image = new RecordImage();
  const recorded = new Set(records.tombstones.map((ref) => tagOf(store, ref, image)));
  const more = removed.filter((tag) => !recorded.has(tag));
  out.mapHeader(3);
  out.string('key');
  encodeKey(out, store, records, key);
  out.string('records');
  out.arrayHeader(records.live.length);
  for (const ref of records.live) {
    store.read(ref, image);
    encodeRecord(out, (image.evicted ? readBack(image) : undefined) ?? image);
  }
  out.string('tombstones');
  out.arrayHeader(recorded.size + more.length);
  for (const tag of recorded) out.string(tag);
  for (const tag of more) out.string(tag);
}

const nothing: ValueOf = () => undefined;

function encodeKey(out: MessageWriter, store: RecordStore, records: KeyRecords, key: Uint8Array | undefined): void {
  if (key !== undefined) {
    out.stringBytes(key, 0, key.length);
    return;
  }
  const image = new RecordImage();
  store.read(records.live[0] ?? records.tombstones[0] ?? 0, image);
  out.stringBytes(image.source, image.keyStart, image.keyBytes);
}

/**
 * The records of a key in portions of about `bytesMax`, live ones and tombstones alike: a key may have any number of tags,
 * a message may not. Clients merge entry by entry, so a key may come in several.
 */
export function* portionsOf(store: RecordStore, records: KeyRecords, bytesMax: number): Generator<KeyRecords> {
  let portion: { live: RecordRef[]; tombstones: RecordRef[] } = { live: [], tombstones: [] };
  let bytes = 0;
  for (const kind of ['live', 'tombstones'] as const) {
    for (const ref of records[kind]) {
      if (bytes > bytesMax) {
        yield portion;
        portion = { live: [], tombstones: [] };
        bytes = 0;
      }
      portion[kind].push(ref);
      bytes += store.costBytes(ref);
    }
  }
  yield portion;
}

/** Tag of a record, as text. */
export function tagOf(store: RecordStore, ref: RecordRef, image: RecordImage): string {
  store.read(ref, image);
  return decodeText(image.source, image.tagStart, image.tagStart + image.tagBytes);
}

/** Bytes as a string of one character each: a map key that keeps byte strings apart. */
export function byteText(bytes: Uint8Array, start: number, length: number): string {
  let text = '';
  for (let index = start; index < start + length; index++) text += String.fromCharCode(bytes[index] as number);
  return text;
}
