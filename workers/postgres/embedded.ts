/**
 * The default database: a PostgreSQL server of our own over `<dataDir>/postgres`, reached by a unix socket only.
 *
 *   no folder ──initdb beside it, rename──▶ folder (complete by existing)
 *   start: stop an orphan of a killed process ─▶ spawn ─▶ "ready to accept connections" ─▶ connection
 *   stop:  SIGINT (ends sessions, checkpoints), SIGQUIT when that takes too long, SIGKILL at last
 *
 * The server is its own process group, so Ctrl-C reaches it only through `stop`, after the last flush; on Linux the
 * kernel interrupts it when we die (setpriv). Authentication is by the operating system's user of the connection
 * (peer), so neither a password nor the mode of the socket's folder guards the data alone.
 *
 * The caller holds the lock of the data directory: whoever still runs on it is an orphan.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GridError } from '../../engine/protocol/errors.ts';
import { chooseUser, exists, findNatives, firstClosedFolder, type Natives, ownUser, type RunAs } from './embedded-natives.ts';
import type { PgTarget } from './pg-session.ts';

/** Name of the superuser and only role. */
const ROLE = 'lattice';
const PORT = 5432;
/** Of a unix socket's path, terminator not counted. */
const SOCKET_PATH_BYTES_MAX = 107;
const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 20_000;
/** After SIGQUIT, which needs no checkpoint. */
const QUIT_DEADLINE_MS = 5_000;
/** Of initdb and pg_ctl. */
const PROGRAM_DEADLINE_MS = 120_000;

export interface EmbeddedOptions {
  readonly dataDir: string;
  /** One line of the server's log. */
  readonly log: (line: string) => void;
  /** False: nothing is synced to disk, for tests. Default true. */
  readonly durable?: boolean;
  /** False: the process may end while the server runs (the kernel or the caller stops it). Default true. */
  readonly holdsProcess?: boolean;
}

export interface EmbeddedPostgres {
  readonly connection: PgTarget;
  readonly pid: number;
  /** Resolves when the server is gone, whoever ended it, with its exit status or signal. */
  readonly exited: Promise<string>;
  /** Once it has exited: starts it again over the same data and at the same socket. Rejects as `startEmbedded` does. */
  startAgain(): Promise<EmbeddedPostgres>;
  /** Ends all sessions, writes a checkpoint, resolves when the server is gone. */
  stop(): Promise<void>;
  /** Kills the server at once (SIGKILL), as a crash would; it recovers at the next start. */
  kill(): void;
}

/**
 * Creates the database on the first start, then starts it. Call it from the main thread: the kernel ties the server
 * to the thread that started it.
 * Rejects with GridError: CONFIG_INVALID (no binaries, a folder that its user cannot reach), STORAGE_VERSION (data of
 * another major version), STORAGE_UNAVAILABLE (it does not start; the message ends with its last log lines).
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const runAs = await chooseUser();
  await mkdir(options.dataDir, { recursive: true, mode: 0o711 });
  const dataDir = await realpath(options.dataDir);
  if (runAs !== undefined) await openToUser(dataDir, runAs);
  await removePartials(dataDir);
  const natives = await findNatives(runAs, dataDir);
  const pgData = join(dataDir, 'postgres');
  if (await exists(pgData)) await stopOrphan(natives, pgData, runAs, options.log);
  else await initialise({ natives, runAs, pgData, durable: options.durable ?? true });
  await checkVersion(natives, pgData);
  await writeAuthentication(pgData, runAs);
  const socketDir = await makeSocketDir(runAs);
  try {
    return await start({ natives, pgData, runAs, socketDir, options });
  } catch (error) {
    await rm(socketDir, { recursive: true, force: true });
    throw error;
  }
}

/** Creates a database folder, whole or not at all. */
export async function initialise(options: {
  natives: Natives;
  runAs: RunAs | undefined;
  pgData: string;
  durable: boolean;
}): Promise<void> {
  const { natives, runAs, pgData, durable } = options;
  const partial = `${pgData}.${process.pid}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true, mode: 0o700 });
  if (runAs !== undefined) await chown(partial, runAs.uid, runAs.gid);
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const rest = ['--auth=peer', '--no-instructions', ...(durable ? [] : ['--no-sync', '--wal-segsize=1'])];
  await run(natives.initdb, ['-D', partial, '-U', ROLE, ...locale, ...rest], runAs);
  await rename(partial, pgData);
}

/** As root: what we own is opened for passing through; a closed folder above it is the operator's to change. */
async function openToUser(dataDir: string, runAs: RunAs): Promise<void> {
  const { uid, mode } = await stat(dataDir);
  if (uid === 0 && (mode & 0o001) === 0) await chmod(dataDir, (mode & 0o777) | 0o011);
  const closed = await firstClosedFolder(dataDir);
  if (closed === undefined) return;
  const hint = 'choose a data directory such as /var/lib/lattice, or set DATABASE_URL';
  throw new GridError('CONFIG_INVALID', `the embedded Postgres runs as "${runAs.name}", who cannot pass ${closed}: ${hint}`);
}

async function stopOrphan(
  natives: Natives,
  pgData: string,
  runAs: RunAs | undefined,
  log: (line: string) => void,
): Promise<void> {
  const pidFile = join(pgData, 'postmaster.pid');
  if (!(await exists(pidFile))) return;
  const [pid = '', , , , socketDir = ''] = (await readFile(pidFile, 'utf8')).split('\n');
  log(`stopping Postgres ${pid}, left behind by a process that was killed`);
  // pg_ctl knows a stale file from a running server; it fails when nothing runs, which is what we want.
  await run(natives.pgCtl, ['stop', '-D', pgData, '-m', 'fast', '-w', '-t', '15'], runAs).catch(() => undefined);
  await run(natives.pgCtl, ['stop', '-D', pgData, '-m', 'immediate', '-w', '-t', '5'], runAs).catch(() => undefined);
  if (socketDir.includes(SOCKET_DIR_PREFIX)) await rm(socketDir, { recursive: true, force: true });
}

async function checkVersion(natives: Natives, pgData: string): Promise<void> {
  const stored = (await readFile(join(pgData, 'PG_VERSION'), 'utf8').catch(() => '')).trim();
  if (stored === '') {
    const message = `${pgData} is no PostgreSQL data folder: bring its content back, or remove it to begin with an empty grid`;
    throw new GridError('STORAGE_VERSION', message);
  }
  const ours = natives.version.split('.')[0];
  if (stored === ours) return;
  throw new GridError('STORAGE_VERSION', `${pgData} was written by PostgreSQL ${stored}, this program brings PostgreSQL ${ours}`);
}

/** Who may connect: our user, the server's own user, root. Written at each start, since our user may change. */
async function writeAuthentication(pgData: string, runAs: RunAs | undefined): Promise<void> {
  const users = new Set([ownUser(), 'root', ...(runAs === undefined ? [] : [runAs.name])]);
  const map = [...users].map((user) => `lattice "${user}" ${ROLE}\n`).join('');
  await writeFile(join(pgData, 'pg_ident.conf'), map);
  await writeFile(join(pgData, 'pg_hba.conf'), 'local all all peer map=lattice\n');
}

/** Small memory, one machine, no replication. */
function settings(socketDir: string, durable: boolean): readonly string[] {
  const values: Record<string, string | number> = {
    listen_addresses: '',
    port: PORT,
    unix_socket_directories: socketDir,
    max_connections: 60,
    shared_buffers: '64MB',
    maintenance_work_mem: '32MB',
    temp_buffers: '8MB',
    work_mem: '8MB',
    wal_buffers: '4MB',
    max_wal_size: '512MB',
    min_wal_size: '80MB',
    wal_level: 'minimal',
    max_wal_senders: 0,
    max_worker_processes: 2,
    max_parallel_workers: 0,
    max_parallel_workers_per_gather: 0,
    max_logical_replication_workers: 0,
    io_method: 'sync',
    jit: 'off',
    huge_pages: 'off',
    checkpoint_timeout: '10min',
    lc_messages: 'C',
    log_destination: 'stderr',
    logging_collector: 'off',
    log_checkpoints: 'off',
    cluster_name: 'lattice',
    client_connection_check_interval: '5s',
  };
  if (!durable)
    Object.assign(values, {
      fsync: 'off',
      full_page_writes: 'off',
      synchronous_commit: 'off',
      min_wal_size: '8MB',
      max_wal_size: '64MB',
    });
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

const SOCKET_DIR_PREFIX = 'lattice-pg-';

async function makeSocketDir(runAs: RunAs | undefined): Promise<string> {
  const fits = (parent: string): boolean =>
    Buffer.byteLength(join(parent, `${SOCKET_DIR_PREFIX}XXXXXX`, `.s.PGSQL.${PORT}.lock`)) <= SOCKET_PATH_BYTES_MAX;
  const parent = fits(tmpdir()) ? tmpdir() : '/tmp';
  const socketDir = await mkdtemp(join(parent, SOCKET_DIR_PREFIX));
  if (runAs !== undefined) await chown(socketDir, runAs.uid, runAs.gid);
  return socketDir;
}

interface Place {
  readonly natives: Natives;
  readonly pgData: string;
  readonly runAs: RunAs | undefined;
  readonly socketDir: string;
  readonly options: EmbeddedOptions;
}

async function start(place: Place): Promise<EmbeddedPostgres> {
  const { natives, pgData, runAs, socketDir, options } = place;
  const args = ['-D', pgData, ...settings(socketDir, options.durable ?? true)];
  const setpriv = process.platform === 'linux' ? await findSetpriv() : undefined;
  const [program, programArgs] =
    setpriv === undefined ? [natives.postgres, args] : [setpriv, ['--pdeathsig', 'INT', natives.postgres, ...args]];
  const child = spawn(program, programArgs, { ...spawnOptions(runAs), detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(String(code ?? signal)));
    child.once('error', (error) => resolve(error.message));
  });
  try {
    await untilReady(child, options.log);
  } catch (error) {
    child.kill('SIGQUIT');
    throw error;
  }
  if (options.holdsProcess === false) letProcessEnd(child);
  return {
    connection: { path: join(socketDir, `.s.PGSQL.${PORT}`), user: ROLE, database: 'postgres' },
    pid: child.pid ?? 0,
    exited,
    startAgain: () => start(place),
    stop: () => stop(child, exited, socketDir),
    kill: () => {
      child.kill('SIGKILL');
    },
  };
}

async function stop(child: ChildProcess, exited: Promise<string>, socketDir: string): Promise<void> {
  child.ref();
  child.kill('SIGINT');
  const quits = setTimeout(() => child.kill('SIGQUIT'), STOP_DEADLINE_MS);
  const kills = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS + QUIT_DEADLINE_MS);
  await exited;
  clearTimeout(quits);
  clearTimeout(kills);
  await rm(socketDir, { recursive: true, force: true });
}

/** Resolves at the line that says so; the log goes on to `log` for the life of the server. */
function untilReady(child: ChildProcess, log: (line: string) => void): Promise<void> {
  const lastLines: string[] = [];
  return new Promise((resolve, reject) => {
    const fail = (what: string): void =>
      reject(new GridError('STORAGE_UNAVAILABLE', `the embedded Postgres ${what}: ${lastLines.join(' | ')}`));
    const impatience = setTimeout(() => fail(`is not ready after ${START_DEADLINE_MS} ms`), START_DEADLINE_MS);
    child.once('error', (error) => fail(`cannot be started (${error.message})`));
    child.once('exit', (code, signal) => {
      clearTimeout(impatience);
      fail(`ended with ${code ?? signal}`); // after the start this rejects a settled promise: no effect
    });
    eachLine(child, (line) => {
      lastLines.push(line);
      if (lastLines.length > 8) lastLines.shift();
      log(line);
      if (!line.includes('ready to accept connections')) return;
      clearTimeout(impatience);
      resolve();
    });
  });
}

function eachLine(child: ChildProcess, onLine: (line: string) => void): void {
  let rest = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') onLine(line.trim());
  });
}

function letProcessEnd(child: ChildProcess): void {
  child.unref();
  const stderr = child.stderr;
  if (stderr !== null && 'unref' in stderr && typeof stderr.unref === 'function') stderr.unref();
}

async function findSetpriv(): Promise<string | undefined> {
  for (const path of ['/usr/bin/setpriv', '/bin/setpriv']) if (await exists(path)) return path;
  return undefined;
}

function spawnOptions(runAs: RunAs | undefined): { cwd: string; uid?: number; gid?: number; env: NodeJS.ProcessEnv } {
  const env = { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' };
  return runAs === undefined ? { cwd: '/', env } : { cwd: '/', env, uid: runAs.uid, gid: runAs.gid };
}

/** Runs a program of PostgreSQL to its end; rejects with its output when it fails. */
async function run(program: string, args: readonly string[], runAs: RunAs | undefined): Promise<void> {
  const child = spawn(program, [...args], { ...spawnOptions(runAs), stdio: ['ignore', 'ignore', 'pipe'] });
  const output: string[] = [];
  eachLine(child, (line) => output.push(line));
  const impatience = setTimeout(() => child.kill('SIGKILL'), PROGRAM_DEADLINE_MS);
  await new Promise<void>((resolve, reject) => {
    const fail = (what: string): void =>
      reject(new GridError('STORAGE_UNAVAILABLE', `${program} ${what}: ${output.slice(-8).join(' | ')}`));
    child.once('error', (error) => fail(error.message));
    child.once('close', (code, signal) => (code === 0 ? resolve() : fail(`ended with ${code ?? signal}`)));
  }).finally(() => clearTimeout(impatience));
}

/** Partial folders of starts that were killed in the middle. */
async function removePartials(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (name.endsWith('.partial')) await rm(join(dataDir, name), { recursive: true, force: true });
  }
}
