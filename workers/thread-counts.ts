/**
 * How many threads of each kind a machine gets: formulas, and the number of cores they start from.
 *
 * Cores are what the process may use: the machine's (or its affinity mask's), cut by the container's CPU quota. More
 * threads than cores were measured to cost 40 to 85 % more CPU per operation, so workers never exceed cores − gateways.
 */
import { availableParallelism } from 'node:os';
import { cgroupFolders, type ReadText, readText } from './cgroup.ts';

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

/**
 * The smallest CPU quota on the way from the process's cgroup up to the root, in cores; Infinity when there is none.
 * Version 2 has `cpu.max` ("quota period" or "max period"), version 1 two files.
 */
export function cgroupQuotaCores(read: ReadText): number {
  let quotaCores = Number.POSITIVE_INFINITY;
  for (const { version, path } of cgroupFolders('cpu', read)) {
    quotaCores = Math.min(quotaCores, version === 2 ? quotaVersion2(read, path) : quotaVersion1(read, path));
  }
  return quotaCores;
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
