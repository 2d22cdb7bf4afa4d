/**
 * What goes wrong on purpose, for drills and tests: drawn from a seed, so that a run can be had again.
 *
 *   seed ─┬─ ring delay      a stream of random numbers for each concern, so that asking more often about one
 *         ├─ ring drop       does not shift the others
 *         ├─ sync, write     …
 *         └─ commit, death
 *
 * It only answers questions; who asks does the damage (workers/faults). Without fault injection there is no such
 * object, and nothing is asked. Source of the generator: mulberry32, by Tommy Ettinger.
 */
import type { Config } from './config.ts';
import { fmix32, fnv1a } from './partition/hash.ts';

export type FaultOptions = Pick<
  Config,
  | 'faultInjection'
  | 'faultSeed'
  | 'faultRingDelayMs'
  | 'faultRingDropPermille'
  | 'faultSyncDelayMs'
  | 'faultSyncErrorPermille'
  | 'faultWriteErrorPermille'
  | 'faultWriteDelayMs'
  | 'faultPostgresDelayMs'
  | 'faultPostgresErrorPermille'
  | 'faultWorkerKillMs'
  | 'faultLogEvents'
>;

/** How a write to the log ends: whole, in part, or not at all for want of room. */
export type WriteFault = 'none' | 'short' | 'full';
/** How a commit ends: by itself, refused before it took effect, or done with its answer lost. */
export type CommitFault = 'none' | 'refused' | 'answerLost';
/** How a thread ends. */
export type DeathWay = 'throw' | 'exit' | 'loop' | 'memory';

/** 2^32 by the golden ratio: sets the calls of one ring apart from those of another. */
const RING_SPREAD = 0x9e3779b9;

export const DEATH_WAYS: readonly DeathWay[] = Object.freeze(['throw', 'exit', 'loop', 'memory']);

/** The faults of one thread, or undefined while fault injection is off. See the constructor. */
export function faultsOf(
  options: FaultOptions,
  thread: string,
  launch: number,
  onFault: (text: string) => void,
): Faults | undefined {
  return options.faultInjection ? new Faults(options, thread, launch, onFault) : undefined;
}

export class Faults {
  readonly #options: FaultOptions;
  readonly #onFault: (text: string) => void;
  /** Of no stream: what befalls a call must not depend on what else was asked, nor on the launch. */
  readonly #callSeed: number;
  readonly #ringDelay: () => number;
  readonly #ringDrop: () => number;
  readonly #sync: () => number;
  readonly #write: () => number;
  readonly #commitDelay: () => number;
  readonly #commit: () => number;
  readonly #death: () => number;
  #injected = 0;

  /**
   * @param thread names who asks, such as `worker 1`: each thread draws numbers of its own, and so does each `launch` of it.
   * @param onFault is told of each fault, when `faultLogEvents` is on.
   */
  constructor(options: FaultOptions, thread: string, launch: number, onFault: (text: string) => void) {
    this.#options = options;
    this.#onFault = options.faultLogEvents ? onFault : nobody;
    this.#callSeed = fmix32(options.faultSeed ^ fnv1a(thread));
    const stream = (concern: string): (() => number) => randomOf(fmix32(this.#callSeed ^ fnv1a(`${launch}: ${concern}`)));
    this.#ringDelay = stream('ring delay');
    this.#ringDrop = stream('ring drop');
    this.#sync = stream('sync');
    this.#write = stream('write');
    this.#commitDelay = stream('commit delay');
    this.#commit = stream('commit');
    this.#death = stream('death');
  }

  /** Faults so far. */
  get injected(): number {
    return this.#injected;
  }

  /** How long the batch at hand is held up between its ring and its answers, in ms; 0 = not at all. */
  ringDelayMs(): number {
    const delayMs = drawnDelayMs(this.#options.faultRingDelayMs, this.#ringDelay);
    if (delayMs > 0) this.#injects(`a batch is delayed by ${delayMs} ms`);
    return delayMs;
  }

  /** True when a record of a ring is lost. `what` names it in the log. */
  losesRecord(what: string): boolean {
    return this.#hits(this.#options.faultRingDropPermille, this.#ringDrop, `${what} is lost in a ring`);
  }

  /**
   * True when a call is lost. The same for each part of a call, also when the thread was replaced between two of them:
   * were only a first part lost, the last one would acknowledge it.
   */
  losesCall(ring: number, callId: number, what: string): boolean {
    const drawn = fmix32(this.#callSeed ^ fmix32(callId ^ Math.imul(ring, RING_SPREAD))) >>> 0;
    return this.#hits(this.#options.faultRingDropPermille, () => drawn / 2 ** 32, `${what} is lost in a ring`);
  }

  /** How much longer a sync of the log takes, in ms. */
  syncDelayMs(): number {
    const delayMs = this.#options.faultSyncDelayMs;
    if (delayMs > 0) this.#injects(`a sync of the log takes ${delayMs} ms longer`);
    return delayMs;
  }

  /** True when a sync of the log fails with an I/O error. */
  syncFails(): boolean {
    return this.#hits(this.#options.faultSyncErrorPermille, this.#sync, 'a sync of the log fails');
  }

  /** How much longer a write to the log takes, in ms. */
  writeDelayMs(): number {
    const delayMs = this.#options.faultWriteDelayMs;
    if (delayMs > 0) this.#injects(`a write to the log takes ${delayMs} ms longer`);
    return delayMs;
  }

  writeFault(): WriteFault {
    if (!this.#isHit(this.#options.faultWriteErrorPermille, this.#write)) return 'none';
    const fault = this.#write() < 0.5 ? 'short' : 'full';
    this.#injects(`a write to the log is ${fault === 'short' ? 'cut short' : 'refused: no room'}`);
    return fault;
  }

  /** How many of `bytes` bytes a short write takes: fewer than all of them. */
  shortWriteBytes(bytes: number): number {
    return Math.floor(this.#write() * bytes);
  }

  /** How much later a commit, or a load, begins, in ms. */
  postgresDelayMs(): number {
    const delayMs = drawnDelayMs(this.#options.faultPostgresDelayMs, this.#commitDelay);
    if (delayMs > 0) this.#injects(`Postgres answers ${delayMs} ms later`);
    return delayMs;
  }

  commitFault(): CommitFault {
    if (!this.#isHit(this.#options.faultPostgresErrorPermille, this.#commit)) return 'none';
    const fault = this.#commit() < 0.5 ? 'refused' : 'answerLost';
    this.#injects(fault === 'refused' ? 'a commit fails' : 'the answer of a commit is lost');
    return fault;
  }

  /** When this thread ends, in ms from now: exponential around the mean, so that it may happen at any moment. 0 = never. */
  killAfterMs(): number {
    const meanMs = this.#options.faultWorkerKillMs;
    return meanMs === 0 ? 0 : Math.max(1, Math.round(-Math.log(1 - this.#death()) * meanMs));
  }

  deathWay(): DeathWay {
    const way = DEATH_WAYS[Math.floor(this.#death() * DEATH_WAYS.length)] ?? 'throw';
    this.#injects(`the thread is ended by ${way}`);
    return way;
  }

  #hits(permille: number, random: () => number, text: string): boolean {
    const hit = this.#isHit(permille, random);
    if (hit) this.#injects(text);
    return hit;
  }

  #isHit(permille: number, random: () => number): boolean {
    return permille > 0 && random() * 1000 < permille;
  }

  #injects(text: string): void {
    this.#injected += 1;
    this.#onFault(`injected fault: ${text}`);
  }
}

/** A whole number of ms from 1 to `maxMs`; 0 when there is no delay. */
function drawnDelayMs(maxMs: number, random: () => number): number {
  return maxMs === 0 ? 0 : 1 + Math.floor(random() * maxMs);
}

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function nobody(): void {}
