/**
 * What was measured, kept in bench/results.json: the newest of each scenario, where a short run never replaces a full one.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { packageFolder } from '../../workers/package-folder.ts';
import { peersFolder } from '../peer-packages.ts';
import type { Measured, Session } from './measured.ts';

/** The session that begins now, on this machine. */
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

/** The scenarios of `kept`, with those just measured in their place; a short one does not push out a full one. */
export function mergedResults(kept: readonly Measured[], fresh: readonly Measured[]): Measured[] {
  const merged = new Map(kept.map((measured) => [measured.scenario, measured]));
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

function commitOf(folder: string): string {
  const git = (...words: string[]): string =>
    execFileSync('git', words, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    return git('rev-parse', '--short', 'HEAD').trim() + (git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+');
  } catch {
    return 'unknown'; // no git, or no checkout
  }
}

function versionsOfPeers(): Record<string, string> {
  const path = join(peersFolder(), 'package.json');
  if (!existsSync(path)) return {};
  const { dependencies = {} } = JSON.parse(readFileSync(path, 'utf8')) as { dependencies?: Record<string, string> };
  return Object.fromEntries(Object.entries(dependencies).filter(([name]) => !name.startsWith('vega')));
}
