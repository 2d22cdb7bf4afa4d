/** What a server can be profiled under: loads of the benchmark, run once to warm up and once to be looked at. */
import type { FanOutPlan, FanOutReport } from '../../bench/fan-out/fan-out-load.ts';
import type { FanOutWireName } from '../../bench/fan-out/fan-out-wires.ts';
import { generated, type RunningServer, runGenerator } from '../../bench/harness.ts';
import type { LoadPlan } from '../../bench/load.ts';

/** Loads the server for about `ms`. `round` tells apart what is run after one another. */
export type Workload = (server: RunningServer, ms: number, round: number) => Promise<void>;

export const WORKLOADS: ReadonlyMap<string, Workload> = new Map([
  ['ingest-1', ingest({ opsPerFrame: 1, window: 64 })],
  ['ingest-10', ingest({ opsPerFrame: 10, window: 32 })],
  ['ingest-100', ingest({ opsPerFrame: 100, window: 4 })],
  ['wait-50', ingest({ opsPerFrame: 10, window: 1 })],
  ['merge-hot', ingest({ opsPerFrame: 10, window: 16, mix: 'hot' })],
  ['merge-unique', ingest({ opsPerFrame: 10, window: 16, mix: 'unique' })],
  ['events', fanOut('event')],
  ['queries', fanOut('query')],
  ['topics', fanOut('topic')],
]);

function ingest(shape: Pick<LoadPlan, 'opsPerFrame' | 'window' | 'mix'>): Workload {
  return async ({ port, pid }, ms, round) => {
    await runGenerator({
      port,
      path: '/ws?events=interest',
      serverPid: pid,
      connections: 50,
      keys: 50 * shape.opsPerFrame * 64,
      mapName: `profile-${round}`,
      keyPrefix: 'p-',
      ackRule: 'lastId',
      warmUpMs: 0,
      measureMs: ms,
      ...shape,
    });
  };
}

function fanOut(wire: FanOutWireName): Workload {
  return async ({ port, pid }, ms, round) => {
    const room = `profile-${round}`;
    const plan: FanOutPlan = {
      ...{ wire, room, port, serverPid: pid, subscribers: 200, writesPerSecond: 500 },
      ...{ warmUpMs: 0, measureMs: ms },
    };
    await generated<FanOutPlan, FanOutReport>('./fan-out/fan-out-generator', plan);
  };
}
