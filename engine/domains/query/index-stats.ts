/**
 * What workers have of each index, added up: the answers to REQUEST_INDEXES, each a list of [name, state, entries, bytes].
 */
import { decode } from '../../protocol/codec.ts';

export interface IndexStats {
  /** `ready` on all workers, `full` on one of them at least, or `building`: not used yet. */
  readonly state: 'building' | 'ready' | 'full';
  /** Rows in it. */
  readonly entries: number;
  /** Memory, about. */
  readonly bytes: number;
}

/** By the name of the definition. */
export function addIndexStats(answers: readonly Uint8Array[]): Map<string, IndexStats> {
  const total = new Map<string, IndexStats>();
  for (const answer of answers) {
    const rows = decode(answer);
    for (const row of Array.isArray(rows) ? rows : []) {
      const [name, state, entries, bytes] = Array.isArray(row) ? row : [];
      const known = total.get(name) ?? { state: 'ready', entries: 0, bytes: 0 };
      total.set(name, {
        state: worse(known.state, state),
        entries: known.entries + Number(entries),
        bytes: known.bytes + Number(bytes),
      });
    }
  }
  return total;
}

function worse(known: IndexStats['state'], other: unknown): IndexStats['state'] {
  if (known === 'full' || other === 'full') return 'full';
  return known === 'ready' && other === 'ready' ? 'ready' : 'building';
}
