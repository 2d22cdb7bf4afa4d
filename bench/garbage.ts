/**
 * Gives the ticks of a server something to collect while a load runs: records whose time to live is over, and old tombstones.
 *
 *   map gc-expiring   all due at one moment, more than the ticks can expire before the window ends: every tick spends its whole slice
 *   map gc-removed    tombstones that pass the horizon from then on: each run of the pruner finds as many as it looks at
 *
 * A horizon of `GARBAGE_HORIZON_MS` is set for such servers: above the minute within which the ops of a mix are stamped.
 */
import { WireSession } from '../gateway/testing/wire-session.ts';
import { metricSum, readMerged } from './applied-ops.ts';
import type { Figures } from './result.ts';

export const GARBAGE_HORIZON_MS = 70_000;
const BATCH_OPS = 1000;
const NODE_ID = 'bench-gc';
const POLL_MS = 200;
const OVER_DEADLINE_MS = 60_000;

/** What the ticks have collected so far. */
interface Collected {
  readonly expired: number;
  readonly pruned: number;
}

export interface Garbage {
  readonly expiring: number;
  readonly removed: number;
  /** From the first write to the moment at which all is due. Too short a time for the writes is an error. */
  readonly leadMs: number;
}

/** Writes what is to be collected, and resolves when it is due. */
export async function stageGarbage(port: number, { expiring, removed, leadMs }: Garbage): Promise<void> {
  const dueMs = Date.now() + leadMs;
  const session = await WireSession.open({ port, path: '/ws?events=interest' });
  try {
    await writeAll(session, removed, (number) => {
      const timestamp = { millis: dueMs - GARBAGE_HORIZON_MS, counter: number, nodeId: NODE_ID };
      return {
        id: `r${number}`,
        mapName: 'gc-removed',
        opType: 'REMOVE',
        key: `r-${number}`,
        record: { value: null, timestamp },
      };
    });
    await writeAll(session, expiring, (number) => {
      const millis = Date.now();
      const record = { value: { title: `item ${number}` }, timestamp: { millis, counter: number, nodeId: NODE_ID } };
      const ttlMs = dueMs - millis;
      return { id: `e${number}`, mapName: 'gc-expiring', opType: 'PUT', key: `e-${number}`, record: { ...record, ttlMs } };
    });
    const leftMs = dueMs - Date.now();
    if (leftMs <= 0) throw new Error(`writing what is to be collected took ${leadMs - leftMs} ms, not ${leadMs}`);
    await new Promise((resolve) => setTimeout(resolve, leftMs));
  } finally {
    session.socket.terminate();
  }
}

async function writeAll(session: WireSession, count: number, opOf: (number: number) => Record<string, unknown>): Promise<void> {
  for (let first = 0; first < count; first += BATCH_OPS) {
    const size = Math.min(BATCH_OPS, count - first);
    session.sendOps(...Array.from({ length: size }, (_, place) => ({ type: 'CLIENT_OP', ...opOf(first + place) })));
    await session.next('OP_ACK');
  }
}

/** What is collected during a run. */
export class Collection {
  readonly #port: number;
  readonly #before: Collected;
  readonly #beganMs = performance.now();
  #after: Collected;
  #ms = 0;

  private constructor(port: number, before: Collected) {
    this.#port = port;
    this.#before = before;
    this.#after = before;
  }

  static async begin(port: number): Promise<Collection> {
    return new Collection(port, await readCollected(port));
  }

  async end(): Promise<void> {
    this.#ms = performance.now() - this.#beganMs;
    this.#after = await readCollected(this.#port);
  }

  /** Resolves when all has expired: every expiry counts as a merge, so until then no ops can be counted. */
  async untilOver({ expiring }: Garbage): Promise<void> {
    const givenUpMs = performance.now() + OVER_DEADLINE_MS;
    while ((await readCollected(this.#port)).expired < expiring) {
      if (performance.now() > givenUpMs) throw new Error(`not all ${expiring} records expired`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  figures(): Figures {
    const { expired, pruned } = this.#during;
    return { expiredPerSecond: (expired * 1000) / this.#ms, prunedPerSecond: (pruned * 1000) / this.#ms };
  }

  /** Why the run says nothing of what collecting costs, or undefined: the ticks must have had work from its beginning to its end. */
  reasonIdle({ expiring, removed }: Garbage): string | undefined {
    const { expired, pruned } = this.#during;
    if (!(expired > 0 && pruned > 0))
      return `void: ${expired} records expired and ${pruned} tombstones were pruned during the run`;
    if (this.#after.expired >= expiring) return `void: all ${expiring} records had expired before the run was over`;
    return this.#after.pruned >= removed ? `void: all ${removed} tombstones were pruned before the run was over` : undefined;
  }

  get #during(): Collected {
    return { expired: this.#after.expired - this.#before.expired, pruned: this.#after.pruned - this.#before.pruned };
  }
}

/** Ops merged so far, without the removals of what expired. */
export async function readMergedOps(port: number): Promise<number> {
  return (await readMerged(port)) - (await readCollected(port)).expired;
}

async function readCollected(port: number): Promise<Collected> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return {
    expired: metricSum(text, 'lattice_expired_total', {}),
    pruned: metricSum(text, 'lattice_tombstones_pruned_total', {}),
  };
}
