/**
 * Writes every change of a record into the frame of the log that is at hand, then hands it on to the data store behind.
 *
 *   join, expiry, push ─▶ changed ─┬─▶ FrameWriter   the record as it is now; the frame is written at the batch's end
 *                                  └─▶ write-behind  the reference, flushed later
 *
 * Here and nowhere else do changes enter the log, so none can be forgotten. Removals of pruned tombstones are not
 * logged: they are decided again from the persisted watermark.
 */
import type { MapDataStore, StagedSource } from './map-data-store.ts';
import { RecordImage, type StoredKind } from './record.ts';
import { segmentOf, wordOf } from './record-block.ts';
import type { Segment } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** Where changes are appended: the frame at hand. */
export interface ChangeFrame {
  append(kind: StoredKind, map: Uint8Array, image: RecordImage): void;
  /** As `append`, of the record in the block at `word` of `segment`. */
  appendBlock(kind: StoredKind, map: Uint8Array, segment: Segment, word: number): void;
}

export class LoggedDataStore implements MapDataStore {
  readonly #behind: MapDataStore;
  readonly #image = new RecordImage();
  #frame: ChangeFrame | undefined;

  constructor(behind: MapDataStore) {
    this.#behind = behind;
  }

  /** From now on changes are logged. What is joined before comes from the log and needs no second copy. */
  logTo(frame: ChangeFrame): void {
    this.#frame = frame;
  }

  get stagedRecords(): number {
    return this.#behind.stagedRecords;
  }

  get stagedBytes(): number {
    return this.#behind.stagedBytes;
  }

  lagMs(nowMs: number): number {
    return this.#behind.lagMs(nowMs);
  }

  /** Always: staging holds references to records that are in memory anyhow, and the log bounds what may wait for the store. */
  admits(): boolean {
    return true;
  }

  changed(store: StagedSource, ref: RecordRef, nowMs: number): void {
    if (this.#frame !== undefined) this.#append(this.#frame, store, ref);
    this.#behind.changed(store, ref, nowMs);
  }

  moved(store: StagedSource, from: RecordRef, to: RecordRef): void {
    this.#behind.moved(store, from, to);
  }

  pruned(store: StagedSource, ref: RecordRef, image: RecordImage, nowMs: number): void {
    this.#behind.pruned(store, ref, image, nowMs);
  }

  softFlush(nowMs: number): void {
    this.#behind.softFlush(nowMs);
  }

  hardFlush(deadlineMs: number): Promise<void> {
    return this.#behind.hardFlush(deadlineMs);
  }

  #append(frame: ChangeFrame, store: StagedSource, ref: RecordRef): void {
    const { slab } = store;
    if (slab !== undefined) {
      frame.appendBlock(store.kind, store.map, segmentOf(slab, ref), wordOf(ref));
      return;
    }
    store.read(ref, this.#image);
    frame.append(store.kind, store.map, this.#image);
  }
}
