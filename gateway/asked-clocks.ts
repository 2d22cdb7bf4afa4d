/**
 * Clocks that run ahead: those whose offset this gateway has asked for, and the offsets that it knows.
 *
 *   a stamp too far ahead ─▶ ask ─▶ the node fixes and keeps the offset (clock-offsets.ts) ─▶ fixed ─▶ frames that waited go on
 */
import { ClockQuarantine } from '../engine/crdt/clock-quarantine.ts';
import { ClockAllowance } from './clock-allowance.ts';
import type { Session } from './session.ts';

export class AskedClocks {
  /** Those that are fixed, for who reads stamps. */
  readonly quarantine = new ClockQuarantine();
  readonly #asked = new Set<string>();
  readonly #allowance = new ClockAllowance();
  readonly #onWildClock: (node: Uint8Array, millis: number) => void;

  /**
   * @param fixed node id in UTF-8, ms to be added
   * @param onWildClock asks for the offset of a clock; `fixed` is called with it
   */
  constructor(fixed: readonly (readonly [Uint8Array, number])[], onWildClock: (node: Uint8Array, millis: number) => void) {
    for (const [node, offsetMs] of fixed) this.quarantine.add(node, offsetMs);
    this.#onWildClock = onWildClock;
  }

  /** False when the client has named too many clocks that run ahead; else the offset of this one is asked for, once. */
  ask(session: Session, node: Uint8Array, millis: number): boolean {
    const text = textOf(node);
    if (this.#asked.has(text)) return true;
    if (!this.#allowance.take(session)) return false;
    this.#asked.add(text);
    this.#onWildClock(node, millis);
    return true;
  }

  /**
   * The offset of a clock is fixed; 0: it is not ahead after all. True when no other is asked for: frames that waited go
   * on with the last one, since a frame may name thousands.
   */
  fixed(node: Uint8Array, offsetMs: number): boolean {
    this.#asked.delete(textOf(node));
    if (offsetMs !== 0) this.quarantine.add(node, offsetMs);
    return this.#asked.size === 0;
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
