/**
 * A record that stands by itself: its spans copied out into byte arrays of their own.
 *
 * The hot path carries a RecordImage over somebody else's memory. What must outlive the call (a removal that waits
 * for its flush, a dead letter, a row of the store in memory, the expectation of a test) is one of these instead.
 */
import { fnv1aUtf8 } from '../partition/hash.ts';
import { KIND_COUNTER, KIND_LWW, RecordImage, type StoredKind } from './record.ts';

export interface StoredRecord {
  readonly kind: StoredKind;
  /** Name of the map, UTF-8. Shared with the caller, never changed. */
  readonly map: Uint8Array;
  readonly keyHash: number;
  readonly key: Uint8Array;
  /** Empty for LWW. */
  readonly tag: Uint8Array;
  readonly node: Uint8Array;
  /** Empty for a tombstone. */
  readonly value: Uint8Array;
  readonly millis: number;
  readonly counter: number;
  /** NaN when the record does not expire. */
  readonly ttlMs: number;
  readonly tombstone: boolean;
}

/** Copies what `image` points at. */
export function storedRecord(kind: StoredKind, map: Uint8Array, image: RecordImage): StoredRecord {
  return {
    kind,
    map,
    keyHash: image.keyHash,
    key: span(image.source, image.keyStart, image.keyBytes),
    tag: span(image.source, image.tagStart, image.tagBytes),
    node: span(image.source, image.nodeStart, image.nodeBytes),
    value: span(image.source, image.valueStart, image.valueBytes),
    millis: image.millis,
    counter: image.counter,
    ttlMs: image.ttlMs,
    tombstone: image.tombstone,
  };
}

/** An image over a fresh source that holds all spans of `record`. */
export function imageOf(record: StoredRecord): RecordImage {
  const image = new RecordImage();
  fillImage(record, image);
  return image;
}

/** As `imageOf`, into an image that is there already. */
export function fillImage(record: StoredRecord, image: RecordImage): void {
  const { key, tag, node, value } = record;
  const source = new Uint8Array(key.length + tag.length + node.length + value.length);
  image.source = source;
  image.keyHash = record.keyHash;
  image.keyStart = 0;
  image.keyBytes = key.length;
  image.tagStart = key.length;
  image.tagBytes = tag.length;
  image.nodeStart = image.tagStart + tag.length;
  image.nodeBytes = node.length;
  image.valueStart = image.nodeStart + node.length;
  image.valueBytes = value.length;
  source.set(key, image.keyStart);
  source.set(tag, image.tagStart);
  source.set(node, image.nodeStart);
  source.set(value, image.valueStart);
  image.millis = record.millis;
  image.counter = record.counter;
  image.ttlMs = record.ttlMs;
  image.tombstone = record.tombstone;
  image.evicted = false;
}

/** Fields of a record as a test or a tool writes them: text becomes UTF-8, what is left out has a plain default. */
export interface RecordFields {
  readonly kind?: StoredKind;
  readonly map?: string | Uint8Array;
  readonly key: string | Uint8Array;
  readonly tag?: string | Uint8Array;
  readonly node?: string | Uint8Array;
  readonly value?: string | Uint8Array;
  readonly millis?: number;
  readonly counter?: number;
  readonly ttlMs?: number;
  readonly tombstone?: boolean;
}

const utf8 = new TextEncoder();

/** Builds a record from its fields; the hash is that of the key. */
export function recordOf(fields: RecordFields): StoredRecord {
  const key = bytesOf(fields.key);
  return {
    kind: fields.kind ?? KIND_LWW,
    map: bytesOf(fields.map ?? 'map'),
    keyHash: fnv1aUtf8(key, 0, key.length),
    key,
    tag: bytesOf(fields.tag ?? ''),
    node: bytesOf(fields.node ?? 'node'),
    value: bytesOf(fields.value ?? ''),
    millis: fields.millis ?? 1,
    counter: fields.counter ?? 0,
    ttlMs: fields.ttlMs ?? Number.NaN,
    tombstone: fields.tombstone ?? false,
  };
}

/**
 * Text that names the record's kind, map, key and tag (of a counter: the node) and no other: latin-1 of the bytes, each part
 * with its length.
 */
export function identityOf(
  record: Pick<StoredRecord, 'kind' | 'map' | 'key' | 'tag'> & Partial<Pick<StoredRecord, 'node'>>,
): string {
  const { kind, map, key, tag, node } = record;
  const rest = kind === KIND_COUNTER && node !== undefined ? node : tag;
  return `${kind} ${map.length} ${key.length} ${latin1(map)}${latin1(key)}${latin1(rest)}`;
}

function bytesOf(text: string | Uint8Array): Uint8Array {
  return typeof text === 'string' ? utf8.encode(text) : text;
}

/** Always a plain Uint8Array: `slice` of a Buffer would share its memory. */
function span(source: Uint8Array, start: number, bytes: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy.set(source.subarray(start, start + bytes));
  return copy;
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
