/**
 * Layer 1 of storage in its fast form: the records of one map, kind and partition, in blocks of the worker's slab.
 *
 *   SlotIndex   hash → reference        found by key (and tag)
 *   DenseList   position → reference    walked by cursors
 *   Slab        reference → block       header, key, tag, node, value (record-block.ts)
 *
 * There are 271 tables a map, most of them small or empty, so a table starts with 8 slots. An overwrite stays in its
 * block when the new value falls into the same size class, which is what most overwrites do.
 */
import type { RecordImage } from './record.ts';
import {
  ACCESSED_S,
  CREATED_S,
  EVICTED_BIT,
  HEADER_BYTES,
  HITS,
  imageBlockBytes,
  KEY_HASH,
  KEY_TAG_BYTES,
  NODE_BYTES_FLAGS,
  POSITION,
  readBlock,
  segmentOf,
  storedBlockBytes,
  UPDATED_S,
  VERSION,
  wordOf,
  writeIdentity,
  writeState,
} from './record-block.ts';
import { DenseList } from './dense-list.ts';
import { roundedBytes, type Segment, type Slab, sizeClassOf } from './slab.ts';
import { SlotIndex } from './slot-index.ts';
import type { RecordCursor, RecordMeta, RecordRef, Storage } from './storage.ts';

const HEADER_WORDS = HEADER_BYTES >>> 2;

export class RecordTable implements Storage {
  readonly #slab: Slab;
  readonly #index: SlotIndex;
  readonly #dense = new DenseList();
  #bytes = 0;

  /** @param kernelEntry where the kernel is told of the index (slot-index.ts); 0: nowhere. */
  constructor(slab: Slab, kernelEntry = 0) {
    this.#slab = slab;
    this.#index = new SlotIndex(slab.segments, slab.memory, kernelEntry);
  }

  get records(): number {
    return this.#dense.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  find(image: RecordImage): RecordRef {
    return this.#index.find(imageHash(image), image, this.#slab.wordsOf(image.source));
  }

  /** When the last `find` answered 0: records with the hash of that image. */
  get alike(): number {
    return this.#index.alike;
  }

  /** Reads what a `find` of an LWW record with this key hash will read; the answer means nothing. */
  warm(keyHash: number): number {
    return this.#index.warm(mixHash(keyHash));
  }

  insert(image: RecordImage, nowS: number): RecordRef {
    const slab = this.#slab;
    const bytes = imageBlockBytes(image);
    const ref = slab.allocate(bytes);
    const segment = segmentOf(slab, ref);
    const word = wordOf(ref);
    const i32 = segment.i32;
    i32.fill(0, word, word + HEADER_WORDS);
    i32[word + VERSION] = 1;
    i32[word + CREATED_S] = nowS;
    i32[word + UPDATED_S] = nowS;
    i32[word + POSITION] = this.#dense.length;
    writeIdentity(segment, word, image, slab);
    writeState(segment, word, image, slab);
    this.#index.add(imageHash(image), ref);
    this.#dense.push(ref);
    this.#bytes += roundedBytes(bytes);
    return ref;
  }

  overwrite(ref: RecordRef, image: RecordImage, nowS: number): RecordRef {
    const segment = segmentOf(this.#slab, ref);
    const word = wordOf(ref);
    const i32 = segment.i32;
    const spans = i32[word + KEY_TAG_BYTES] as number;
    const oldBytes = storedBlockBytes(i32, word);
    const valueBytes = image.tombstone ? 0 : image.valueBytes;
    const bytes = HEADER_BYTES + (spans & 0xffff) + (spans >>> 16) + image.nodeBytes + valueBytes;
    i32[word + VERSION] = (i32[word + VERSION] as number) + 1;
    i32[word + UPDATED_S] = nowS;
    // An image that points into this slab may overlap the block: then only a move keeps its bytes whole.
    if (image.source === segment.u8 || (bytes !== oldBytes && sizeClassOf(bytes) !== sizeClassOf(oldBytes))) {
      return this.#move(ref, segment, word, image, oldBytes, bytes);
    }
    writeState(segment, word, image, this.#slab);
    return ref;
  }

  /**
   * Stores the same version with another value span: no write, so nothing is counted. `evicted` says that the span stands
   * for a value that was dropped. The record may move: use the answer.
   */
  replaceValue(ref: RecordRef, image: RecordImage, evicted: boolean): RecordRef {
    const before = segmentOf(this.#slab, ref).i32;
    const to = this.overwrite(ref, image, before[wordOf(ref) + UPDATED_S] as number);
    const i32 = segmentOf(this.#slab, to).i32;
    const word = wordOf(to);
    i32[word + VERSION] = (i32[word + VERSION] as number) - 1;
    if (evicted) i32[word + NODE_BYTES_FLAGS] = (i32[word + NODE_BYTES_FLAGS] as number) | EVICTED_BIT;
    return to;
  }

  /** A record of the table by a number from [0, 1); 0 when there is none. */
  sample(random: number): RecordRef {
    return this.#dense.length === 0 ? 0 : this.#dense.at(Math.floor(random * this.#dense.length));
  }

  /** The record at a place of the list, below `records`. */
  recordAt(position: number): RecordRef {
    return this.#dense.at(position);
  }

  /** True when the block at `ref`, which may be free or another table's, is a record of this table. */
  holds(ref: RecordRef): boolean {
    const position = segmentOf(this.#slab, ref).i32[wordOf(ref) + POSITION] as number;
    return position >>> 0 < this.#dense.length && this.#dense.at(position) === ref;
  }

  remove(ref: RecordRef): void {
    const segment = segmentOf(this.#slab, ref);
    const word = wordOf(ref);
    this.#index.remove(storedHash(segment, word), ref);
    const position = segment.i32[word + POSITION] as number;
    const moved = this.#dense.removeAt(position);
    if (moved !== 0) segmentOf(this.#slab, moved).i32[wordOf(moved) + POSITION] = position;
    const bytes = storedBlockBytes(segment.i32, word);
    this.#bytes -= roundedBytes(bytes);
    this.#slab.release(ref, bytes);
  }

  /** Forgets all records, and is of no use from then on. */
  drop(): void {
    this.clear();
    this.#index.drop();
  }

  /** Forgets all records. */
  clear(): void {
    for (let position = this.#dense.length - 1; position >= 0; position--) {
      const ref = this.#dense.at(position);
      this.#slab.release(ref, storedBlockBytes(segmentOf(this.#slab, ref).i32, wordOf(ref)));
    }
    this.#index.clear();
    this.#dense.clear();
    this.#bytes = 0;
  }

  read(ref: RecordRef, into: RecordImage): void {
    readBlock(this.#slab, ref, into);
  }

  meta(ref: RecordRef, into: RecordMeta): void {
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    into.version = (i32[word + VERSION] as number) >>> 0;
    into.createdS = (i32[word + CREATED_S] as number) >>> 0;
    into.updatedS = (i32[word + UPDATED_S] as number) >>> 0;
    into.accessedS = (i32[word + ACCESSED_S] as number) >>> 0;
    into.hits = (i32[word + HITS] as number) >>> 0;
    into.costBytes = roundedBytes(storedBlockBytes(i32, word));
  }

  touch(ref: RecordRef, nowS: number): void {
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    i32[word + ACCESSED_S] = nowS;
    i32[word + HITS] = (i32[word + HITS] as number) + 1;
  }

  cursor(): RecordCursor {
    return this.#dense.cursor();
  }

  /** Writes the image into a new block, with header, key and tag of the old one, and lets the old one go. */
  #move(ref: number, from: Segment, fromWord: number, image: RecordImage, oldBytes: number, bytes: number): number {
    const slab = this.#slab;
    const moved = slab.allocate(bytes);
    const segment = segmentOf(slab, moved);
    const word = wordOf(moved);
    const spans = from.i32[fromWord + KEY_TAG_BYTES] as number;
    const words = (HEADER_BYTES + (spans & 0xffff) + (spans >>> 16) + 3) >>> 2; // rounding copies bytes that writeState replaces
    const fromI32 = from.i32;
    const toI32 = segment.i32;
    for (let index = 0; index < words; index++) toI32[word + index] = fromI32[fromWord + index] as number;
    writeState(segment, word, image, slab);
    this.#index.replace(storedHash(segment, word), ref, moved);
    this.#dense.set(toI32[word + POSITION] as number, moved);
    this.#bytes += roundedBytes(bytes) - roundedBytes(oldBytes);
    slab.release(ref, oldBytes);
    return moved;
  }
}

function imageHash(image: RecordImage): number {
  return slotHash(image.keyHash, image.source, image.tagStart, image.tagBytes);
}

function storedHash(segment: Segment, word: number): number {
  const i32 = segment.i32;
  const spans = i32[word + KEY_TAG_BYTES] as number;
  const tagStart = (word << 2) + HEADER_BYTES + (spans & 0xffff);
  return slotHash(i32[word + KEY_HASH] as number, segment.u8, tagStart, spans >>> 16);
}

/**
 * Spreads the key's hash, together with the tag's bytes, over the low bits that choose a slot. All keys of a table
 * are equal modulo 271, which the multiplication does away with.
 */
function slotHash(keyHash: number, bytes: Uint8Array, tagStart: number, tagBytes: number): number {
  let hash = keyHash | 0;
  for (let index = 0; index < tagBytes; index++) hash = Math.imul(hash ^ (bytes[tagStart + index] as number), 0x01000193);
  return mixHash(hash);
}

function mixHash(hash: number): number {
  const mixed = Math.imul(hash, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
