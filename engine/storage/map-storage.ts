/**
 * Layer 1 of storage in its plain form: a Map of copied records. The oracle of the record table's tests and of simulations.
 *
 *   #byIdentity   "key bytes/tag bytes" → record        #byRef   reference → record, in order of insertion
 *
 * References are never used again, and an overwrite always gives a new one: whoever keeps an old one is found out.
 */
import { assert } from '../assert.ts';
import { RecordImage } from './record.ts';
import type { RecordCursor, RecordMeta, RecordRef, Storage } from './storage.ts';

interface MapRecord {
  readonly identity: string;
  readonly image: RecordImage;
  readonly meta: RecordMeta;
}

/** Rough: JavaScript objects around the bytes. */
const OVERHEAD_BYTES = 200;

export class MapStorage implements Storage {
  readonly #byIdentity = new Map<string, RecordRef>();
  readonly #byRef = new Map<RecordRef, MapRecord>();
  #nextRef = 1;
  #bytes = 0;

  get records(): number {
    return this.#byRef.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  find(image: RecordImage): RecordRef {
    return this.#byIdentity.get(identityOf(image)) ?? 0;
  }

  insert(image: RecordImage, nowS: number): RecordRef {
    const identity = identityOf(image);
    assert(!this.#byIdentity.has(identity), 'insert of a record that is there');
    const copy = copyOf(image, image);
    const costBytes = copy.source.length + OVERHEAD_BYTES;
    const meta = { version: 1, createdS: nowS, updatedS: nowS, accessedS: 0, hits: 0, costBytes };
    return this.#put({ identity, image: copy, meta });
  }

  overwrite(ref: RecordRef, image: RecordImage, nowS: number): RecordRef {
    const old = this.#at(ref);
    const copy = copyOf(old.image, image);
    this.#byRef.delete(ref);
    this.#bytes -= old.meta.costBytes;
    const costBytes = copy.source.length + OVERHEAD_BYTES;
    const meta = { ...old.meta, version: old.meta.version + 1, updatedS: nowS, costBytes };
    return this.#put({ identity: old.identity, image: copy, meta });
  }

  remove(ref: RecordRef): void {
    const record = this.#at(ref);
    this.#byRef.delete(ref);
    this.#byIdentity.delete(record.identity);
    this.#bytes -= record.meta.costBytes;
  }

  read(ref: RecordRef, into: RecordImage): void {
    Object.assign(into, this.#at(ref).image);
  }

  meta(ref: RecordRef, into: RecordMeta): void {
    Object.assign(into, this.#at(ref).meta);
  }

  touch(ref: RecordRef, nowS: number): void {
    const { meta } = this.#at(ref);
    meta.accessedS = nowS;
    meta.hits += 1;
  }

  /** A Map's iterator tolerates changes, and an identity that is set again keeps its place. */
  cursor(): RecordCursor {
    const refs = this.#byIdentity.values();
    return { next: () => refs.next().value ?? 0 };
  }

  #put(record: MapRecord): RecordRef {
    const ref = this.#nextRef;
    this.#nextRef += 1;
    this.#byRef.set(ref, record);
    this.#byIdentity.set(record.identity, ref);
    this.#bytes += record.meta.costBytes;
    return ref;
  }

  #at(ref: RecordRef): MapRecord {
    const record = this.#byRef.get(ref);
    assert(record !== undefined, `no record ${ref}`);
    return record;
  }
}

function identityOf(image: RecordImage): string {
  return `${textOf(image, image.keyStart, image.keyBytes)}/${textOf(image, image.tagStart, image.tagBytes)}`;
}

function textOf(image: RecordImage, start: number, bytes: number): string {
  return Array.from(image.source.subarray(start, start + bytes)).join();
}

/** A record of its own with the key and tag of one image and all else of another. */
function copyOf(identity: RecordImage, state: RecordImage): RecordImage {
  const copy = new RecordImage();
  const valueBytes = state.tombstone ? 0 : state.valueBytes;
  copy.source = new Uint8Array(identity.keyBytes + identity.tagBytes + state.nodeBytes + valueBytes);
  let at = 0;
  const append = (source: Uint8Array, start: number, bytes: number): number => {
    copy.source.set(source.subarray(start, start + bytes), at);
    at += bytes;
    return at - bytes;
  };
  copy.keyHash = identity.keyHash;
  copy.keyStart = append(identity.source, identity.keyStart, identity.keyBytes);
  copy.keyBytes = identity.keyBytes;
  copy.tagStart = append(identity.source, identity.tagStart, identity.tagBytes);
  copy.tagBytes = identity.tagBytes;
  copy.nodeStart = append(state.source, state.nodeStart, state.nodeBytes);
  copy.nodeBytes = state.nodeBytes;
  copy.valueStart = append(state.source, state.valueStart, valueBytes);
  copy.valueBytes = valueBytes;
  copy.millis = state.millis;
  copy.counter = state.counter;
  copy.ttlMs = state.ttlMs;
  copy.tombstone = state.tombstone;
  copy.provenance = state.provenance;
  return copy;
}
