/**
 * Tells a door when everything that this worker has answered so far is persisted (survives a power loss).
 *
 *   asked ─ the log is synced soon (or Postgres has committed) ─▶ answered; one that is never persisted is not
 *
 * For writes that were requests: those that were ops wait by the log sequence in their ack (gateway/persisted-waits.ts).
 */
import type { GridRequest, LateParts, RequestHandler } from '../engine/operation/request-handler.ts';
import { REQUEST_PERSISTED } from '../engine/protocol/envelope.ts';
import { GridError } from '../engine/protocol/errors.ts';
import type { Durability } from './durability.ts';

const LOOK_MS = 2;
/** Nobody waits longer. */
const DEADLINE_MS = 30_000;
const WAITING_MAX = 4096;

export class PersistedHandler implements RequestHandler {
  readonly kinds: readonly number[] = [REQUEST_PERSISTED];
  readonly writeKinds: readonly number[] = [];
  readonly #durability: Durability;
  #waiting = 0;

  constructor(durability: Durability) {
    this.#durability = durability;
  }

  answer(_request: GridRequest): LateParts {
    if (this.#durability.neverPersists) throw new GridError('LEVEL_UNAVAILABLE', 'this server stores nothing (store = none)');
    if (this.#waiting >= WAITING_MAX) throw new GridError('OVERLOADED', 'too many wait for a sync');
    return this.#whenPersisted();
  }

  async *#whenPersisted(): LateParts {
    const durability = this.#durability;
    const { sequence } = durability; // the writes asked about were answered: they are in it
    const endsMs = performance.now() + DEADLINE_MS;
    this.#waiting += 1;
    try {
      for (durability.persistSoon(); durability.persistedSequence < sequence; ) {
        if (performance.now() > endsMs) throw new GridError('LEVEL_TIMEOUT', `not persisted within ${DEADLINE_MS} ms`);
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
    } finally {
      this.#waiting -= 1;
    }
    yield new Uint8Array(0);
  }
}
