/**
 * A writer at a door: one write after another, each when the one before it was answered. It reconnects until it is told to
 * stop, and never sends a write again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../gateway/testing/random.ts';
import type { LoadWriter } from '../load.ts';
import type { WriterCounts } from '../writer.ts';
import type { Door, Target } from './door.ts';

const RECONNECT_MS_MAX = 40;

export class DoorWriter implements LoadWriter {
  readonly #counts: WriterCounts;
  readonly #door: Door;
  readonly #random: Random;
  readonly #pauseMsMax: number;
  #run: Promise<void> = Promise.resolve();
  #isStopped = true;
  #isWriting = false;
  #pending = 0;

  constructor(door: Door, random: Random, pauseMsMax: number, counts: WriterCounts) {
    this.#counts = counts;
    this.#door = door;
    this.#random = random;
    this.#pauseMsMax = pauseMsMax;
  }

  get pending(): number {
    return this.#pending;
  }

  begin(target: Target): void {
    this.#isStopped = false;
    this.#isWriting = true;
    this.#run = this.#live(target);
  }

  pause(): void {
    this.#isWriting = false;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#isWriting = false;
    this.#door.close();
    await this.#run;
  }

  async #live(target: Target): Promise<void> {
    while (!this.#isStopped) {
      try {
        await this.#door.open(target);
        while (!this.#isStopped) {
          if (this.#isWriting) await this.#write();
          await delay(this.#random.below(this.#pauseMsMax));
        }
      } catch (error) {
        // Not there yet, or not any more; or an answer that is none.
        if (error instanceof TypeError && error.cause === undefined)
          this.#counts.contradictions.push(error.stack ?? error.message);
      }
      this.#door.close();
      if (!this.#isStopped) await delay(this.#random.below(RECONNECT_MS_MAX));
    }
  }

  async #write(): Promise<void> {
    this.#pending = 1;
    try {
      await this.#door.write();
    } finally {
      this.#pending = 0;
    }
  }
}
