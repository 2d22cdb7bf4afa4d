/**
 * Keeps the embedded Postgres running: when its process ends without being asked to, it is started again.
 *
 *   running ──exit──▶ down ──backoff──▶ starting ──ready──▶ running
 *                       ▲                  │ fails: 100 ms doubling to 10 s, for as long as it takes
 *                       └──────────────────┘
 *
 * The socket stays where it was, so nobody needs to be told: connections find the new server when they try again, and
 * the owner takes its lock anew, with the epoch that it has. What was committed is recovered by Postgres itself.
 */
import { retryBackoffMs } from '../../engine/storage/retry-backoff.ts';
import { type EmbeddedOptions, type EmbeddedPostgres, startEmbedded } from './embedded.ts';
import type { PgTarget } from './pg-session.ts';

/** A server that ran for so long was well: its next end is the first in a row again. */
const FORGIVEN_AFTER_MS = 60_000;

export interface SupervisorEvents {
  /** The server has ended by itself or was killed; `how` is its exit status or signal. */
  onDown(how: string): void;
  /** It serves again. */
  onUp(): void;
  /** It could not be started; it is tried again. */
  onStartFailed(error: unknown): void;
}

export class SupervisedPostgres {
  /** The same for all servers of this object. */
  readonly connection: PgTarget;
  readonly #events: SupervisorEvents;
  #server: EmbeddedPostgres;
  #stopping = false;
  #isDown = false;
  #startedMs = performance.now();
  #endsInARow = 0;
  #wake: () => void = () => {};
  readonly #watched: Promise<void>;

  private constructor(server: EmbeddedPostgres, events: SupervisorEvents) {
    this.connection = server.connection;
    this.#server = server;
    this.#events = events;
    this.#watched = this.#watch();
  }

  /** Rejects as `startEmbedded` does: the first start is not tried again. */
  static async start(options: EmbeddedOptions, events: SupervisorEvents): Promise<SupervisedPostgres> {
    return new SupervisedPostgres(await startEmbedded(options), events);
  }

  /** Of the server that runs now, or ran last. */
  get pid(): number {
    return this.#server.pid;
  }

  /** Ends it for good: sessions are ended and a checkpoint is written. Resolves when it is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake();
    if (this.#isDown) await this.#watched; // a start that is under way comes to its end
    await this.#server.stop();
    await this.#watched;
  }

  async #watch(): Promise<void> {
    for (;;) {
      const how = await this.#server.exited;
      if (this.#stopping) return;
      this.#isDown = true;
      this.#events.onDown(how);
      const next = await this.#startAgain();
      if (next === undefined) return;
      this.#server = next;
      this.#startedMs = performance.now();
      if (this.#stopping) return;
      this.#isDown = false;
      this.#events.onUp();
    }
  }

  /** Undefined when it was stopped meanwhile. */
  async #startAgain(): Promise<EmbeddedPostgres | undefined> {
    if (performance.now() - this.#startedMs > FORGIVEN_AFTER_MS) this.#endsInARow = 0;
    for (;;) {
      this.#endsInARow += 1;
      await this.#pause(retryBackoffMs(this.#endsInARow, Math.random()));
      if (this.#stopping) return undefined;
      try {
        return await this.#server.startAgain();
      } catch (error) {
        this.#events.onStartFailed(error);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    if (this.#stopping) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
