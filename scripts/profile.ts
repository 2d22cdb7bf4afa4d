/**
 * `npm run profile -- <workload>`: where the time of gateways and workers goes.
 *
 *   start the server with --cpu-prof ─▶ warm up ─▶ the workload ─▶ stop ─▶ a profile of each thread, cut to the workload
 *
 *     --seconds N    how long it is loaded (default 5)        --out FOLDER     where files go (default ./profiles)
 *     --variant V    a form of the server (bench/harness.ts), such as log-off; default lattice
 *     --no-graphs    no flame graphs: Vega (bench/peers) is not needed, and not installed
 *
 * Prints the functions with the most time of their own, for each thread. Writes a flame graph as SVG, and the profiles as Node wrote
 * them, for DevTools or speedscope. Profiling itself costs some per cent.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isProduct, startServer, type Variant } from '../bench/harness.ts';
import { installPeers } from '../bench/peer-packages.ts';
import { freePort } from '../bench/redis-peer.ts';
import {
  busyNodes,
  monotonicUs,
  readProfiles,
  type ThreadProfile,
  type TimeWindow,
  topFunctions,
} from './profile/cpu-profile.ts';
import { flameGraph } from './profile/flame-graph.ts';
import { WORKLOADS, type Workload } from './profile/workloads.ts';

const FUNCTIONS_SHOWN = 15;
/** Samples a millisecond. */
const SAMPLE_INTERVAL_US = 250;
const WARM_UP_SHARE = 0.4;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '5' },
      out: { type: 'string', default: 'profiles' },
      variant: { type: 'string', default: 'lattice' },
      'no-graphs': { type: 'boolean', default: false },
    },
  });
  const [name = ''] = positionals;
  const workload = WORKLOADS.get(name);
  const seconds = Number(values.seconds);
  const variant = values.variant as Variant; // told from others by the next line
  if (workload === undefined || positionals.length > 1) return refuse(`name a workload: ${[...WORKLOADS.keys()].join(' ')}`);
  if (!(seconds > 0 && seconds <= 600)) return refuse('--seconds takes a number up to 600');
  if (!isProduct(variant)) return refuse(`no form of the server is called ${variant}`);
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), 'lattice-profile-'));
  try {
    const window = await profiled(workload, variant, folder, seconds * 1000);
    await show(name, readProfiles(folder, window), values['no-graphs'] ? undefined : out);
    for (const file of readdirSync(folder)) copyFileSync(join(folder, file), join(out, `${name}-${file}`));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return 0;
}

/** Runs a server under the workload and stops it, which makes it write its profiles. Resolves with when the workload ran. */
async function profiled(workload: Workload, variant: Variant, folder: string, ms: number): Promise<TimeWindow> {
  const flags = ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-interval=${SAMPLE_INTERVAL_US}`];
  const respPort = await freePort();
  process.env.LATTICE_RESP_PORT = String(respPort);
  const server = await startServer(variant, undefined, flags).finally(() => delete process.env.LATTICE_RESP_PORT);
  try {
    const doors = { port: server.port, pid: server.pid, respPort };
    await workload(doors, ms * WARM_UP_SHARE, 1);
    const fromUs = monotonicUs();
    await workload(doors, ms, 2);
    return { fromUs, toUs: monotonicUs() };
  } finally {
    await server.stop();
  }
}

/** @param out where flame graphs go; undefined for none */
async function show(name: string, profiles: readonly ThreadProfile[], out: string | undefined): Promise<void> {
  if (profiles.length === 0) throw new Error('the server wrote no profiles');
  const noGraphs = out === undefined ? undefined : installPeers();
  if (noGraphs !== undefined) process.stderr.write(`no flame graphs: ${noGraphs}\n`);
  for (const profile of profiles) {
    const { busyUs, functions } = topFunctions(profile, FUNCTIONS_SHOWN);
    process.stdout.write(`\n${profile.thread}: busy for ${(busyUs / 1000).toFixed(0)} ms\n`);
    for (const { name: of, selfUs, share } of functions) {
      process.stdout.write(`  ${(share * 100).toFixed(1).padStart(5)} %  ${(selfUs / 1000).toFixed(1).padStart(8)} ms  ${of}\n`);
    }
    if (out === undefined || noGraphs !== undefined || busyUs === 0) continue;
    const path = join(out, `${name}-${profile.thread}.svg`);
    writeFileSync(path, await flameGraph(`${name}: ${profile.thread}`, busyNodes(profile)));
    process.stdout.write(`  flame graph: ${path}\n`);
  }
}

function refuse(reason: string): number {
  process.stderr.write(`${reason}\n`);
  return 2;
}

try {
  process.exitCode = await main();
} catch (cause) {
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`);
  process.exitCode = 1;
}
