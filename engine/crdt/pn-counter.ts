/**
 * PN counter: a number that many nodes raise and lower at once.
 *
 *   positive  node id → sum of all that the node ever added        value = Σ positive − Σ negative
 *   negative  node id → sum of all that the node ever subtracted   join  = per node the larger sum; missing is 0
 *
 * Sums may be fractional. They only grow, so what is not a finite number above 0 adds nothing and is skipped. On the
 * wire a state has two spellings; both are read, and both are written, because either kind of client loses a state in
 * the other's spelling. Wire objects have no prototype, so a node may be called `__proto__`.
 *
 * Source: Shapiro et al., "A comprehensive study of CRDTs" (2011), PN-Counter; docs/PROTOCOL.md §8.3.
 */
import { assert } from '../assert.ts';

/** Sums per node, both sides. */
export interface CounterState {
  readonly positive: ReadonlyMap<string, number>;
  readonly negative: ReadonlyMap<string, number>;
}

/** Both spellings of one state; the sides are shared between them. */
export interface CounterWire {
  readonly positive: Readonly<Record<string, number>>;
  readonly negative: Readonly<Record<string, number>>;
  readonly p: Readonly<Record<string, number>>;
  readonly n: Readonly<Record<string, number>>;
}

export class PnCounter implements CounterState {
  readonly #positive = new Map<string, number>();
  readonly #negative = new Map<string, number>();

  get positive(): ReadonlyMap<string, number> {
    return this.#positive;
  }

  get negative(): ReadonlyMap<string, number> {
    return this.#negative;
  }

  get value(): number {
    return sum(this.#positive) - sum(this.#negative);
  }

  /** Entries of both sides: what a bound on the size of a counter counts. */
  get entries(): number {
    return this.#positive.size + this.#negative.size;
  }

  /** Changes the value in the name of `nodeId`; a negative amount lowers it. */
  add(nodeId: string, amount: number): void {
    assert(Number.isFinite(amount), `amount ${amount}`);
    if (amount > 0) this.#positive.set(nodeId, (this.#positive.get(nodeId) ?? 0) + amount);
    if (amount < 0) this.#negative.set(nodeId, (this.#negative.get(nodeId) ?? 0) - amount);
  }

  /** Joins another state into this one. True when anything changed: then it is worth telling others. */
  merge(other: CounterState): boolean {
    const positiveChanged = mergeSide(this.#positive, other.positive);
    const negativeChanged = mergeSide(this.#negative, other.negative);
    return positiveChanged || negativeChanged;
  }

  toWire(): CounterWire {
    const positive = wireSide(this.#positive);
    const negative = wireSide(this.#negative);
    return { positive, negative, p: positive, n: negative };
  }
}

/** Reads a decoded wire state in either spelling, or both at once (the larger sum counts); null when it is no object. */
export function readCounterState(wire: unknown): CounterState | null {
  if (!isObject(wire)) return null;
  const positive = new Map<string, number>();
  const negative = new Map<string, number>();
  mergeSide(positive, readSide(wire, 'positive'));
  mergeSide(positive, readSide(wire, 'p'));
  mergeSide(negative, readSide(wire, 'negative'));
  mergeSide(negative, readSide(wire, 'n'));
  return { positive, negative };
}

function readSide(wire: object, name: string): Map<string, number> {
  const side: unknown = Object.getOwnPropertyDescriptor(wire, name)?.value;
  const sums = new Map<string, number>();
  if (!isObject(side)) return sums;
  for (const [nodeId, nodeSum] of Object.entries(side)) {
    if (typeof nodeSum === 'number' || typeof nodeSum === 'bigint') sums.set(nodeId, Number(nodeSum));
  }
  return sums;
}

function mergeSide(into: Map<string, number>, from: ReadonlyMap<string, number>): boolean {
  let changed = false;
  for (const [nodeId, nodeSum] of from) {
    if (!Number.isFinite(nodeSum) || nodeSum <= (into.get(nodeId) ?? 0)) continue;
    into.set(nodeId, nodeSum);
    changed = true;
  }
  return changed;
}

function wireSide(side: ReadonlyMap<string, number>): Record<string, number> {
  const wire: Record<string, number> = Object.create(null);
  for (const [nodeId, nodeSum] of side) wire[nodeId] = nodeSum;
  return wire;
}

function sum(side: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const nodeSum of side.values()) total += nodeSum;
  return total;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
