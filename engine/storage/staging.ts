/**
 * Staging area: which records changed and are not in the data store yet, oldest first. One slot a record.
 *
 *   slot        1 … capacity - 1, kept beside the record as `stagedAt`: as it is while linked, negative while only flying;
 *               0 is none. So a record that waits already, the usual case under load, costs no look at the slot
 *   linked      waits in a doubly linked list ordered by sequence, so age order survives unlinking
 *   flying      taken by the flush under way; linked as well when the record changed since
 *   dropped     flying, but the record left memory meanwhile: the slot is only kept until the flight ends
 *
 *   free ──changed──▶ linked ──take──▶ flying ──done──▶ free
 *                        ▲                │ changed: flying + linked ──done──▶ linked
 *                        └──── restage ───┘
 *
 * What is staged is a reference, not a copy: a second change of a record finds its slot and adds nothing
 * (coalescing), and the flush reads the newest version. A record that moves re-points its slot, in flight or not.
 * Numbers are in typed arrays, so a change allocates nothing until the arrays double.
 *
 * Design after Hazelcast WriteBehindStore's coalescing queue.
 */
import { assert } from '../assert.ts';
import type { DataBatch } from './data-store.ts';
import type { StagedQueue } from './flusher.ts';
import type { StagedSource } from './map-data-store.ts';
import { RecordImage } from './record.ts';
import type { RecordRef } from './storage.ts';
import { type StoredRecord, storedRecord } from './stored-record.ts';

const LINKED = 1;
const FLYING = 2;
const DROPPED = 4;

const CAPACITY_MIN = 1024;

export class Staging implements StagedQueue {
  /** Records that are linked or flying, each counted once. */
  records = 0;
  /** What they cost by `costBytes`. */
  bytes = 0;
  /** Changes that needed no slot, because their record had one waiting. */
  coalesced = 0;
  /** Sequence given last. Every staged change has its own, and so has a removal of what was not staged. */
  sequence = 0;
  /** Of the record dropped last: sequence of its oldest change that is not in the data store. */
  droppedSequence = 0;

  #sources: (StagedSource | undefined)[] = new Array(CAPACITY_MIN).fill(undefined);
  #refs = new Float64Array(CAPACITY_MIN);
  #costs = new Float64Array(CAPACITY_MIN);
  #sinceMs = new Float64Array(CAPACITY_MIN);
  #sequences = new Float64Array(CAPACITY_MIN);
  #next = new Int32Array(CAPACITY_MIN);
  #previous = new Int32Array(CAPACITY_MIN);
  #states = new Uint8Array(CAPACITY_MIN);
  #slots = 1;
  #free = 0;
  #head = 0;
  #tail = 0;

  /** Flight: slots taken, in age order, 0 once done; with the age that the flight's version has. */
  #flight = new Int32Array(CAPACITY_MIN);
  #flightSinceMs = new Float64Array(CAPACITY_MIN);
  #flightSequences = new Float64Array(CAPACITY_MIN);
  #flightRecords = 0;
  #flightFirst = 0;
  readonly #image = new RecordImage();

  nextSequence(): number {
    this.sequence += 1;
    return this.sequence;
  }

  /** Stages a change, or finds it staged. The hot path: no allocation. */
  changed(source: StagedSource, ref: RecordRef, nowMs: number): void {
    const stagedAt = source.stagedAt(ref);
    if (stagedAt > 0) {
      this.coalesced += 1;
    } else if (stagedAt === 0) {
      this.#add(source, ref, nowMs);
    } else {
      this.#recost(-stagedAt, source.costBytes(ref));
      source.setStagedAt(ref, -stagedAt);
      this.#linkLast(-stagedAt, nowMs);
    }
  }

  /** The record is at `to` now and has taken its `stagedAt` along. */
  moved(source: StagedSource, to: RecordRef): void {
    const slot = Math.abs(source.stagedAt(to));
    if (slot === 0) return;
    this.#refs[slot] = to;
    this.#recost(slot, source.costBytes(to));
  }

  /**
   * Forgets the record, which leaves memory. Answers what it cost, or -1 when it was not staged; then `droppedSequence`
   * says since when: whoever carries the removal must not let the watermark pass it before.
   */
  drop(source: StagedSource, ref: RecordRef): number {
    const slot = Math.abs(source.stagedAt(ref));
    if (slot === 0) return -1;
    const state = this.#states[slot] as number;
    const cost = this.#costs[slot] as number;
    this.droppedSequence = (state & FLYING) !== 0 ? this.#flyingSequence(slot) : (this.#sequences[slot] as number);
    if ((state & LINKED) !== 0) this.#unlink(slot);
    this.#forget(slot, source, ref);
    if ((state & FLYING) !== 0) this.#states[slot] = FLYING | DROPPED;
    else this.#release(slot);
    return cost;
  }

  get oldestSinceMs(): number {
    if (this.#flightFirst < this.#flightRecords) return this.#flightSinceMs[this.#flightFirst] as number;
    return this.#head === 0 ? Number.POSITIVE_INFINITY : (this.#sinceMs[this.#head] as number);
  }

  get oldestSequence(): number {
    if (this.#flightFirst < this.#flightRecords) return this.#flightSequences[this.#flightFirst] as number;
    return this.#head === 0 ? Number.POSITIVE_INFINITY : (this.#sequences[this.#head] as number);
  }

  take(recordsMax: number, bytesMax: number, sequenceMax: number): number {
    assert(this.#flightRecords === 0, 'one flight at a time');
    this.#reserveFlight(Math.min(recordsMax, this.records));
    let taken = 0;
    let bytes = 0;
    while (taken < recordsMax) {
      const slot = this.#head;
      if (slot === 0 || (this.#sequences[slot] as number) > sequenceMax) break;
      bytes += this.#costs[slot] as number;
      if (taken > 0 && bytes > bytesMax) break;
      this.#unlink(slot);
      this.#states[slot] = FLYING;
      this.#sources[slot]?.setStagedAt(this.#refs[slot] as number, -slot);
      this.#flight[taken] = slot;
      this.#flightSinceMs[taken] = this.#sinceMs[slot] as number;
      this.#flightSequences[taken] = this.#sequences[slot] as number;
      taken += 1;
    }
    this.#flightRecords = taken;
    this.#flightFirst = 0;
    return taken;
  }

  put(index: number, batch: DataBatch): void {
    const slot = this.#flight[index] as number;
    const source = this.#sources[slot];
    if (source === undefined) return; // dropped: a removal carries what must be written
    source.read(this.#refs[slot] as number, this.#image);
    assert(!this.#image.evicted, 'the value of a staged record was dropped');
    batch.put(source.kind, source.map, this.#image);
  }

  copy(index: number): StoredRecord | undefined {
    const slot = this.#flight[index] as number;
    const source = this.#sources[slot];
    if (source === undefined) return undefined;
    source.read(this.#refs[slot] as number, this.#image);
    assert(!this.#image.evicted, 'the value of a staged record was dropped');
    return storedRecord(source.kind, source.map, this.#image);
  }

  done(index: number): void {
    const slot = this.#flight[index] as number;
    assert(slot !== 0, 'a flying record is done once');
    this.#flight[index] = 0;
    while (this.#flightFirst < this.#flightRecords && this.#flight[this.#flightFirst] === 0) this.#flightFirst += 1;

    const state = this.#states[slot] as number;
    if ((state & LINKED) !== 0) {
      this.#states[slot] = LINKED;
      return;
    }
    const source = this.#sources[slot];
    if (source !== undefined) this.#forget(slot, source, this.#refs[slot] as number);
    this.#release(slot);
  }

  land(): void {
    for (let index = this.#flightRecords - 1; index >= 0; index--) {
      const slot = this.#flight[index] as number;
      if (slot !== 0) this.#restage(slot, this.#flightSinceMs[index] as number, this.#flightSequences[index] as number);
    }
    this.#flightRecords = 0;
    this.#flightFirst = 0;
  }

  /** Back to the front with the age of the failed version, even if a newer one waits further back. */
  #restage(slot: number, sinceMs: number, sequence: number): void {
    const state = this.#states[slot] as number;
    if ((state & DROPPED) !== 0) {
      this.#release(slot);
      return;
    }
    if ((state & LINKED) !== 0) this.#unlink(slot);
    this.#sources[slot]?.setStagedAt(this.#refs[slot] as number, slot);
    this.#sinceMs[slot] = sinceMs;
    this.#sequences[slot] = sequence;
    this.#states[slot] = LINKED;
    this.#next[slot] = this.#head;
    this.#previous[slot] = 0;
    if (this.#head === 0) this.#tail = slot;
    else this.#previous[this.#head] = slot;
    this.#head = slot;
  }

  /** Of the version in flight, which is older than the one that may be linked. A search, for the rare drop of what flies. */
  #flyingSequence(slot: number): number {
    return this.#flightSequences[this.#flight.indexOf(slot)] as number;
  }

  #add(source: StagedSource, ref: RecordRef, nowMs: number): void {
    const slot = this.#claim();
    const cost = source.costBytes(ref);
    this.#sources[slot] = source;
    this.#refs[slot] = ref;
    this.#costs[slot] = cost;
    this.#states[slot] = 0;
    this.records += 1;
    this.bytes += cost;
    source.setStagedAt(ref, slot);
    this.#linkLast(slot, nowMs);
  }

  #recost(slot: number, cost: number): void {
    this.bytes += cost - (this.#costs[slot] as number);
    this.#costs[slot] = cost;
  }

  #forget(slot: number, source: StagedSource, ref: RecordRef): void {
    source.setStagedAt(ref, 0);
    this.#sources[slot] = undefined;
    this.records -= 1;
    this.bytes -= this.#costs[slot] as number;
  }

  #linkLast(slot: number, nowMs: number): void {
    this.#sinceMs[slot] = nowMs;
    this.#sequences[slot] = this.nextSequence();
    this.#states[slot] = (this.#states[slot] as number) | LINKED;
    this.#next[slot] = 0;
    this.#previous[slot] = this.#tail;
    if (this.#tail === 0) this.#head = slot;
    else this.#next[this.#tail] = slot;
    this.#tail = slot;
  }

  #unlink(slot: number): void {
    const next = this.#next[slot] as number;
    const previous = this.#previous[slot] as number;
    if (previous === 0) this.#head = next;
    else this.#next[previous] = next;
    if (next === 0) this.#tail = previous;
    else this.#previous[next] = previous;
  }

  /** A free slot: one given back, else the next never used. */
  #claim(): number {
    const slot = this.#free;
    if (slot !== 0) {
      this.#free = this.#next[slot] as number;
      return slot;
    }
    if (this.#slots === this.#refs.length) this.#grow();
    this.#slots += 1;
    return this.#slots - 1;
  }

  #release(slot: number): void {
    this.#states[slot] = 0;
    this.#next[slot] = this.#free;
    this.#free = slot;
  }

  /** Doubles the arrays. A million slots take about 50 MB and some milliseconds; segments would spread that. */
  #grow(): void {
    const capacity = this.#refs.length * 2;
    for (let slot = this.#sources.length; slot < capacity; slot++) this.#sources.push(undefined);
    this.#refs = widened(this.#refs, new Float64Array(capacity));
    this.#costs = widened(this.#costs, new Float64Array(capacity));
    this.#sinceMs = widened(this.#sinceMs, new Float64Array(capacity));
    this.#sequences = widened(this.#sequences, new Float64Array(capacity));
    this.#next = widened(this.#next, new Int32Array(capacity));
    this.#previous = widened(this.#previous, new Int32Array(capacity));
    this.#states = widened(this.#states, new Uint8Array(capacity));
  }

  #reserveFlight(records: number): void {
    if (records <= this.#flight.length) return;
    this.#flight = new Int32Array(records);
    this.#flightSinceMs = new Float64Array(records);
    this.#flightSequences = new Float64Array(records);
  }
}

/** `to`, begun with the content of `from`. */
function widened<Numbers extends Float64Array | Int32Array | Uint8Array>(from: Numbers, to: Numbers): Numbers {
  to.set(from);
  return to;
}
