/**
 * Hybrid logical clock: wall time that never goes back, and a counter for what happens within one millisecond.
 *
 *   stamp = (millis, counter, node id), compared in this order; node ids by their bytes
 *   text  = `<millis>:<counter>:<node id>`
 *
 * Node ids are compared by bytes (not by locale) because memory, SQL and Merkle leaves must agree on the winner.
 * Stamps of records are compared as spans of bytes, so no string of a node id is ever made for a merge.
 *
 * Source: Kulkarni et al., "Logical Physical Clocks" (2014); docs/PROTOCOL.md §3.
 */

/** A clock's text or node id is not one. `code` is stable; a retry does not help. */
export class ClockError extends Error {
  override readonly name = 'ClockError';
  readonly code: 'NODE_ID' | 'STAMP_TEXT';

  constructor(code: 'NODE_ID' | 'STAMP_TEXT', message: string) {
    super(message);
    this.code = code;
  }
}

/** A moment of one node. `millis` since 1970, `counter` 0..2^32-1. */
export interface Stamp {
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
}

/** End of JavaScript's Date range. Later stamps never reach a clock: beyond it `millis + 1` may equal `millis`. */
export const STAMP_MILLIS_MAX = 8.64e15;

const COUNTER_MAX = 0xffffffff;

export class HybridLogicalClock {
  readonly nodeId: string;
  readonly #wallClock: () => number;
  #millis = 0;
  #counter = 0;

  /** `wallClock` answers ms since 1970. Throws ClockError when the node id is empty or holds a colon. */
  constructor(nodeId: string, wallClock: () => number) {
    assertNodeId(nodeId);
    this.nodeId = nodeId;
    this.#wallClock = wallClock;
  }

  /** Milliseconds of the last stamp. */
  get millis(): number {
    return this.#millis;
  }

  /** Counter of the last stamp. */
  get counter(): number {
    return this.#counter;
  }

  /** A stamp after all stamps that this clock gave or saw. */
  now(): Stamp {
    this.tick();
    return { millis: this.#millis, counter: this.#counter, nodeId: this.nodeId };
  }

  /** As `now` without an object: the stamp stands in `millis` and `counter`. */
  tick(): void {
    const wallMs = this.#wallClock();
    if (wallMs > this.#millis) this.#set(wallMs, 0);
    else this.#set(this.#millis, this.#counter + 1);
  }

  /**
   * Takes note of another's stamp: the clock's own next stamps are later. A stamp beyond the Date range, or whose
   * counter is not a u32, is ignored; one far ahead is taken over, so hold back what is beyond the drift bound (`aheadMs`).
   */
  update(remote: Pick<Stamp, 'millis' | 'counter'>): void {
    this.observe(remote.millis, remote.counter);
  }

  /**
   * As `update` without an object. Afterwards `millis` and `counter` stand strictly after both the remote stamp and
   * every earlier one, so they can stamp a write that must follow a stored record.
   */
  observe(millis: number, counter: number): void {
    if (!(millis <= STAMP_MILLIS_MAX) || counter >>> 0 !== counter) return; // NaN fails the comparison
    const latest = Math.max(this.#millis, this.#wallClock(), millis);
    if (latest === this.#millis && latest === millis) this.#set(latest, Math.max(this.#counter, counter) + 1);
    else if (latest === this.#millis) this.#set(latest, this.#counter + 1);
    else if (latest === millis) this.#set(latest, counter + 1);
    else this.#set(latest, 0);
  }

  #set(millis: number, counter: number): void {
    const overflows = counter > COUNTER_MAX;
    this.#millis = overflows ? millis + 1 : millis;
    this.#counter = overflows ? 0 : counter;
  }
}

/** `millis:counter:nodeId`. Throws ClockError when the node id holds a colon. */
export function formatStamp(stamp: Stamp): string {
  assertNodeId(stamp.nodeId);
  return `${stamp.millis}:${stamp.counter}:${stamp.nodeId}`;
}

/** Reads the text form. Throws ClockError when it has not exactly three parts, or the first two are not whole numbers. */
export function parseStamp(text: string): Stamp {
  const parts = text.split(':');
  const [millisText = '', counterText = '', nodeId = ''] = parts;
  const millis = wholeNumber(millisText, STAMP_MILLIS_MAX);
  const counter = wholeNumber(counterText, COUNTER_MAX);
  if (parts.length !== 3 || nodeId === '' || millis < 0 || counter < 0) {
    throw new ClockError('STAMP_TEXT', `not a stamp: ${JSON.stringify(text.slice(0, 200))}`);
  }
  return { millis, counter, nodeId };
}

/** The number that decimal digits spell, or -1. */
function wholeNumber(digits: string, max: number): number {
  if (!/^[0-9]{1,16}$/.test(digits)) return -1;
  const value = Number(digits);
  return value <= max ? value : -1;
}

function assertNodeId(nodeId: string): void {
  if (nodeId === '' || nodeId.includes(':'))
    throw new ClockError('NODE_ID', `node id ${JSON.stringify(nodeId.slice(0, 200))} is empty or holds ':'`);
}

/** How far a stamp is ahead of the wall clock, in ms; 0 when it is not. */
export function aheadMs(millis: number, nowMs: number): number {
  return millis > nowMs ? millis - nowMs : 0;
}

/** Order of two stamps whose node ids are spans of bytes: negative, 0 or positive. */
export function compareStamps(
  aMillis: number,
  aCounter: number,
  a: Uint8Array,
  aNodeStart: number,
  aNodeEnd: number,
  bMillis: number,
  bCounter: number,
  b: Uint8Array,
  bNodeStart: number,
  bNodeEnd: number,
): number {
  if (aMillis !== bMillis) return aMillis < bMillis ? -1 : 1;
  if (aCounter !== bCounter) return aCounter < bCounter ? -1 : 1;
  return compareBytes(a, aNodeStart, aNodeEnd, b, bNodeStart, bNodeEnd);
}

/** Order of two spans by their bytes, a prefix first: -1, 0 or 1. The order of Postgres' bytea. */
export function compareBytes(a: Uint8Array, aStart: number, aEnd: number, b: Uint8Array, bStart: number, bEnd: number): number {
  const aBytes = aEnd - aStart;
  const bBytes = bEnd - bStart;
  const shared = aBytes < bBytes ? aBytes : bBytes;
  for (let index = 0; index < shared; index++) {
    const difference = (a[aStart + index] as number) - (b[bStart + index] as number);
    if (difference !== 0) return difference < 0 ? -1 : 1;
  }
  return aBytes === bBytes ? 0 : aBytes < bBytes ? -1 : 1;
}
