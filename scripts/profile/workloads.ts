/** What a server can be profiled under: loads of the benchmark, run once to warm up and once to be looked at. */
import type { FanOutPlan, FanOutReport } from '../../bench/fan-out/fan-out-load.ts';
import type { FanOutWireName } from '../../bench/fan-out/fan-out-wires.ts';
import { generated, runGenerator } from '../../bench/harness.ts';
import type { LoadPlan } from '../../bench/load.ts';
import { fill } from '../../bench/resp/resp-client.ts';
import type { CommandName } from '../../bench/resp/resp-commands.ts';
import type { RespLoadPlan, RespLoadReport } from '../../bench/resp/resp-load.ts';

/** Of the server that is looked at. */
export interface Doors {
  readonly port: number;
  readonly respPort: number;
  readonly pid: number;
}

/** Loads the server for about `ms`. `round` tells apart what is run after one another. */
export type Workload = (server: Doors, ms: number, round: number) => Promise<void>;

export const WORKLOADS: ReadonlyMap<string, Workload> = new Map([
  ['ingest-1', ingest({ opsPerFrame: 1, window: 64 })],
  ['ingest-10', ingest({ opsPerFrame: 10, window: 32 })],
  ['ingest-10-keys', ingest({ opsPerFrame: 10, window: 32, keys: 330_000 })],
  ['ingest-100', ingest({ opsPerFrame: 100, window: 4 })],
  ['wait-50', ingest({ opsPerFrame: 10, window: 1 })],
  ['merge-hot', ingest({ opsPerFrame: 10, window: 16, mix: 'hot' })],
  ['merge-unique', ingest({ opsPerFrame: 10, window: 16, mix: 'unique' })],
  ['events', fanOut('event')],
  ['queries', fanOut('query')],
  ['topics', fanOut('topic')],
  ['idle', idle],
  ['redis-get', redis('GET')],
  ['redis-set', redis('SET')],
]);

const REDIS_KEYS = 100_000;

function ingest(shape: Pick<LoadPlan, 'opsPerFrame' | 'window'> & Partial<Pick<LoadPlan, 'mix' | 'keys'>>): Workload {
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

/** 200 open connections, and nothing is sent. */
async function idle({ port, pid }: Doors, ms: number): Promise<void> {
  await runGenerator({
    port,
    path: '/ws?events=interest',
    serverPid: pid,
    connections: 200,
    opsPerFrame: 1,
    window: 0,
    keys: 0,
    mapName: 'profile',
    keyPrefix: 'p-',
    ackRule: 'lastId',
    warmUpMs: 0,
    measureMs: ms,
  });
}

/** 16 commands in flight on each of 50 connections. The first round sets the keys before. */
function redis(command: CommandName): Workload {
  return async ({ respPort, pid }, ms, round) => {
    if (round === 1) await fill(respPort, REDIS_KEYS);
    const plan: RespLoadPlan = {
      ...{ command, port: respPort, serverPid: pid, connections: 50, pipeline: 16, keys: REDIS_KEYS },
      ...{ warmUpMs: 0, measureMs: ms },
    };
    await generated<RespLoadPlan, RespLoadReport>('./resp/resp-generator', plan);
  };
}
