/**
 * The gateway's ends of the rings to the partition workers, and the table that says which worker owns a key.
 */
import type { PartitionTable } from '../engine/partition/partition-table.ts';
import { CALL_NONE, RECORD_CLOSED, RECORD_INTEREST, RECORD_REQUEST } from '../engine/protocol/envelope.ts';
import type { RingWriter } from '../workers/ring-writer.ts';
import type { RingWindow } from './ring-window.ts';
import type { WorkerBreakers } from './worker-breakers.ts';

/** What may stand between requests and rings. */
export interface WorkerGuards {
  /** While priorities are on. */
  readonly window?: RingWindow | undefined;
  readonly breakers?: WorkerBreakers | undefined;
}

const NO_BODY = new Uint8Array(0);

export class WorkerLinks {
  readonly table: PartitionTable;
  readonly writers: readonly RingWriter[];
  readonly #isReady: (worker: number) => boolean;
  readonly #window: RingWindow | undefined;
  readonly #breakers: WorkerBreakers | undefined;

  constructor(
    table: PartitionTable,
    writers: readonly RingWriter[],
    isReady: (worker: number) => boolean,
    { window, breakers }: WorkerGuards = {},
  ) {
    this.table = table;
    this.writers = writers;
    this.#isReady = isReady;
    this.#window = window;
    this.#breakers = breakers;
  }

  get count(): number {
    return this.writers.length;
  }

  /**
   * False while the worker is not open; with priorities also while its window is full or others wait for it: hold what
   * is for it.
   */
  takes(worker: number): boolean {
    const writer = this.writers[worker];
    if (writer === undefined || !this.isOpen(worker)) return false;
    return this.#window === undefined || this.#window.admits(worker, writer.ring);
  }

  /** As `takes`, for a session that would ask the worker: should it have to wait, it waits for that one. */
  takesOf(session: { heldFor: number }, worker: number): boolean {
    session.heldFor = worker;
    return this.takes(worker);
  }

  /** False while a worker loads or is replaced, or while records wait for room in its ring. */
  isOpen(worker: number): boolean {
    return this.#isReady(worker) && this.writers[worker]?.blocked === false;
  }

  /** The first of the workers in these bits that has not answered for some time and is not asked now; -1 when there is none. */
  firstRefused(workers: number): number {
    return this.#breakers?.troubled === true ? this.#breakers.firstRefused(workers) : -1;
  }

  /** The first worker that takes no records now, -1 when all do. */
  firstBlocked(): number {
    for (let worker = 0; worker < this.writers.length; worker++) if (!this.takes(worker)) return worker;
    return -1;
  }

  /** The first of these workers that takes no records now, -1 when all do. */
  firstBlockedOf(workers: readonly number[]): number {
    return workers.find((worker) => !this.takes(worker)) ?? -1;
  }

  /**
   * True when frames held for the worker are worth another try: it takes records and a quarter of its ring is free, or half of its
   * window. While it is not, the worker rings at its next release: no answer of its may come that would.
   */
  hasRoom(worker: number): boolean {
    const ring = this.writers[worker]?.ring;
    if (ring === undefined || !this.takes(worker)) return false;
    return this.#window === undefined ? ring.wantRoom(ring.capacityBytes / 4) : this.#window.hasRoom(ring);
  }

  /** Tries to write what waits for room. */
  flush(): void {
    for (const writer of this.writers) if (writer.blocked) writer.flush();
  }

  /** Sends a question to one worker. */
  request(worker: number, callId: number, session: number, kind: number, body: Uint8Array, deadlineMs: number): void {
    this.writers[worker]?.send(RECORD_REQUEST, callId, session, kind, body, 0, deadlineMs);
  }

  /** Tells every worker that a session is gone. */
  closed(session: number): void {
    for (const writer of this.writers) writer.send(RECORD_CLOSED, CALL_NONE, session, 0, NO_BODY, 0, Number.NaN);
  }

  /** Tells every worker whether a session of this gateway listens to the map by name. */
  interest(mapId: number, name: Uint8Array, wanted: boolean): void {
    for (let worker = 0; worker < this.writers.length; worker++) this.tellInterest(worker, mapId, name, wanted);
  }

  /** Tells one worker, such as one that was replaced and knows nothing of it. */
  tellInterest(worker: number, mapId: number, name: Uint8Array, wanted: boolean): void {
    this.writers[worker]?.send(RECORD_INTEREST, CALL_NONE, mapId, 0, name, wanted ? 1 : 0, Number.NaN);
  }
}
