/** On which cores servers and generators run. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** From so many cores on a server keeps enough of them when the generator has one to itself. */
const PINNED_CORES_MIN = 4;
export const TASKSET = '/usr/bin/taskset';

/** Lists of cores, as taskset takes them. */
export interface Pinning {
  readonly server: string;
  readonly generator: string;
}

/**
 * The generator on the last core, servers on all others; undefined: anywhere. On fewer than four cores that is done only when it is
 * asked for: with two, the server would have one. Never where there is one core or no taskset.
 */
export function pinningOf(
  isAsked: boolean,
  cores = availableParallelism(),
  hasTaskset = existsSync(TASKSET),
): Pinning | undefined {
  if (cores < 2 || !hasTaskset) return undefined;
  if (cores < PINNED_CORES_MIN && !isAsked) return undefined;
  return { server: cores === 2 ? '0' : `0-${cores - 2}`, generator: String(cores - 1) };
}
