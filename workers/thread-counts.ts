/**
 * How many threads of each kind a machine gets: formulas, and the number of cores they start from.
 *
 * Cores are what the process may use: the machine's (or its affinity mask's), cut by the container's CPU quota. More
 * threads than cores were measured to cost 40 to 85 % more CPU per operation, so workers never exceed cores − gateways.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

const GATEWAYS_MAX = 4;
const WORKERS_MAX = 8;

/** Cores this process may use, at least 1. A quota of 2.5 cores counts as 2. */
export function availableCores(): number {
  return coresWithin(availableParallelism(), cgroupQuotaCores(readText));
}

/** @param quotaCores the container's limit, Infinity without one. */
export function coresWithin(parallelism: number, quotaCores: number): number {
  return Math.max(1, Math.floor(Math.min(parallelism, quotaCores)));
}

/** A quarter of the cores, 1 to 4. */
export function gatewayThreads(cores: number): number {
  return Math.max(1, Math.min(GATEWAYS_MAX, Math.floor(cores / 4)));
}

/** Half of the cores, 2 to 8, but never more than the gateways leave, and at least 1. */
export function workerThreads(cores: number, gateways: number): number {
  return Math.max(1, Math.min(WORKERS_MAX, Math.max(2, Math.floor(cores / 2)), cores - gateways));
}

/** The text of a file, or undefined when it cannot be read. */
type ReadText = (path: string) => string | undefined;

/**
 * The smallest CPU quota on the way from the process's cgroup up to the root, in cores; Infinity when there is none.
 * Version 2 has one hierarchy (`cpu.max`: "quota period" or "max period"), version 1 a `cpu` hierarchy with two files.
 */
export function cgroupQuotaCores(read: ReadText): number {
  let quotaCores = Number.POSITIVE_INFINITY;
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const version2 = controllers === '';
    if (!version2 && !controllers.split(',').includes('cpu')) continue;
    const root = version2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/cpu';
    for (const folder of foldersUpFrom(path)) {
      quotaCores = Math.min(quotaCores, version2 ? quotaVersion2(read, root + folder) : quotaVersion1(read, root + folder));
    }
  }
  return quotaCores;
}

/** '/a/b' gives '/a/b', '/a' and ''. Inside a container the folders of the host may be missing; the root is always there. */
function foldersUpFrom(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return Array.from({ length: parts.length + 1 }, (_, up) =>
    parts
      .slice(0, parts.length - up)
      .map((part) => `/${part}`)
      .join(''),
  );
}

function quotaVersion2(read: ReadText, folder: string): number {
  const [quota, period] = (read(`${folder}/cpu.max`) ?? '').trim().split(' ');
  return ratio(quota, period);
}

function quotaVersion1(read: ReadText, folder: string): number {
  return ratio(read(`${folder}/cpu.cfs_quota_us`)?.trim(), read(`${folder}/cpu.cfs_period_us`)?.trim());
}

/** "max" and -1 mean no limit. */
function ratio(quota: string | undefined, period: string | undefined): number {
  const cores = Number(quota) / Number(period);
  return Number.isFinite(cores) && cores > 0 ? cores : Number.POSITIVE_INFINITY;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // not Linux, no such cgroup, or no permission: then there is no limit that we could know of
  }
}
