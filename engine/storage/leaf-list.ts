/**
 * The records of one Merkle leaf, of all partitions of a worker: a doubly linked list through the record headers.
 *
 *   MerkleLeaves.head(leaf) ──▶ record ⇄ record ⇄ record ──▶ 0
 *
 * Sync reads whole leaves, some 250 records at a million keys; the links cost 8 bytes a record and one more cache line
 * an insert, and nothing on an overwrite that stays in its block.
 */
import type { MerkleLeaves } from '../crdt/merkle-tree.ts';
import { LEAF_NEXT, LEAF_PREV, segmentOf, wordOf } from './record-block.ts';
import type { Slab } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** Puts a record in front of its leaf's list. */
export function linkRecord(slab: Slab, leaves: MerkleLeaves, leaf: number, ref: RecordRef): void {
  const head = leaves.head(leaf);
  const i32 = segmentOf(slab, ref).i32;
  i32[wordOf(ref) + LEAF_NEXT] = head;
  i32[wordOf(ref) + LEAF_PREV] = 0;
  if (head !== 0) segmentOf(slab, head).i32[wordOf(head) + LEAF_PREV] = ref;
  leaves.setHead(leaf, ref);
}

export function unlinkRecord(slab: Slab, leaves: MerkleLeaves, leaf: number, ref: RecordRef): void {
  const i32 = segmentOf(slab, ref).i32;
  const next = i32[wordOf(ref) + LEAF_NEXT] as number;
  const previous = i32[wordOf(ref) + LEAF_PREV] as number;
  if (next !== 0) segmentOf(slab, next).i32[wordOf(next) + LEAF_PREV] = previous;
  if (previous !== 0) segmentOf(slab, previous).i32[wordOf(previous) + LEAF_NEXT] = next;
  else leaves.setHead(leaf, next);
}

/** The record moved to `ref` and took its links along: its neighbours must follow. */
export function relinkRecord(slab: Slab, leaves: MerkleLeaves, leaf: number, ref: RecordRef): void {
  const i32 = segmentOf(slab, ref).i32;
  const next = i32[wordOf(ref) + LEAF_NEXT] as number;
  const previous = i32[wordOf(ref) + LEAF_PREV] as number;
  if (next !== 0) segmentOf(slab, next).i32[wordOf(next) + LEAF_PREV] = ref;
  if (previous !== 0) segmentOf(slab, previous).i32[wordOf(previous) + LEAF_NEXT] = ref;
  else leaves.setHead(leaf, ref);
}

/** The record after this one in its leaf, or 0. */
export function nextInLeaf(slab: Slab, ref: RecordRef): RecordRef {
  return segmentOf(slab, ref).i32[wordOf(ref) + LEAF_NEXT] as number;
}
