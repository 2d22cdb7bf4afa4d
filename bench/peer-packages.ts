/**
 * Packages that benchmarks run beside and the server never uses: in bench/peers, with a package.json and a lock of their own.
 *
 *   first use ─▶ npm ci (its output on stderr) ─▶ bench/peers/node_modules ─▶ import
 *        └─ no network, no such folder ─▶ the reason, and the rows that need them are "not measured"
 *
 * No install scripts run: what is needed comes compiled.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageFolder } from '../workers/package-folder.ts';
import { messageOf } from './void-run.ts';

const INSTALL_DEADLINE_MS = 180_000;
const NPM_CI = ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund'];
/** Written by npm when an install is complete, and equal to the lock then, save for what other systems need. */
const INSTALLED_MARK = join('node_modules', '.package-lock.json');

/** Where the peers are installed. */
export function peersFolder(): string {
  return join(packageFolder(), 'bench', 'peers');
}

/** Installs what is missing. Resolves with why the peer cannot be had on this machine, undefined when it loads. */
export async function reasonMissing(name: string): Promise<string | undefined> {
  const reason = installPeers();
  if (reason !== undefined) return reason;
  try {
    await importPeer(name);
    return undefined;
  } catch (cause) {
    return messageOf(cause);
  }
}

/** Installs what the lock of the folder names, unless it is there. Returns why that is impossible, undefined when it is done. */
export function installPeers(folder = peersFolder(), command: readonly string[] = NPM_CI): string | undefined {
  if (!existsSync(join(folder, 'package-lock.json'))) return `${folder} has no lock`;
  if (isInstalled(folder)) return undefined;
  process.stderr.write(`installing ${folder}\n`);
  const [program = '', ...words] = command;
  const { status, signal, error } = spawnSync(program, words, {
    cwd: folder,
    stdio: ['ignore', 2, 2],
    timeout: INSTALL_DEADLINE_MS,
  });
  return status === 0 ? undefined : `${command.join(' ')}: ${error?.message ?? `ended with ${status ?? signal}`}`;
}

/** True when every direct dependency is there in the version that the lock says. */
function isInstalled(folder: string): boolean {
  if (!existsSync(join(folder, INSTALLED_MARK))) return false;
  const locked = packagesOf(join(folder, 'package-lock.json'));
  const installed = packagesOf(join(folder, INSTALLED_MARK));
  const names = Object.keys(locked['']?.dependencies ?? {}).map((name) => `node_modules/${name}`);
  return names.every((name) => installed[name]?.version !== undefined && installed[name].version === locked[name]?.version);
}

type LockedPackages = Readonly<
  Record<string, { readonly version?: string; readonly dependencies?: Readonly<Record<string, string>> }>
>;

function packagesOf(lock: string): LockedPackages {
  const { packages = {} } = JSON.parse(readFileSync(lock, 'utf8')) as { packages?: LockedPackages }; // npm's format 2 and 3
  return packages;
}

const print = console.log;

/** The module of an installed peer; rejects when it cannot be loaded. What it prints while it loads, some do, is dropped. */
export async function importPeer<Module>(name: string, folder = peersFolder()): Promise<Module> {
  const path = createRequire(join(folder, 'package.json')).resolve(name);
  console.log = () => {};
  try {
    return (await import(pathToFileURL(path).href)) as Module; // the caller names the part of it that it uses
  } finally {
    console.log = print;
  }
}
