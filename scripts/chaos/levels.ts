/**
 * Levels of an acknowledgement as numbers that can be compared, which on a single node they can.
 *
 *   UNKNOWN < FIRE_AND_FORGET < MEMORY < APPLIED < PERSISTED < SEEN
 *
 * SEEN is no level of the protocol: the write was read back from a server that had started anew, so it came from the
 * disk, and whatever strikes later may not take it away.
 */

export const UNKNOWN = 0;
export const FIRE_AND_FORGET = 1;
export const MEMORY = 2;
export const APPLIED = 3;
export const PERSISTED = 4;
export const SEEN = 5;

export const LEVEL_NAMES = ['UNKNOWN', 'FIRE_AND_FORGET', 'MEMORY', 'APPLIED', 'PERSISTED', 'SEEN'] as const;

/** The number of a level as an acknowledgement names it; UNKNOWN for a name that is not known or missing. */
export function levelOf(name: string | undefined): number {
  switch (name) {
    case 'FIRE_AND_FORGET':
      return FIRE_AND_FORGET;
    case 'MEMORY':
      return MEMORY;
    case 'APPLIED':
      return APPLIED;
    case 'PERSISTED':
    case 'REPLICATED':
      return PERSISTED;
    default:
      return UNKNOWN;
  }
}
