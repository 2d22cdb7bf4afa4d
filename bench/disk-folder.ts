/**
 * Where measured files lie: a folder on a real disk, since a file system in memory makes every sync free.
 */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Of statfs(2), as far as they are met under a folder of temporary files. */
const FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
  [0x794c7630, 'overlayfs'],
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
]);
const IN_MEMORY = new Set(['tmpfs', 'ramfs']);
const CANDIDATES = [tmpdir(), '/var/tmp'];

/** Name of the file system that holds a folder. */
export function fileSystemOf(folder: string): string {
  const { type } = statfsSync(folder);
  return FILE_SYSTEMS.get(type) ?? `0x${type.toString(16)}`;
}

/** The folder of temporary files, or /var/tmp where that one is in memory. Throws when there is no disk. */
export function diskFolder(candidates: readonly string[] = CANDIDATES, nameOf = fileSystemOf): string {
  for (const folder of candidates) if (!IN_MEMORY.has(nameOf(folder))) return folder;
  throw new Error(`${candidates.join(' and ')} are in memory: name a folder on a disk with TMPDIR`);
}

/** Runs `body` with an empty folder, which is removed when it ends. */
export async function withFolder<T>(name: string, body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(diskFolder(), `lattice-bench-${name}-`));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
