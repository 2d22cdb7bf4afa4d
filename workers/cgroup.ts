/**
 * Where the limits of this process's container stand: the folders of its cgroup, from its own up to the root.
 *
 * Version 2 has one hierarchy for all controllers, version 1 one for each. Inside a container the folders of the host may
 * be missing; the root is always there.
 */
import { readFileSync } from 'node:fs';

/** The text of a file, or undefined when it cannot be read. */
export type ReadText = (path: string) => string | undefined;

export interface CgroupFolder {
  readonly version: 1 | 2;
  readonly path: string;
}

export function cgroupFolders(controller: 'cpu' | 'memory', read: ReadText): CgroupFolder[] {
  return (read('/proc/self/cgroup') ?? '').split('\n').flatMap((line) => foldersOf(line, controller));
}

/** Not Linux, no such cgroup, or no permission: then there is no limit that we could know of. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function foldersOf(line: string, controller: string): CgroupFolder[] {
  const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
  if (controllers === undefined || path === undefined) return [];
  if (controllers === '') return foldersUpFrom(path).map((folder) => ({ version: 2, path: `/sys/fs/cgroup${folder}` }));
  if (!controllers.split(',').includes(controller)) return [];
  return foldersUpFrom(path).map((folder) => ({ version: 1, path: `/sys/fs/cgroup/${controller}${folder}` }));
}

/** '/a/b' gives '/a/b', '/a' and ''. */
function foldersUpFrom(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return Array.from({ length: parts.length + 1 }, (_, up) =>
    parts
      .slice(0, parts.length - up)
      .map((part) => `/${part}`)
      .join(''),
  );
}
