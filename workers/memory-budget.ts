/**
 * How much memory the records of each worker may take.
 *
 *   bound            LATTICE_MAX_MEMORY; by default 70 % of the machine's memory or the container's limit, what is less
 *   ├─ everything    rings, gateways, sessions, code, heaps of main and gateway threads: MEASURED, as the resident memory of
 *   │  but workers   the process less what the workers say they take; at least an ESTIMATE of what it will be, to which the
 *   │                bytes of sessions are COUNTED: what they hold and have not read (gateway/session.ts)
 *   └─ workers       the rest, in even shares
 *      └─ one share  ├─ heap, array buffers and kernel's memory of the thread: MEASURED (indexes, staging, expiry, log frame, Postgres)
 *                    ├─ slack for what doubles or waits for the garbage collector: 1/16
 *                    └─ slab: RESERVED segments, touched or not; eviction keeps records within it
 *
 * Not counted: Postgres, which is another process. The resident memory is a check on all of this: while it is above the
 * bound (fragmentation of malloc, buffers of sockets), slabs make no further segments, whatever their share says. Segments
 * are never given back, so dropping values then makes room for writes, but the process becomes no smaller.
 *
 * A bound that leaves workers less than `SHARE_BYTES_MIN` is too small for this server: it is not kept, and said so.
 */
import { totalmem } from 'node:os';
import { cgroupFolders, type ReadText, readText } from './cgroup.ts';

const MIB = 1024 * 1024;
const DEFAULT_SHARE = 0.7;
/** A segment of the slab and what stands beside it. */
export const SHARE_BYTES_MIN = 32 * MIB;
/** Of the process, before any record: code, three heaps, a pool of buffers each. */
const PROCESS_BYTES = 64 * MIB;
const GATEWAY_BYTES = 24 * MIB;
const SLACK_SHARE = 1 / 16;
const KERNEL_BYTES_MAX = 2 ** 32;
const NEVER_OVERCOMMITS = '2';

/** What a node has, apart from records. */
export interface NodeSizes {
  readonly gateways: number;
  readonly workers: number;
  readonly ringBytes: number;
}

/** The bound of the process, in bytes. @param configuredBytes 0 takes the default. */
export function memoryBound(configuredBytes: number, machineBytes: number, limitBytes: number): number {
  return configuredBytes > 0 ? configuredBytes : Math.floor(DEFAULT_SHARE * Math.min(machineBytes, limitBytes));
}

/**
 * What a worker reserves for records that its kernel can reach (engine/storage/kernel-memory.ts): twice its share, since shares of
 * threads differ, and no more than the kernel can address. Nothing where the system counts what is reserved as taken.
 */
export function kernelReserveBytes(boundBytes: number, workers: number, read: ReadText = readText): number {
  if (read('/proc/sys/vm/overcommit_memory')?.trim() === NEVER_OVERCOMMITS) return 0;
  return Math.min(KERNEL_BYTES_MAX, Math.ceil((2 * boundBytes) / workers));
}

/** What the process will take without its workers, before it can be measured. */
export function estimatedFixedBytes({ gateways, workers, ringBytes }: NodeSizes): number {
  return PROCESS_BYTES + gateways * GATEWAY_BYTES + 2 * gateways * workers * ringBytes;
}

/**
 * One worker's share of the bound. @param residentBytes of the process. @param workersBytes what all workers take, by
 * their own account. @param sessionsBytes what all sessions hold.
 */
export function workerShare(
  boundBytes: number,
  sizes: NodeSizes,
  residentBytes: number,
  workersBytes: number,
  sessionsBytes = 0,
): number {
  const fixedBytes = Math.max(estimatedFixedBytes(sizes) + sessionsBytes, residentBytes - workersBytes);
  return Math.max(SHARE_BYTES_MIN, Math.floor((boundBytes - fixedBytes) / sizes.workers));
}

/** True when the bound cannot be kept with these threads and rings, whatever is in memory. */
export function isBoundTooSmall(boundBytes: number, sizes: NodeSizes): boolean {
  return boundBytes < estimatedFixedBytes(sizes) + sizes.workers * SHARE_BYTES_MIN;
}

/**
 * What the slab of a worker may reserve. @param otherBytes heap and buffers of the thread, without the slab.
 * @param isOver the process is above its bound: no further segments.
 */
export function slabBound(shareBytes: number, otherBytes: number, reservedBytes: number, isOver: boolean): number {
  const bound = Math.max(SHARE_BYTES_MIN / 2, Math.floor(shareBytes * (1 - SLACK_SHARE) - otherBytes));
  return isOver ? Math.min(bound, Math.max(reservedBytes, SHARE_BYTES_MIN / 2)) : bound;
}

/** The memory of the machine, in bytes. */
export function machineMemoryBytes(): number {
  return totalmem();
}

/**
 * The smallest memory limit on the way from the process's cgroup up to the root; Infinity when there is none. Version 2
 * has `memory.max` ("max" is none), version 1 `memory.limit_in_bytes` (about 2^63 is none).
 */
export function cgroupMemoryBytes(read: ReadText = readText): number {
  let limitBytes = Number.POSITIVE_INFINITY;
  for (const { version, path } of cgroupFolders('memory', read)) {
    const bytes = Number(read(`${path}/${version === 2 ? 'memory.max' : 'memory.limit_in_bytes'}`)?.trim());
    if (bytes > 0) limitBytes = Math.min(limitBytes, bytes);
  }
  return limitBytes;
}
