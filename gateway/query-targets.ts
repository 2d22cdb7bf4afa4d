/**
 * The workers that can have rows of a query: all of them, or the owners of the keys that its filter pins.
 */
import { pinnedKeys } from '../engine/domains/query/pinned-keys.ts';
import type { PredicateTree } from '../engine/domains/query/predicate.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import type { PartitionTable } from '../engine/partition/partition-table.ts';

export interface QueryTargets {
  /** In ascending order; at least one, who can say that there is nothing. */
  readonly workers: readonly number[];
  /** Partitions that can have rows; undefined = all of them. */
  readonly partitions: readonly number[] | undefined;
}

export function queryTargets(tree: PredicateTree, table: PartitionTable, everyone: readonly number[]): QueryTargets {
  const keys = pinnedKeys(tree);
  if (keys === undefined) return { workers: everyone, partitions: undefined };
  const partitions = [...new Set(keys.map((key) => partitionOf(fnv1a(key))))].sort((a, b) => a - b);
  const owners = [...new Set(partitions.map((partition) => table.ownerOf(partition)))].sort((a, b) => a - b);
  return { workers: owners.length === 0 ? everyone.slice(0, 1) : owners, partitions };
}
