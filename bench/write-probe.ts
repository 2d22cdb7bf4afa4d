/**
 * Another client while something is measured: writes one op after the other, and tells how long it waited at the longest.
 *
 *   parent ── {port, path} ──▶ probe: write, wait for the ack, pause, …
 *          ── 'stop' ───────▶ probe ── {writes, longestMs} ──▶ parent; the probe ends
 *
 * A process of its own, so that what the measuring client does meanwhile is not taken for the server's stall.
 */
import { encode } from '../engine/protocol/codec.ts';
import { RawWebSocket } from '../gateway/testing/raw-websocket.ts';

export interface ProbePlan {
  readonly port: number;
  readonly path: string;
}

export interface ProbeReport {
  readonly writes: number;
  readonly longestMs: number;
}

const PAUSE_MS = 2;

let stopped = false;
let writes = 0;
let longestMs = 0;

process.on('message', (message: ProbePlan | 'stop') => {
  if (message === 'stop') {
    stopped = true;
    return;
  }
  run(message).then(
    () => process.send?.({ writes, longestMs } satisfies ProbeReport, () => process.exit(0)),
    () => process.exit(1),
  );
});

async function run({ port, path }: ProbePlan): Promise<void> {
  const socket = await RawWebSocket.open({ port, path });
  const ended = socket.closed.then(() => {
    throw new Error('the server closed the connection');
  });
  process.send?.('ready');
  while (!stopped) {
    const acked = new Promise<void>((resolve) => {
      socket.onMessage = () => resolve();
    });
    const sentMs = performance.now();
    socket.send(probeFrame(writes + 1));
    await Promise.race([acked, ended]);
    longestMs = Math.max(longestMs, performance.now() - sentMs);
    writes += 1;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  ended.catch(() => {}); // it is we who close it
  socket.terminate();
}

/** A write of one of many keys, so that every worker has its share. */
function probeFrame(id: number): Uint8Array {
  const record = { value: id, timestamp: { millis: Date.now(), counter: id, nodeId: 'probe' } };
  return encode({
    type: 'OP_BATCH',
    payload: { ops: [{ id: String(id), mapName: 'probe', key: `k${id % 256}`, record }] },
  }).slice();
}
