/**
 * Which key and clock the n-th op of a connection has, where a benchmark does not simply go round its keys.
 *
 *   unique   every op its own key
 *   hot      1000 keys, or as many as are asked for, that all connections write
 *   rising   as many keys, shared out among the connections, and clocks that rise on each: every op wins its merge
 *
 * The other clocks are shuffled within the minute before the run began, so most writes of a hot key lose. None is ahead of the server.
 * No two ops have the same stamp: the counter is the number of the op, the node is the connection. Computed from the numbers alone, so an
 * oracle (merge-oracle.ts) goes through the same ops again.
 */
import { fmix32 } from '../engine/partition/hash.ts';

export type MixName = 'unique' | 'hot' | 'rising';

export const HOT_KEYS = 1000;
const SHUFFLED_MS = 60_000;
/** Ops of one connection. */
const OPS_MAX = 10_000_000;

export class OpMix {
  readonly nodeId: string;
  readonly #name: MixName;
  readonly #connection: number;
  readonly #beforeMillis: number;
  readonly #hotKeys: number;
  /** Keys of one connection, where they are shared out. */
  readonly #ownKeys: number;

  /**
   * @param beforeMillis no clock says this or later
   * @param connections among which `rising` shares out the keys
   */
  constructor(name: MixName, connection: number, beforeMillis: number, hotKeys = HOT_KEYS, connections = 1) {
    this.#name = name;
    this.#connection = connection;
    this.#beforeMillis = beforeMillis;
    this.#hotKeys = hotKeys;
    this.#ownKeys = Math.floor(hotKeys / connections);
    this.nodeId = `node-${String(connection).padStart(3, '0')}`;
  }

  /** The key's number, at most ten digits. */
  keyOf(op: number): number {
    if (this.#name === 'unique') return this.#connection * OPS_MAX + op;
    if (this.#name === 'rising') return this.#connection * this.#ownKeys + (this.#random(op, 1) % this.#ownKeys);
    return this.#random(op, 1) % this.#hotKeys;
  }

  millisOf(op: number): number {
    if (this.#name === 'rising') return this.#beforeMillis - 1; // the counter is the number of the op, and rises
    return this.#beforeMillis - 1 - (this.#random(op, 2) % SHUFFLED_MS);
  }

  #random(op: number, stream: number): number {
    return fmix32(Math.imul(this.#connection * 4 + stream, 0x9e3779b1) ^ fmix32(op)) >>> 0;
  }
}

export const KEY_DIGITS = 10;

export function mixedKey(prefix: string, number: number): string {
  return prefix + String(number).padStart(KEY_DIGITS, '0');
}
