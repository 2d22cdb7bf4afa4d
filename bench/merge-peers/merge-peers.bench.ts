/**
 * The peers of W2: the same ops of the same mix, by as many connections, a batch of ten a message, all into one document.
 *
 *   y-websocket      a Y.Map               tinybase   a table of a MergeableStore, server with a store of its own
 *   automerge-repo   a document's root     gun        a relay, a node a key
 *
 * Each keeps everything in memory and has a server to itself for each run, which a quarter of the load warms up, into another document.
 * All four tell every other writer what was written, which Lattice does only for who asks: it is how they work, and cannot be turned
 * off. Clocks of the mix go to TinyBase and GUN; Yjs and Automerge have logical clocks of their own. A run counts when the server's
 * document holds exactly what the mix, or a second replica, says. How many ops a run has follows from how fast the peer is.
 */
import { generated, startServer } from '../harness.ts';
import type { Pinning } from '../pinning.ts';
import { reasonMissing } from '../peer-packages.ts';
import type { MixName } from '../op-mix.ts';
import type { Figures } from '../result.ts';
import type { MergePeerPlan, MergePeerReport } from './merge-peer-load.ts';
import type { MergePeerName } from './merge-wire.ts';
import { BATCH_OPS } from './mixed-writes.ts';

interface PeerShape {
  /** Package that it needs. */
  readonly needs: string;
  /** Of a full run. */
  readonly ops: number;
  readonly settleMs: number;
}

export const PEER_SHAPES: Readonly<Record<MergePeerName, PeerShape>> = {
  'y-websocket': { needs: 'y-websocket/bin/utils', ops: 20_000, settleMs: 200 },
  // Its server asks the first client for what it has, and takes nothing in before it has waited a second for an answer.
  tinybase: { needs: 'tinybase/synchronizers/synchronizer-ws-server', ops: 10_000, settleMs: 1500 },
  'automerge-repo': { needs: '@automerge/automerge-repo-network-websocket', ops: 2000, settleMs: 200 },
  gun: { needs: 'gun', ops: 40_000, settleMs: 200 },
};

const WINDOW = 16;
const DEADLINE_MS = 90_000;

export interface PeerLoad {
  readonly mix: MixName;
  readonly connections: number;
}

/** Why a peer cannot take part on this machine, or undefined. */
export function mergePeerMissing(peer: MergePeerName): Promise<string | undefined> {
  return reasonMissing(PEER_SHAPES[peer].needs);
}

/** Figures of one run on a server of its own, or why it is void. */
export async function runMergePeerOnce(
  peer: MergePeerName,
  load: PeerLoad,
  quick: boolean,
  pinning: Pinning | undefined,
): Promise<Figures | string> {
  const { ops, settleMs } = PEER_SHAPES[peer];
  const server = await startServer(`merge-${peer}`, pinning);
  try {
    const write = (room: string, share: number): Promise<MergePeerReport> => {
      const batchesPerConnection = Math.max(1, Math.round((ops * share) / load.connections / BATCH_OPS));
      const plan: MergePeerPlan = {
        ...load,
        peer,
        room,
        port: server.port,
        serverPid: server.pid,
        batchesPerConnection,
        beforeMillis: Date.now(),
        window: WINDOW,
        settleMs,
        deadlineMs: DEADLINE_MS,
      };
      return generated('./merge-peers/merge-peer-generator', plan, pinning);
    };
    await write('warm', quick ? 0.1 : 0.25);
    const report = await write('measured', quick ? 0.25 : 1);
    return report.reason ?? mergePeerFigures(report);
  } finally {
    await server.stop();
  }
}

export function mergePeerFigures(report: MergePeerReport): Figures {
  return {
    opsPerSecond: (report.ops * 1000) / report.windowMs,
    opsPerCpuSecond: (report.ops * 1000) / report.serverCpuMs,
    serverCores: report.serverCpuMs / report.windowMs,
    rssMb: report.serverRssBytes / 1e6,
    generatorCores: report.generatorCpuMs / report.windowMs,
    ops: report.ops,
  };
}
