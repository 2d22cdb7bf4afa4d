/**
 * One process a data directory: a file `lattice.lock` that says who holds it.
 *
 *   take:  write own card to a temporary name, link(2) it to `lattice.lock` (fails when it exists; never half written)
 *   held:  the file's time is touched each second
 *   stale: same machine and pid namespace → the process is gone, or its pid belongs to a younger process
 *          elsewhere (another container, a shared volume) → the file's time does not move for `probeMs`
 *   room:  `lattice.lock.room` keeps a block of the disk free for the card, so that a server starts on a full disk, too
 *
 * The file is advice among well-behaved processes; the Postgres advisory lock and the owner epoch stand behind it.
 */
import { link, mkdir, readFile, readlink, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GridError } from '../../engine/protocol/errors.ts';

const BEAT_MS = 1000;
const PROBE_MS = 6000;
const ATTEMPTS_MAX = 5;
/** A block of most file systems. */
const ROOM_BYTES = 4096;

interface Card {
  readonly pid: number;
  readonly host: string;
  /** Machine boot and pid namespace: where equal, a pid means the same process. */
  readonly place: string;
  /** Start of the process in clock ticks since boot, '' where unknown: tells a reused pid. */
  readonly started: string;
  /** ISO time at which the lock was taken. */
  readonly since: string;
}

export class DataDirectoryLock {
  readonly #path: string;
  readonly #card: Card;
  readonly #beat: NodeJS.Timeout;

  private constructor(path: string, card: Card) {
    this.#path = path;
    this.#card = card;
    this.#beat = setInterval(() => void touch(path), BEAT_MS).unref();
  }

  /**
   * Creates the folder when it is missing. Rejects with GridError DATA_DIRECTORY_IN_USE, naming the holder.
   * @param probeMs How long a holder elsewhere is watched for a sign of life, ms.
   */
  static async take(dataDir: string, probeMs: number = PROBE_MS): Promise<DataDirectoryLock> {
    await mkdir(dataDir, { recursive: true, mode: 0o711 });
    const path = join(dataDir, 'lattice.lock');
    const card: Card = {
      pid: process.pid,
      host: hostname(),
      place: await thisPlace(),
      started: await startOf(process.pid),
      since: new Date().toISOString(),
    };
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (await place(path, card)) {
        await keepRoom(path);
        return new DataDirectoryLock(path, card);
      }
      const holder = await readCard(path);
      if (holder === undefined) continue; // gone meanwhile
      if (await isAlive(path, holder, card.place, probeMs)) throw inUse(dataDir, holder);
      await removeStale(path, holder);
    }
    throw new GridError('DATA_DIRECTORY_IN_USE', `${dataDir}: other processes keep taking ${path}`);
  }

  /** Gives the directory free. */
  async release(): Promise<void> {
    clearInterval(this.#beat);
    const holder = await readCard(this.#path);
    if (holder !== undefined && isSame(holder, this.#card)) await rm(this.#path, { force: true });
  }
}

function inUse(dataDir: string, holder: Card): GridError {
  return new GridError(
    'DATA_DIRECTORY_IN_USE',
    `${dataDir} is in use by process ${holder.pid} on ${holder.host} since ${holder.since}`,
  );
}

/** False when there is a lock already. */
async function place(path: string, card: Card): Promise<boolean> {
  const draft = `${path}.${card.pid}`;
  try {
    await writeFile(draft, JSON.stringify(card), { mode: 0o644 }).catch(async (error) => {
      if (!isCode(error, 'ENOSPC')) throw error;
      await rm(roomOf(path), { force: true });
      await writeFile(draft, JSON.stringify(card), { mode: 0o644 });
    });
    await link(draft, path);
    return true;
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

function roomOf(path: string): string {
  return `${path}.room`;
}

/** A disk that has no room for it now will have some at a later start. */
async function keepRoom(path: string): Promise<void> {
  await writeFile(roomOf(path), Buffer.alloc(ROOM_BYTES), { mode: 0o644 }).catch(() => rm(roomOf(path), { force: true }));
}

/** Undefined when there is no lock. A file that is not ours to read counts as a holder elsewhere. */
async function readCard(path: string): Promise<Card | undefined> {
  const text = await readFile(path, 'utf8').catch((error) => {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const fields: Record<string, unknown> = Object(parsed(text));
  const field = (name: string): string => (typeof fields[name] === 'string' ? fields[name] : '');
  const pid = Number(fields.pid ?? 0);
  return { pid, host: field('host'), place: field('place'), started: field('started'), since: field('since') };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

async function isAlive(path: string, holder: Card, here: string, probeMs: number): Promise<boolean> {
  if (holder.place === here && here !== '') return processExists(holder.pid) && (await startOf(holder.pid)) === holder.started;
  const before = await timeOf(path);
  await delay(probeMs);
  return (await timeOf(path)) !== before;
}

/** Moves the file aside, so that of several processes one removes it; puts it back when it was not the stale one. */
async function removeStale(path: string, stale: Card): Promise<void> {
  const aside = `${path}.stale.${process.pid}`;
  await rename(path, aside).catch(ignoreMissing);
  const moved = await readCard(aside);
  if (moved !== undefined && !isSame(moved, stale)) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

function isSame(left: Card, right: Card): boolean {
  return left.pid === right.pid && left.place === right.place && left.started === right.started && left.since === right.since;
}

function processExists(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isCode(error, 'EPERM');
  }
}

/** '' where the system does not tell. */
async function startOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''; // field 22; the name before it may hold anything
}

async function thisPlace(): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  const namespace = await readlink('/proc/self/ns/pid').catch(() => '');
  return boot === '' ? `${process.platform} ${hostname()}` : `${boot.trim()} ${namespace}`;
}

async function timeOf(path: string): Promise<number> {
  return stat(path).then(
    (stats) => stats.mtimeMs,
    () => 0,
  );
}

async function touch(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => undefined); // the folder may be gone: nothing to hold
}

function ignoreMissing(error: unknown): void {
  if (!isCode(error, 'ENOENT')) throw error;
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
