/**
 * The Merkle leaves of one store: which records a leaf has, and what it sums to.
 *
 * An LWW record keeps the hash that it added to its leaf, so a leaf follows a write in O(1), a little later
 * (leaf-backlog.ts). The hash of an OR entry needs the values of all tags of the key: a write only marks the leaf dirty,
 * and `refresh` computes it when somebody syncs; a leaf of which some values must be read back first stays dirty. Records whose key is not UTF-8 are in no leaf: a client could not name
 * them.
 */
import { assert } from '../assert.ts';
import { lwwEntryHash } from '../crdt/lww.ts';
import { MerkleLeaves } from '../crdt/merkle-tree.ts';
import { isUtf8 } from '../partition/hash.ts';
import type { HashedStore, LeafBacklog } from './leaf-backlog.ts';
import { linkRecord, nextInLeaf, relinkRecord, unlinkRecord } from './leaf-list.ts';
import type { KeyHash } from './evicted-value.ts';
import { type DecodeValue, keyHashOf, learnKey, orLeafSum, unknownKeys, type ValueOf } from './or-leaf.ts';
import { KIND_LWW, KIND_OR, RecordImage, type RecordKind } from './record.ts';
import {
  BACKLOG_AT,
  ENTRY_HASH,
  KEY_HASH,
  NODE_BYTES_FLAGS,
  readBlock,
  segmentOf,
  storedBlockBytes,
  TOMBSTONE_BIT,
  UNLISTED_BIT,
  wordOf,
} from './record-block.ts';
import type { Slab } from './slab.ts';
import type { RecordRef } from './storage.ts';

const LEAF_SHIFT = 20;

export class RecordLeaves implements HashedStore {
  readonly merkle = new MerkleLeaves();
  readonly #slab: Slab;
  readonly #kind: RecordKind;
  readonly #backlog: LeafBacklog;
  readonly #decode: DecodeValue | undefined;
  readonly #stored = new RecordImage();

  /** @param decode decodes value bytes; needed by `refresh` of an OR store only. */
  constructor(slab: Slab, kind: RecordKind, backlog: LeafBacklog, decode: DecodeValue | undefined) {
    this.#slab = slab;
    this.#kind = kind;
    this.#backlog = backlog;
    this.#decode = decode;
  }

  /** The record at `ref` is new. */
  added(ref: RecordRef, image: RecordImage): void {
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    if (!isUtf8(image.source, image.keyStart, image.keyStart + image.keyBytes)) {
      i32[word + NODE_BYTES_FLAGS] = (i32[word + NODE_BYTES_FLAGS] as number) | UNLISTED_BIT;
      return;
    }
    const leaf = image.keyHash >>> LEAF_SHIFT;
    linkRecord(this.#slab, this.merkle, leaf, ref);
    if (this.#kind === KIND_LWW) this.#backlog.add(this, ref);
    else if (!image.tombstone) this.merkle.markDirty(leaf); // tombstones are not hashed
  }

  /** The record at `ref` has another version; `moved` says that it stood elsewhere before. */
  changed(ref: RecordRef, moved: boolean): void {
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    if (((i32[word + NODE_BYTES_FLAGS] as number) & UNLISTED_BIT) !== 0) return;
    const leaf = (i32[word + KEY_HASH] as number) >>> LEAF_SHIFT;
    if (moved) relinkRecord(this.#slab, this.merkle, leaf, ref);
    if (this.#kind === KIND_OR) this.merkle.markDirty(leaf);
    else if (i32[word + BACKLOG_AT] === 0) this.#backlog.add(this, ref);
    else if (moved) this.#backlog.moved(ref);
  }

  /** The record moved to `ref` and is the same version. */
  moved(ref: RecordRef): void {
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    if (((i32[word + NODE_BYTES_FLAGS] as number) & UNLISTED_BIT) !== 0) return;
    relinkRecord(this.#slab, this.merkle, (i32[word + KEY_HASH] as number) >>> LEAF_SHIFT, ref);
    if (i32[word + BACKLOG_AT] !== 0) this.#backlog.moved(ref);
  }

  /** The record is about to be forgotten. */
  removed(ref: RecordRef): void {
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    const flags = i32[word + NODE_BYTES_FLAGS] as number;
    if ((flags & UNLISTED_BIT) !== 0) return;
    const leaf = (i32[word + KEY_HASH] as number) >>> LEAF_SHIFT;
    unlinkRecord(this.#slab, this.merkle, leaf, ref);
    if (this.#kind === KIND_LWW) {
      if (i32[word + BACKLOG_AT] !== 0) this.#backlog.drop(ref);
      this.merkle.replace(leaf, (i32[word + ENTRY_HASH] as number) >>> 0, 0);
    } else if ((flags & TOMBSTONE_BIT) === 0) this.merkle.markDirty(leaf);
  }

  /** Calls `visit` with each record of a leaf, tombstones included. `visit` must not add, move or remove records. */
  forEach(leaf: number, visit: (ref: RecordRef) => void): void {
    for (let ref = this.merkle.head(leaf); ref !== 0; ref = nextInLeaf(this.#slab, ref)) visit(ref);
  }

  /** Bytes of the leaf's records in memory, or the first sum of some of them that is above `bytesMax`. */
  bytesOf(leaf: number, bytesMax: number): number {
    let bytes = 0;
    for (let ref = this.merkle.head(leaf); ref !== 0 && bytes <= bytesMax; ref = nextInLeaf(this.#slab, ref))
      bytes += storedBlockBytes(segmentOf(this.#slab, ref).i32, wordOf(ref));
    return bytes;
  }

  /** Computes an LWW record's entry hash and tells its leaf. Called by the backlog. */
  hashEntry(ref: RecordRef): void {
    const stored = this.#stored;
    readBlock(this.#slab, ref, stored);
    const nodeEnd = stored.nodeStart + stored.nodeBytes;
    const hash = lwwEntryHash(stored.keyHash, stored.millis, stored.counter, stored.source, stored.nodeStart, nodeEnd);
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    this.merkle.replace(stored.keyHash >>> LEAF_SHIFT, (i32[word + ENTRY_HASH] as number) >>> 0, hash);
    i32[word + ENTRY_HASH] = hash;
  }

  /** Makes the leaf sums true to all that was written. */
  refresh(): void {
    if (this.#kind === KIND_LWW) return this.#backlog.hash();
    this.merkle.forEachDirty((leaf) => {
      const sum = orLeafSum(this.#slab, this.merkle.head(leaf), this.#decoding());
      if (sum === undefined) return;
      this.merkle.setSum(leaf, sum);
      this.merkle.clearDirty(leaf);
    });
  }

  /** The live records of each key that keeps a leaf from being refreshed; of the first leaves only, with `keysMax` keys or more. */
  unknownKeys(keysMax: number): RecordRef[][] {
    const keys: RecordRef[][] = [];
    this.merkle.forEachDirty((leaf) => {
      if (keys.length < keysMax) keys.push(...unknownKeys(this.#slab, this.merkle.head(leaf)));
    });
    return keys;
  }

  /** Finds out the hash of a key with values that were read back. False when one of them is not here. */
  learnKey(refs: readonly RecordRef[], readBack: ValueOf): boolean {
    return learnKey(this.#slab, refs, this.#decoding(), readBack);
  }

  /** Hash of the key of an OR record; undefined where it is not known, and would cost much to find out. */
  keyHash(ref: RecordRef): KeyHash | undefined {
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    if (this.#kind === KIND_LWW || ((i32[word + NODE_BYTES_FLAGS] as number) & UNLISTED_BIT) !== 0) return undefined;
    return keyHashOf(this.#slab, this.merkle.head((i32[word + KEY_HASH] as number) >>> LEAF_SHIFT), ref, this.#decoding());
  }

  #decoding(): DecodeValue {
    assert(this.#decode !== undefined, 'an OR store needs `decode` to hash its leaves');
    return this.#decode;
  }
}
