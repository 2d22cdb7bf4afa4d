/**
 * Forgets tombstones that are older than the horizon, for the whole node.
 *
 *   now − horizon ─▶ watermark stored ─▶ workers forget by it, clients are told
 *
 * The watermark is stored before anything is forgotten: after a restart nobody may take a forgotten delete for none.
 */
import type { Logger } from 'pino';
import { GridError } from '../engine/protocol/errors.ts';

const INTERVAL_MS_MIN = 1000;
const INTERVAL_MS_MAX = 3_600_000;
const PRUNES_PER_HORIZON = 100;

export interface PrunerPorts {
  /** Keeps the watermark, ms of the wall clock, and answers the one that holds: it never goes back. Rejects with GridError. */
  readonly store: (watermarkMs: number) => Promise<number>;
  readonly forget: (olderThanMs: number) => void;
}

export class TombstonePruner {
  readonly #log: Logger;
  readonly #ports: PrunerPorts;
  readonly #timer: NodeJS.Timeout;

  /** Prunes a hundred times a horizon, at most once a second, from now on. */
  constructor(horizonMs: number, log: Logger, ports: PrunerPorts) {
    this.#log = log;
    this.#ports = ports;
    const intervalMs = Math.min(INTERVAL_MS_MAX, Math.max(INTERVAL_MS_MIN, horizonMs / PRUNES_PER_HORIZON));
    // A wall clock that is set forwards for a moment must not make the server forget what was deleted.
    const startedMs = Date.now() - performance.now();
    const nowMs = (): number => Math.floor(startedMs + performance.now());
    this.#timer = setInterval(() => void this.#prune(nowMs() - horizonMs), intervalMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #prune(watermarkMs: number): Promise<void> {
    try {
      this.#ports.forget(await this.#ports.store(watermarkMs));
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.#log.warn({ error: error.message }, 'tombstones are kept: the prune watermark could not be stored');
    }
  }
}
