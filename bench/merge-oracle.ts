/**
 * What a map must hold after the ops of a mix, whatever the order in which they came: the newest of each key.
 *
 * Goes through the ops once more, from their numbers, and knows nothing of the server but the hash of an entry and the fold of
 * the Merkle tree (docs/PROTOCOL.md §4.3), by which whole states are compared.
 */
import { foldRoot, LEAVES, leafOf } from '../engine/crdt/merkle-tree.ts';
import { fmix32, fnv1a } from '../engine/partition/hash.ts';
import { type MixName, mixedKey, OpMix } from './op-mix.ts';

/** A state to compare with: plain data, it crosses from the generator to the harness. */
export interface ExpectedState {
  readonly records: number;
  readonly root: number;
  /** Key and number of the op that won, of up to 1000 keys: what its value says. */
  readonly winners: readonly (readonly [key: string, op: number])[];
}

const WINNERS_MAX = 1000;

/** @param opsSent by connection */
export function expectedState(name: MixName, prefix: string, beforeMillis: number, opsSent: readonly number[]): ExpectedState {
  const mixes = opsSent.map((_, connection) => new OpMix(name, connection, beforeMillis));
  const newest = new Map<number, { readonly millis: number; readonly op: number; readonly connection: number }>();
  mixes.forEach((mix, connection) => {
    for (let op = 0; op < (opsSent[connection] as number); op++) {
      const key = mix.keyOf(op);
      const millis = mix.millisOf(op);
      const known = newest.get(key);
      // Clocks compare by time, counter, node: connections are numbered as their nodes are.
      if (known !== undefined && !isNewer(millis, op, connection, known)) continue;
      newest.set(key, { millis, op, connection });
    }
  });
  const sums = new Uint32Array(LEAVES);
  const winners: [string, number][] = [];
  for (const [number, { millis, op, connection }] of newest) {
    const key = mixedKey(prefix, number);
    const leaf = leafOf(fnv1a(key));
    const hash = fnv1a(`${key}:${millis}:${op}:${mixes[connection]?.nodeId}`);
    sums[leaf] = ((sums[leaf] as number) + fmix32(hash)) >>> 0;
    if (winners.length < WINNERS_MAX) winners.push([key, op]);
  }
  return { records: newest.size, root: foldRoot(sums), winners };
}

function isNewer(
  millis: number,
  op: number,
  connection: number,
  known: { readonly millis: number; readonly op: number; readonly connection: number },
): boolean {
  if (millis !== known.millis) return millis > known.millis;
  return op === known.op ? connection > known.connection : op > known.op;
}
