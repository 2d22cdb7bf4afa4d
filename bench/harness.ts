/**
 * Processes of a benchmark: starts servers, waits until they listen, runs generators against them, ends them.
 *
 *   harness ──spawn──▶ server (writes PORT=<n> to stdout when connections are accepted)
 *           ──fork───▶ generator (gets a plan, answers with a report, ends), one per run
 *
 * A server stays up for all its runs, so compiled code is warm, as in a server that has been up for a minute. Its
 * stderr goes to a file of its temporary folder; the end of it is shown when something fails. Data and log of the product
 * lie there too, on a disk (disk-folder.ts).
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { diskFolder } from './disk-folder.ts';
import { GARBAGE_HORIZON_MS } from './garbage.ts';
import type { GeneratorAnswer } from './generator-process.ts';
import type { LoadPlan, LoadReport } from './load.ts';
import { type Pinning, TASKSET } from './pinning.ts';
import { descendantsOf } from './process-stats.ts';

const START_DEADLINE_MS = 90_000;
const STOP_DEADLINE_MS = 45_000;
const QUIT_DEADLINE_MS = 5000;
const POLL_MS = 20;

/** What is set for each form of the product; `lattice` is the one that starts when nobody sets anything. */
const PRODUCT_SETTINGS = {
  lattice: {},
  /** Gateway and worker in one thread. */
  fused: { LATTICE_FUSED: 'on' },
  /** What waits for Postgres is in memory alone; there is room for all of it, since beyond its bound writes are refused. */
  'log-off': { LATTICE_WAL: 'off', LATTICE_STAGED_BYTES_MAX: String(4 * 2 ** 30) },
  'fsync-off': { LATTICE_WAL: 'on', LATTICE_WAL_FSYNC: 'off' },
  'fsync-10': { LATTICE_WAL: 'on', LATTICE_WAL_FSYNC: '10' },
  'fsync-always': { LATTICE_WAL: 'on', LATTICE_WAL_FSYNC: 'always' },
  /** Flushes follow one another without pauses, since hardly anything may wait; what waits is in the log, so nothing is refused. */
  flushing: { LATTICE_WAL: 'on', LATTICE_STAGED_BYTES_MAX: String(1 << 20), LATTICE_FLUSH_DELAY_MS: '0' },
  /** Neither Postgres nor a log: a pure cache. */
  alone: { LATTICE_STORE: 'none' },
  /** As `alone` and as `lattice`, with a horizon that tombstones pass within a run (garbage.ts). */
  'alone-gc': { LATTICE_STORE: 'none', LATTICE_TOMBSTONE_HORIZON_MS: String(GARBAGE_HORIZON_MS) },
  'lattice-gc': { LATTICE_TOMBSTONE_HORIZON_MS: String(GARBAGE_HORIZON_MS) },
  /** As `alone`, with so many threads of each kind. */
  'w1-g1': { LATTICE_STORE: 'none', LATTICE_WORKER_THREADS: '1', LATTICE_GATEWAY_THREADS: '1' },
  'w1-g1-fused': { LATTICE_STORE: 'none', LATTICE_FUSED: 'on' },
  'w2-g1': { LATTICE_STORE: 'none', LATTICE_WORKER_THREADS: '2', LATTICE_GATEWAY_THREADS: '1' },
  'w1-g2': { LATTICE_STORE: 'none', LATTICE_WORKER_THREADS: '1', LATTICE_GATEWAY_THREADS: '2' },
  'w2-g2': { LATTICE_STORE: 'none', LATTICE_WORKER_THREADS: '2', LATTICE_GATEWAY_THREADS: '2' },
} as const;

export type ProductVariant = keyof typeof PRODUCT_SETTINGS;

/** Settings of the product that a benchmark makes in its own environment before it starts a server. */
const SET_BY_BENCHMARKS: readonly string[] = ['LATTICE_RESP_PORT'];
const CALLERS_ENVIRONMENT: NodeJS.ProcessEnv = { ...process.env };

/** What runs beside the product: a script of this folder and its arguments. */
const REFERENCE_COMMANDS = {
  raw: ['./raw-server'],
  'raw-net': ['./resp/raw-net-server'],
  replay: ['./replay-server'],
  naive: ['./naive-server', 'single'],
  pm: ['./naive-server', 'pm'],
  'raw-fan-out': ['./fan-out/raw-fan-out-server'],
  'raw-query': ['./live-query/raw-query-server'],
  'socket.io': ['./fan-out/peer-server', 'socket.io'],
  'y-websocket': ['./fan-out/peer-server', 'y-websocket'],
  hocuspocus: ['./fan-out/peer-server', 'hocuspocus'],
  gun: ['./fan-out/peer-server', 'gun'],
  'merge-y-websocket': ['./merge-peers/merge-peer-server', 'y-websocket'],
  'merge-tinybase': ['./merge-peers/merge-peer-server', 'tinybase'],
  'merge-automerge-repo': ['./merge-peers/merge-peer-server', 'automerge-repo'],
  'merge-gun': ['./merge-peers/merge-peer-server', 'gun'],
} as const;

/** What is measured: the product, and its references. */
export type Variant = ProductVariant | keyof typeof REFERENCE_COMMANDS;

export function isProduct(variant: Variant): variant is ProductVariant {
  return variant in PRODUCT_SETTINGS;
}

/** A running server process. */
export interface RunningServer {
  readonly variant: Variant;
  readonly port: number;
  readonly pid: number;
  /** From its start to its port, ms. */
  readonly startMs: number;
  /** What it has written to stdout so far: its port, and what flags of Node trace. */
  stdout(): string;
  /** Ends it by SIGTERM, and by SIGKILL when it does not go; removes its folder. */
  stop(): Promise<void>;
  /** Ends it and its Postgres at once: what was not flushed is lost, and nobody waits for it; removes its folder. */
  abandon(): Promise<void>;
  /** Ends it and starts it again with what it left in its folder. */
  restart(): Promise<RunningServer>;
}

/** Compiled and uncompiled runs differ in the extension of their files. */
const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js';

function siblingPath(path: string): string {
  return fileURLToPath(new URL(path + EXTENSION, import.meta.url));
}

/** True when the product itself is there to be measured. */
export function productExists(): boolean {
  return existsSync(siblingPath('../gateway/cli'));
}

/** The command line of a variant, after `node`. */
function argumentsOf(variant: Variant): string[] {
  if (isProduct(variant)) return [siblingPath('../gateway/cli'), 'start', '--port', '0'];
  const [script, ...words] = REFERENCE_COMMANDS[variant];
  return [siblingPath(script), ...words];
}

/** An environment without the settings of the product, save for those that a benchmark made and not its caller. */
export function withoutSettings(environment: NodeJS.ProcessEnv, callers = CALLERS_ENVIRONMENT): NodeJS.ProcessEnv {
  const without: NodeJS.ProcessEnv = { ...environment };
  for (const name of Object.keys(without)) {
    const isOwn = SET_BY_BENCHMARKS.includes(name) && environment[name] !== callers[name];
    if (name.startsWith('LATTICE_') && !isOwn) delete without[name];
  }
  return without;
}

/** The product's environment: its own data, no authentication, no rate limit, what makes the variant; nothing else is set. */
function productEnvironment(variant: ProductVariant, dataDir: string): NodeJS.ProcessEnv {
  const own = { LATTICE_DATA_DIR: dataDir, LATTICE_RATE_OPS_PER_SECOND: '0', ...PRODUCT_SETTINGS[variant] };
  const environment: NodeJS.ProcessEnv = { ...withoutSettings(process.env), ...own };
  // A benchmark writes: never into somebody's own database or under somebody's configuration.
  for (const name of ['DATABASE_URL', 'JWT_SECRET', 'PORT']) delete environment[name];
  return environment;
}

/**
 * Starts a server and waits for its port. Rejects, with the end of its log, when it does not come.
 *
 * @param nodeArguments more arguments for Node, such as `--cpu-prof`
 */
export async function startServer(
  variant: Variant,
  pinning?: Pinning,
  nodeArguments: readonly string[] = [],
): Promise<RunningServer> {
  const folder = mkdtempSync(join(diskFolder(), `lattice-bench-${variant}-`));
  chmodSync(folder, 0o755); // embedded Postgres runs as another user when this is root
  return startServerIn(folder, variant, pinning, nodeArguments);
}

async function startServerIn(
  folder: string,
  variant: Variant,
  pinning: Pinning | undefined,
  nodeArguments: readonly string[],
): Promise<RunningServer> {
  const logPath = join(folder, 'stderr.log');
  const log = openSync(logPath, 'w');
  const beganMs = performance.now();
  const command = [process.execPath, ...process.execArgv, ...nodeArguments, ...argumentsOf(variant)];
  if (pinning !== undefined) command.unshift(TASKSET, '-c', pinning.server);
  const child = spawn(command[0] as string, command.slice(1), {
    env: isProduct(variant) ? productEnvironment(variant, join(folder, 'data')) : process.env,
    // A lattice.toml of the current folder must not count. (Uncompiled runs find their loader from that folder.)
    cwd: EXTENSION === '.js' ? folder : process.cwd(),
    stdio: ['ignore', 'pipe', log],
  });
  closeSync(log);
  let written = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    written += chunk.toString('latin1');
  });
  try {
    const port = await portOf(child);
    return {
      variant,
      port,
      pid: child.pid as number,
      startMs: performance.now() - beganMs,
      stdout: () => written,
      stop: async () => {
        await endServer(child);
        removeFolder(folder);
      },
      abandon: async () => {
        await killServer(child);
        removeFolder(folder);
      },
      restart: async () => {
        await endServer(child);
        return startServerIn(folder, variant, pinning, nodeArguments);
      },
    };
  } catch (cause) {
    const ending = readFileSync(logPath, 'utf8').slice(-3000);
    await endServer(child);
    removeFolder(folder);
    throw new Error(`the ${variant} server did not start: ${String(cause)}\n${ending}`);
  }
}

function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => reject(new Error(`no PORT= within ${START_DEADLINE_MS} ms`)), START_DEADLINE_MS);
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`it ended with ${code ?? signal}`));
    });
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const match = /^PORT=(\d+)$/m.exec(text);
      if (match === null) return;
      clearTimeout(timer);
      resolve(Number(match[1]));
    });
  });
}

async function endServer(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await ended;
    clearTimeout(timer);
  }
}

async function killServer(child: ChildProcess): Promise<void> {
  const descendants = child.pid === undefined ? [] : descendantsOf(child.pid);
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await ended;
  }
  // Not SIGKILL: Postgres gives its shared memory back, and does not stay for a checkpoint.
  for (const pid of descendants) signal(pid, 'SIGQUIT');
  const givenUpMs = performance.now() + QUIT_DEADLINE_MS;
  while (descendants.some((pid) => signal(pid, 0)) && performance.now() < givenUpMs) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** False when there is no such process. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

/** Runs one plan in a generator process of its own. Rejects when the load failed. */
export function runGenerator(plan: LoadPlan, pinning?: Pinning): Promise<LoadReport> {
  return generated<LoadPlan, LoadReport>('./load-generator', plan, pinning);
}

/** Hands a plan to a script of this folder, in a process of its own, and resolves with its report. Rejects when it failed. */
export function generated<Plan extends object, Report>(path: string, plan: Plan, pinning?: Pinning): Promise<Report> {
  return new Promise((resolve, reject) => {
    const script = siblingPath(path);
    const child =
      pinning === undefined
        ? fork(script)
        : spawn(TASKSET, ['-c', pinning.generator, process.execPath, ...process.execArgv, script], {
            stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
          });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the generator ended with ${code} and without a report`)));
    child.once('message', (answer: GeneratorAnswer<Report>) => {
      if ('report' in answer) resolve(answer.report);
      else reject(new Error(answer.failure));
    });
    child.send(plan);
  });
}
