/**
 * SYNC-COLD, SYNC-1PCT: how a client catches up with a map of 100 000 keys, from nothing and after 1 % of it changed.
 *
 *   lattice   the Merkle walk: root, buckets, leaves
 *   replay    a raw uWebSockets.js server that sends the same frames in the same order to the same client
 *
 * The client is the same for both and does the same work (sync-walk.ts), so what differs is what finding and building
 * the answers costs. Meanwhile another client writes one op after the other (write-probe.ts): the longest that it waits for an
 * acknowledgement is the stall of the server as others feel it. A walk at whose end the roots differ is void.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RawWebSocket } from '../gateway/testing/raw-websocket.ts';
import { untilFlushed } from './applied-ops.ts';
import { startServer } from './harness.ts';
import type { MeasuredServer, RunSettings } from './ingest.bench.ts';
import { frameOf } from './memory-records.ts';
import { descendantsCpuMs, sampleProcess, useBetween } from './process-stats.ts';
import { type Figures, ScenarioResult } from './result.ts';
import { SyncWalker, type WalkReport } from './sync-walk.ts';
import { reasonLost, voidBecause } from './void-run.ts';
import type { ProbePlan, ProbeReport } from './write-probe.ts';

const MAP = 'bench';
const BATCH = 100;
const SCRIPT = fileURLToPath(new URL(`./write-probe${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url));

export async function* runColdSync(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  const names = ['SYNC-COLD', 'SYNC-1PCT'] as const;
  if (settings.scenarios !== undefined && !names.some((name) => settings.scenarios?.has(name))) return;
  const records = settings.quick ? 20_000 : 100_000;
  const keys = records.toLocaleString('en');
  const ceilings = { lattice: 'replay' };
  const cold = new ScenarioResult({ scenario: names[0], title: `a client with nothing syncs a map of ${keys} keys`, ceilings });
  const warm = new ScenarioResult({
    scenario: names[1],
    title: `the same client when 1 % of ${keys} keys have changed`,
    ceilings,
  });
  const folder = mkdtempSync(join(tmpdir(), 'lattice-bench-walk-'));
  const server = await startServer('lattice', settings.pinning);
  try {
    await load(server.port, records, Date.now());
    for (let run = 1; run <= settings.runs; run++) {
      const outcome = await measure(server, records, folder, settings).catch(voidBecause);
      if (typeof outcome === 'string') cold.addVoid('lattice', outcome);
      else for (const [result, variant, figures] of outcome.map(placed)) result.add(variant, figures);
      settings.progress(`SYNC run ${run}/${settings.runs}: ${typeof outcome === 'string' ? outcome : textOf(outcome)}`);
    }
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  yield cold;
  yield warm;

  function placed({ isCold, variant, figures }: Measured): [ScenarioResult, string, Figures] {
    return [isCold ? cold : warm, variant, figures];
  }
}

interface Measured {
  readonly isCold: boolean;
  readonly variant: 'lattice' | 'replay';
  readonly figures: Figures;
}

/** One run: both walks at the server, then both again at a server that plays them back. */
export async function measure(
  server: MeasuredServer,
  records: number,
  folder: string,
  settings: RunSettings,
): Promise<Measured[] | string> {
  const walker = new SyncWalker(MAP);
  const [first, coldFigures] = await walked(server, walker, '/ws?events=interest');
  const lost = reasonLost('records', records, walker.records);
  if (lost !== undefined) return lost;
  await load(server.port, records / 100, Date.now());
  const [second, warmFigures] = await walked(server, walker, '/ws?events=interest');

  const again = new SyncWalker(MAP);
  return [
    { isCold: true, variant: 'lattice', figures: coldFigures },
    { isCold: false, variant: 'lattice', figures: warmFigures },
    { isCold: true, variant: 'replay', figures: await replayed(first, again, folder, settings) },
    { isCold: false, variant: 'replay', figures: await replayed(second, again, folder, settings) },
  ];
}

/** Rejects when the walk at what plays it back is not the one that was recorded. */
export async function replayed(
  recorded: WalkReport,
  walker: SyncWalker,
  folder: string,
  settings: RunSettings,
): Promise<Figures> {
  const path = join(folder, 'frames');
  writeFileSync(path, framesFile(recorded.frames));
  process.env.LATTICE_BENCH_REPLAY = path;
  const server = await startServer('replay', settings.pinning);
  try {
    const [report, figures] = await walked(server, walker, '/probe');
    if (report.bytesDown !== recorded.bytesDown) throw new Error('the replay was another walk');
    return figures;
  } finally {
    await server.stop();
  }
}

/** Frames with their lengths before them, as replay-server.ts reads them. */
export function framesFile(frames: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(
    frames.flatMap((frame) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(frame.length);
      return [length, frame];
    }),
  );
}

/** Walks while another client writes at `probePath`. */
async function walked(server: MeasuredServer, walker: SyncWalker, probePath: string): Promise<[WalkReport, Figures]> {
  if (server.variant === 'lattice') await untilFlushed(server.port);
  const probe = await startProbe({ port: server.port, path: probePath });
  const before = sampleProcess(server.pid);
  const childrenBeforeMs = descendantsCpuMs(server.pid);
  const report = await walker.walk(server.port);
  const after = sampleProcess(server.pid);
  const childrenCpuMs = descendantsCpuMs(server.pid) - childrenBeforeMs;
  const { longestMs } = await probe.stop();
  const cpuMs = before === undefined || after === undefined ? Number.NaN : useBetween(before, after).runMs;
  const figures = {
    opsPerSecond: (report.records * 1000) / report.ms,
    opsPerCpuSecond: (report.records * 1000) / cpuMs,
    serverCores: cpuMs / report.ms,
    childrenCores: childrenCpuMs / report.ms,
    syncMs: report.ms,
    downMb: report.bytesDown / 1e6,
    upKb: report.bytesUp / 1e3,
    questions: report.questions,
    stallMs: longestMs,
  };
  return [report, figures];
}

interface Probe {
  stop(): Promise<ProbeReport>;
}

/** Resolves when the probe is connected. */
function startProbe(plan: ProbePlan): Promise<Probe> {
  return new Promise((resolve, reject) => {
    const child = fork(SCRIPT);
    let report: ProbeReport | undefined;
    const ended = new Promise<ProbeReport>((done, failed) => {
      child.once('error', failed);
      child.once('exit', (code) => {
        if (report !== undefined) done(report);
        else failed(new Error(`the probe ended with ${code} and without a report`));
      });
    });
    ended.catch(reject);
    const stop = (): Promise<ProbeReport> => {
      child.send('stop');
      return ended;
    };
    child.on('message', (message: 'ready' | ProbeReport) => {
      if (message !== 'ready') report = message;
      else resolve({ stop });
    });
    child.send(plan);
  });
}

/** Writes the first keys anew, in frames of 100, each behind the acknowledgement of the one before. */
async function load(port: number, records: number, millis: number): Promise<void> {
  const socket = await RawWebSocket.open({ port, path: '/ws?events=interest' });
  await new Promise<void>((resolve, reject) => {
    let written = 0;
    const next = (): void => {
      if (written >= records) return resolve();
      socket.send(frameOf(written, Math.min(BATCH, records - written), millis));
      written += BATCH;
    };
    socket.onMessage = next;
    void socket.closed.then(({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`)));
    next();
  });
  socket.close();
}

function textOf(outcome: readonly Measured[]): string {
  return outcome
    .map(({ isCold, variant, figures }) => `${variant} ${isCold ? 'cold' : '1 %'} ${figures.syncMs?.toFixed(0)} ms`)
    .join(', ');
}
