/**
 * The last events of one worker, oldest first: bounded in number, bytes and age.
 *
 *   dropped ──── oldest ─────────── newest          numbers rise, with holes: other workers have the rest
 *                [events, in a circle that grows to its bound]
 *
 * What does not fit any more goes at the old end, and `droppedNumber` says up to where: who asks for an event at or below it
 * is told that there is a gap.
 */
import { assert } from '../../assert.ts';
import type { JournaledChange } from './journal-event.ts';
import type { JournalType } from './journal-wire.ts';

export interface JournalLimits {
  readonly eventsMax: number;
  readonly bytesMax: number;
  /** Age from which an event goes, ms; 0 = none. */
  readonly ttlMs: number;
}

/** One change with its number. */
export interface JournalEvent {
  readonly number: number;
  readonly type: JournalType;
  readonly map: string;
  readonly atMs: number;
  readonly change: Pick<JournaledChange, 'bytes' | 'encode'>;
}

const CAPACITY_MIN = 64;
/** What an event costs beside its bytes, about. */
const OVERHEAD_BYTES = 200;

export class JournalRing {
  /** Bytes of all events, about. */
  bytes = 0;
  /** Highest number that went; what is above it is here, if it was this worker's. */
  droppedNumber: number;
  /** Events that went. */
  dropped = 0;
  readonly #limits: JournalLimits;
  #slots: (JournalEvent | undefined)[] = new Array(CAPACITY_MIN);
  #first = 0;
  #count = 0;

  /** @param droppedNumber events up to here are lost to begin with; 0 = none. */
  constructor(limits: JournalLimits, droppedNumber: number) {
    assert(limits.eventsMax >= 1);
    this.#limits = limits;
    this.droppedNumber = droppedNumber;
  }

  get events(): number {
    return this.#count;
  }

  add(event: JournalEvent): void {
    assert(event.number > (this.at(this.#count - 1)?.number ?? 0), 'numbers rise');
    if (this.#count === this.#slots.length) this.#grow();
    this.#slots[(this.#first + this.#count) % this.#slots.length] = event;
    this.#count += 1;
    this.bytes += event.change.bytes + OVERHEAD_BYTES;
    while (this.#count > this.#limits.eventsMax || this.bytes > this.#limits.bytesMax) this.#drop();
  }

  /** Lets events go that are older than allowed. */
  expire(nowMs: number): void {
    const { ttlMs } = this.#limits;
    if (ttlMs === 0) return;
    for (let oldest = this.at(0); oldest !== undefined && nowMs - oldest.atMs >= ttlMs; oldest = this.at(0)) this.#drop();
  }

  /** The event at a position from 0, the oldest. */
  at(position: number): JournalEvent | undefined {
    return position < 0 || position >= this.#count ? undefined : this.#slots[(this.#first + position) % this.#slots.length];
  }

  /** Position of the first event whose number is not below `number`. */
  positionOf(number: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.at(middle)?.number ?? 0) < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #drop(): void {
    const oldest = this.at(0);
    if (oldest === undefined) return;
    this.#slots[this.#first] = undefined;
    this.#first = (this.#first + 1) % this.#slots.length;
    this.#count -= 1;
    this.bytes -= oldest.change.bytes + OVERHEAD_BYTES;
    this.droppedNumber = oldest.number;
    this.dropped += 1;
  }

  #grow(): void {
    const events = Array.from({ length: this.#count }, (_, position) => this.at(position));
    this.#slots = [...events, ...new Array<undefined>(events.length)];
    this.#first = 0;
  }
}
