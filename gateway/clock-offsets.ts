/**
 * The offsets of clocks that run too far ahead: one for a node id and its owner, for ever, wherever it was seen first.
 *
 *   gateway meets a wild clock ─▶ fix ─▶ chosen once ─ stored ─▶ told to every gateway
 *
 * A client sends again what was not acknowledged, so the correction must be the same each time.
 */
import type { Logger } from 'pino';
import { quarantineOffsetMs } from '../engine/crdt/clock-quarantine.ts';
import { nodeOfClock } from './clock-owner.ts';
import { TurnClock } from './turn-clock.ts';

/** Quarantined clocks that get a line in the log; anybody can make thousands. */
const LOG_LINES_MAX = 100;

export class ClockOffsets {
  readonly #store: (node: Uint8Array, offsetMs: number) => Promise<number>;
  readonly #log: Logger;
  readonly #clock = new TurnClock();
  readonly #offsets = new Map<string, Promise<number>>();
  #last: Promise<number> = Promise.resolve(0);

  /** @param store keeps an offset and answers the one that holds, which may be an older one. */
  constructor(store: (node: Uint8Array, offsetMs: number) => Promise<number>, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  /** The offset, ms, of a node that sent a stamp of `millis`; 0 when its clock is not ahead after all. */
  fix(node: Uint8Array, millis: number): Promise<number> {
    const key = Buffer.from(node).toString('latin1');
    const known = this.#offsets.get(key);
    if (known !== undefined) return known;
    this.#clock.refresh();
    const { wallMs } = this.#clock;
    // Set forwards since the gateway looked: it was the server's clock that was wrong.
    if (millis <= wallMs) return Promise.resolve(0);
    const chosen = quarantineOffsetMs(millis, wallMs);
    if (this.#offsets.size < LOG_LINES_MAX) {
      this.#log.warn({ node: nodeOfClock(node), offsetMs: chosen }, 'clock quarantined: its stamps are corrected');
    }
    // One after another: a burst of new nodes must not crowd the database's connection, or some would not be stored.
    const offset = this.#last.then(() => this.#store(node, chosen));
    this.#last = offset;
    this.#offsets.set(key, offset);
    return offset;
  }
}
