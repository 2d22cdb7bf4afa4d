/**
 * The three inner parts that make the difference, each beside what one would write first:
 *
 *   RING   a record to another thread and back          postMessage of the same bytes
 *   SCAN   finding the ops of a frame                   msgpackr's unpack; `typescript` is for frames that the kernel leaves
 *   MERGE  a million keys, five million merges          Map<string, object>, in processes of their own
 */
import { unpack } from 'msgpackr';
import { Bench } from 'tinybench';
import { SCAN_OP_BATCH, Scanner } from '../engine/protocol/scanner.ts';
import { loadBatchKernel } from '../workers/kernel-file.ts';
import { messageRoundTrips, ringRoundTrips } from './hand-off.ts';
import type { RunSettings } from './ingest.bench.ts';
import { runMerge } from './merge.bench.ts';
import { ScenarioResult } from './result.ts';
import { FrameSlice } from './write-frames.ts';

const FRAMES = 50;

/** Runs RING, SCAN and MERGE and yields each result when it is complete. */
export async function* runRing(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  const wanted = (name: string): boolean => settings.scenarios?.has(name) ?? true;
  if (wanted('RING')) yield await runHandOff(settings);
  if (wanted('SCAN')) yield await runScan(settings);
  if (wanted('MERGE')) yield await runMerge(settings);
}

async function runHandOff(settings: RunSettings): Promise<ScenarioResult> {
  const ceilings = { 'ring-64B': 'postMessage-64B', 'ring-1KB': 'postMessage-1KB' };
  const result = new ScenarioResult({ scenario: 'RING', title: 'round trips between two threads, 1024 in flight', ceilings });
  const measureMs = settings.quick ? 300 : 1000;
  for (let run = 1; run <= settings.runs; run++) {
    for (const [name, bytes] of [
      ['64B', 64],
      ['1KB', 1024],
    ] as const) {
      const ring = await ringRoundTrips(bytes, 200, measureMs);
      const message = await messageRoundTrips(bytes, 200, measureMs);
      result.add(`ring-${name}`, { opsPerSecond: ring });
      result.add(`postMessage-${name}`, { opsPerSecond: message });
      settings.progress(
        `RING run ${run}/${settings.runs} ${name}: ring ${Math.round(ring)}/s, postMessage ${Math.round(message)}/s`,
      );
    }
  }
  return result;
}

async function runScan(settings: RunSettings): Promise<ScenarioResult> {
  const ceilings = Object.fromEntries(
    [1, 10, 100].flatMap((ops) => ['scanner', 'typescript'].map((name) => [`${name}-${ops}`, `msgpackr-${ops}`])),
  );
  const result = new ScenarioResult({ scenario: 'SCAN', title: 'ops of a frame found, 1, 10 and 100 a frame', ceilings });
  const scanner = new Scanner(loadBatchKernel()); // as a gateway has it
  const typescript = new Scanner();
  for (let run = 1; run <= settings.runs; run++) {
    for (const ops of [1, 10, 100]) {
      const payloads = payloadsOf(ops);
      const scans = await passesPerSecond(settings.quick, () => scanAll(scanner, payloads, ops));
      const reads = await passesPerSecond(settings.quick, () => scanAll(typescript, payloads, ops));
      const decodes = await passesPerSecond(settings.quick, () => {
        for (const payload of payloads) if (unpack(payload).payload.ops.length !== ops) throw new Error('not decoded');
      });
      for (const [name, passes] of [
        ['scanner', scans],
        ['typescript', reads],
        ['msgpackr', decodes],
      ] as const) {
        const opsPerSecond = passes * FRAMES * ops;
        result.add(`${name}-${ops}`, { opsPerSecond, nsPerOp: 1e9 / opsPerSecond });
      }
      const ratios = [scans, reads].map((passes) => (passes / decodes).toFixed(1));
      settings.progress(`SCAN run ${run}/${settings.runs} ${ops} ops: ${ratios.join(' and, in TypeScript, ')}× msgpackr`);
    }
  }
  return result;
}

function scanAll(scanner: Scanner, payloads: readonly Uint8Array[], ops: number): void {
  for (const payload of payloads) {
    if (scanner.scan(payload, payload.length) !== SCAN_OP_BATCH || scanner.index.count !== ops) throw new Error('not scanned');
  }
}

/** Frames as a server gets them: without the WebSocket header, each its own array. */
function payloadsOf(opsPerFrame: number): Uint8Array[] {
  const slice = new FrameSlice({ mapName: 'bench', keyPrefix: 'scan-', firstKey: 0, frames: FRAMES, opsPerFrame });
  return Array.from({ length: FRAMES }, (_, frame) => {
    slice.stamp(frame, 0, 1.7e12);
    return slice.bytes.slice(frame * slice.frameBytes + slice.headerBytes, (frame + 1) * slice.frameBytes);
  });
}

/** How often `pass` runs in a second, by the median of tinybench's samples. */
async function passesPerSecond(quick: boolean, pass: () => void): Promise<number> {
  const bench = new Bench({ time: quick ? 100 : 400, warmupTime: quick ? 50 : 150 });
  bench.add('pass', pass);
  const [task] = await bench.run();
  const outcome = task?.result;
  if (outcome === undefined || !('latency' in outcome)) throw new Error('tinybench gave no result', { cause: outcome });
  return 1000 / outcome.latency.p50;
}
