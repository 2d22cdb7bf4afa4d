/**
 * Worker threads end under load, by the server's own fault injection, and are replaced while clients stay.
 *
 *   load ─▶ threads end, one after another ─▶ at least one crash seen ─▶ writers come to rest ─▶ look, with crashes going on
 *
 * Before Postgres is compared the node is started without faults: a crash in the last flush is no orderly stop.
 */
import { resolveConfig } from '../../../engine/config-resolution.ts';
import { type DeathWay, faultsOf } from '../../../engine/faults.ts';
import { APPLIED } from '../levels.ts';
import type { Arena, Campaign, Fault } from '../campaign.ts';
import { becomes } from '../node-health.ts';
import { StruckNode } from '../struck-node.ts';

/** Mean life of a thread. */
const KILL_MS = 4000;
const WORKERS = [0, 1];
const EARLY_MS_MAX = 60;
const SOON_MS_MIN = 300;
const SOON_MS_MAX = 1500;
const STRUCK_MS_MAX = 60_000;
const { config: DEFAULTS } = resolveConfig({
  flags: new Map(),
  env: {},
  machine: { dataDir: '/', gatewayThreads: 1, workerThreads: () => 1 },
});
const CRASHED = /worker crashed/g;

export const workerFault: Fault = {
  name: 'worker',
  title: 'worker threads that end under load',
  outlives: APPLIED,
  async prepare(campaign: Campaign): Promise<Arena> {
    const node = await StruckNode.make({ flags: [...campaign.flags, '--worker-threads', String(WORKERS.length)] });
    return { node, strike: () => strike(campaign, node), calm: () => calm(node), close: async () => {} };
  },
};

async function strike(campaign: Campaign, node: StruckNode): Promise<'in place'> {
  const { load, random } = campaign;
  await load.stop(random.below(2) === 0);
  await node.kill();
  const seed = faultSeed(campaign);
  const faults = ['--fault-injection', 'on', '--fault-worker-kill-ms', String(KILL_MS), '--fault-seed', String(seed)];
  await node.start(faults);
  load.begin(node);
  await campaign.moment(500, 2000);
  const crashes = (): number => node.log.match(CRASHED)?.length ?? 0;
  if (!(await becomes(() => crashes() > 0, STRUCK_MS_MAX))) campaign.fail('no worker has crashed: the fault never struck');
  await campaign.rest(node);
  campaign.note('crashes', crashes());
  const replacedMs = replacements(node.log);
  campaign.noteMax('slowest replacement ms', Math.max(0, ...replacedMs));
  campaign.note('replaced within 500 ms', replacedMs.filter((ms) => ms <= 500).length);
  return 'in place';
}

/** From each crash that the log tells to the worker that serves in its place, ms. */
function replacements(log: string): number[] {
  const crashedMs = new Map<number, number>();
  return log.split('\n').flatMap((line) => {
    const [, atMs, worker] = /"time":(\d+),.*"worker":(\d+)/.exec(line) ?? [];
    if (line.includes('worker crashed')) crashedMs.set(Number(worker), Number(atMs));
    const sinceMs = crashedMs.get(Number(worker));
    if (sinceMs === undefined || !line.includes('worker replaced')) return [];
    crashedMs.delete(Number(worker));
    return [Number(atMs) - sinceMs];
  });
}

/**
 * Seed of the server's faults. In half of the cycles one by which a first thread ends before it has logged much, perhaps
 * nothing: what it leaves is the hardest for its successor. In the short form none stands still at first.
 */
function faultSeed({ random, options }: Campaign): number {
  const isEarly = random.below(2) === 0;
  const [fromMs, toMs] = isEarly ? [0, EARLY_MS_MAX] : [SOON_MS_MIN, SOON_MS_MAX];
  for (;;) {
    const seed = random.below(2 ** 31);
    const deaths = WORKERS.map((worker) => firstDeath(seed, worker));
    const soonestMs = Math.min(...deaths.map(({ afterMs }) => afterMs));
    const isTimely = (!isEarly && options.isShort !== true) || (soonestMs > fromMs && soonestMs < toMs);
    if (isTimely && (options.isShort !== true || deaths.every(({ way }) => way !== 'loop'))) return seed;
  }
}

/** How the first thread of a worker will end: a thread that stands still is noticed after ten seconds. */
function firstDeath(seed: number, worker: number): { readonly afterMs: number; readonly way: DeathWay | undefined } {
  const options = { ...DEFAULTS, faultInjection: true, faultSeed: seed, faultWorkerKillMs: KILL_MS };
  const faults = faultsOf(options, `worker ${worker}`, 0, () => {});
  return { afterMs: faults?.killAfterMs() ?? 0, way: faults?.deathWay() };
}

async function calm(node: StruckNode): Promise<void> {
  await node.kill();
  await node.start();
}
