/**
 * Everything that a grid holds, in the one form in which clients' view, Postgres and the ledger can be compared.
 *
 *   lww       map ─▶ key ─▶ {stamp, value}      value: JSON text, undefined for a removal that is remembered
 *   or        map ─▶ tag ─▶ {key, value}        live tags only
 *   counters  name ─▶ node ─▶ {positive, negative}
 */
import { compareStampsOf, stampText } from '../../gateway/testing/client-maps.ts';
import type { Stamp } from '../../engine/crdt/hlc.ts';

export interface StoredWrite {
  readonly stamp: Stamp;
  readonly value: string | undefined;
}

export interface StoredTag {
  readonly key: string;
  readonly value: string;
}

export type Side = 'positive' | 'negative';

/** What a node of a PN counter has added and subtracted in all. */
export type StoredSum = Readonly<Record<Side, number>>;

export class Snapshot {
  readonly lww = new Map<string, Map<string, StoredWrite>>();
  readonly or = new Map<string, Map<string, StoredTag>>();
  readonly counters = new Map<string, Map<string, StoredSum>>();

  put(map: string, key: string, write: StoredWrite): void {
    const keys = this.lww.get(map) ?? new Map<string, StoredWrite>();
    this.lww.set(map, keys.set(key, write));
  }

  add(map: string, tag: string, entry: StoredTag): void {
    const tags = this.or.get(map) ?? new Map<string, StoredTag>();
    this.or.set(map, tags.set(tag, entry));
  }

  count(name: string, node: string, sum: StoredSum): void {
    const nodes = this.counters.get(name) ?? new Map<string, StoredSum>();
    this.counters.set(name, nodes.set(node, sum));
  }

  get size(): number {
    const sizes = [...this.lww.values(), ...this.or.values(), ...this.counters.values()].map(({ size }) => size);
    return sizes.reduce((sum, size) => sum + size, 0);
  }
}

/** Where two snapshots differ, in words; empty when they are equal. */
export function differences(a: Snapshot, aName: string, b: Snapshot, bName: string): string[] {
  const found: string[] = [];
  for (const [map, key, one, other] of pairs(a.lww, b.lww)) {
    const isEqual =
      one !== undefined && other !== undefined && compareStampsOf(one.stamp, other.stamp) === 0 && one.value === other.value;
    if (!isEqual) found.push(`${map}/${key}: ${aName} has ${writeText(one)}, ${bName} has ${writeText(other)}`);
  }
  for (const [map, tag, one, other] of pairs(a.or, b.or)) {
    if (one?.key === other?.key && one?.value === other?.value) continue;
    found.push(`${map}/${tag}: ${aName} has ${one?.value ?? 'no such tag'}, ${bName} has ${other?.value ?? 'no such tag'}`);
  }
  for (const [name, node, one, other] of pairs(a.counters, b.counters)) {
    if (one?.positive === other?.positive && one?.negative === other?.negative) continue;
    found.push(`counter ${name} of ${node}: ${aName} has ${sumText(one)}, ${bName} has ${sumText(other)}`);
  }
  return found;
}

function sumText(sum: StoredSum | undefined): string {
  return sum === undefined ? 'nothing' : `+${sum.positive} -${sum.negative}`;
}

function writeText(write: StoredWrite | undefined): string {
  return write === undefined ? 'nothing' : `${stampText(write.stamp)} ${(write.value ?? 'removed').slice(0, 60)}`;
}

/** All entries of both, side by side: map, key or tag, the one, the other. */
function* pairs<V>(
  a: ReadonlyMap<string, ReadonlyMap<string, V>>,
  b: ReadonlyMap<string, ReadonlyMap<string, V>>,
): Generator<readonly [string, string, V | undefined, V | undefined]> {
  for (const map of new Set([...a.keys(), ...b.keys()])) {
    const [aEntries, bEntries] = [a.get(map), b.get(map)];
    for (const key of new Set([...(aEntries?.keys() ?? []), ...(bEntries?.keys() ?? [])])) {
      yield [map, key, aEntries?.get(key), bEntries?.get(key)];
    }
  }
}
