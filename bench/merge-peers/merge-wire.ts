/**
 * How a peer is spoken to by those who write: what a connection opens with, the bytes of its batches, and what must be left of them.
 *
 * Bytes are made before the clock starts, by the peer's own library where its format is not plain text. A batch is one message.
 */
import type { Step } from '../fan-out/byte-stream.ts';
import { AutomergeWire } from './automerge-wire.ts';
import { GunWire } from './gun-wire.ts';
import type { MixedRun } from './mixed-writes.ts';
import { TinyBaseWire } from './tinybase-wire.ts';
import { YjsWire } from './yjs-wire.ts';

export const MERGE_PEERS = ['y-websocket', 'tinybase', 'automerge-repo', 'gun'] as const;
export type MergePeerName = (typeof MERGE_PEERS)[number];

export interface MergeWire {
  steps(connection: number): readonly Step[];
  /** The batches of a connection, a WebSocket frame each. Asked for once, in the order of the connections. */
  frames(connection: number): readonly Uint8Array[];
  /** Key → title of what must be left when all batches of all connections are merged. */
  expected(): ReadonlyMap<string, string>;
}

/** @param room the name by which the server knows what is written to */
export function openMergeWire(peer: MergePeerName, room: string, run: MixedRun): Promise<MergeWire> {
  switch (peer) {
    case 'y-websocket':
      return YjsWire.open(room, run);
    case 'tinybase':
      return TinyBaseWire.open(room, run);
    case 'automerge-repo':
      return AutomergeWire.open(room, run);
    case 'gun':
      return Promise.resolve(new GunWire(room, run));
  }
}
