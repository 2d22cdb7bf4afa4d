/**
 * A disk in memory that forgets what was not forced to it, for tests of the log.
 *
 *   write ─▶ unsynced writes ─ sync ─▶ durable bytes          create, remove ─▶ unsynced names ─ syncFolder ─▶ durable names
 *
 *   kill     the process is gone, the system is not: every write is there
 *   crash    the power is gone: what was not synced is dropped, or each sector of it is there as of some write or other,
 *            and each name by itself
 *
 * A sync takes effect when it resolves, so a crash while it is under way may keep any part. A sync that fails makes
 * the writes that it was for unreachable: no later sync saves them, as Linux drops pages that it could not write.
 */
import { assert } from '../assert.ts';
import type { LogFile, LogFiles } from './log-files.ts';

const SECTOR_BYTES = 512;

/** An error as the system gives it. */
export class DiskError extends Error {
  override readonly name = 'DiskError';
  readonly code: string;

  constructor(code: string, what: string) {
    super(`${code}: ${what}`);
    this.code = code;
  }
}

interface Write {
  readonly position: number;
  readonly bytes: Uint8Array;
  /** A sync of it has failed. */
  isLost: boolean;
}

/** A name that came or went since the folder was synced. */
interface NameChange {
  readonly name: string;
  readonly content: Content | undefined;
}

/** What the next calls are to do, counted down. */
interface Fault {
  left: number;
  readonly code: string;
  /** Bytes that a short write writes. */
  readonly bytes: number;
}

export class ForgetfulLogFiles implements LogFiles {
  /** Room for all files together. */
  capacityBytes = Number.POSITIVE_INFINITY;
  /** Syncs of files and of the folder that were begun. */
  syncs = 0;
  /** Called when a sync begins and when its effect is there, before anybody is told: where a power loss matters. */
  onBoundary: () => void = () => {};
  /** Syncs wait for `releaseSyncs`. */
  holdsSyncs = false;
  readonly #held: (() => void)[] = [];
  readonly #files = new Map<string, Content>();
  readonly #durableNames = new Map<string, Content>();
  #nameChanges: NameChange[] = [];
  #writeFaults: Fault[] = [];
  #syncFaults: Fault[] = [];

  /** The `k`-th write from now on (1: the next) fails with `code`. */
  failWrite(k: number, code: string): void {
    this.#writeFaults.push({ left: k, code, bytes: 0 });
  }

  /** The `k`-th write from now on finds room for so many of its bytes. */
  shortWrite(k: number, bytes: number): void {
    this.#writeFaults.push({ left: k, code: '', bytes });
  }

  /** The `k`-th sync from now on, of a file or of the folder, fails with `code`. */
  failSync(k: number, code = 'EIO'): void {
    this.#syncFaults.push({ left: k, code, bytes: 0 });
  }

  /** Syncs that wait to be released. */
  get heldSyncs(): number {
    return this.#held.length;
  }

  releaseSyncs(): void {
    for (const release of this.#held.splice(0)) release();
  }

  get usedBytes(): number {
    let bytes = 0;
    for (const content of this.#files.values()) bytes += content.length;
    return bytes;
  }

  list(): readonly string[] {
    return [...this.#files.keys()];
  }

  create(name: string): LogFile {
    if (this.#files.has(name)) throw new DiskError('EEXIST', name);
    const content = new Content();
    this.#files.set(name, content);
    this.#nameChanges.push({ name, content });
    return this.#open(name, content);
  }

  reopen(name: string): LogFile {
    return this.#open(name, this.#contentOf(name));
  }

  read(name: string): Uint8Array {
    return this.#contentOf(name).live.slice();
  }

  size(name: string): number {
    return this.#contentOf(name).length;
  }

  remove(name: string): void {
    if (this.#files.delete(name)) this.#nameChanges.push({ name, content: undefined });
  }

  syncFolder(): Promise<void> {
    const changes = [...this.#nameChanges];
    return this.#sync('the folder', (isGood) => {
      if (isGood) for (const change of changes) this.#applyName(this.#durableNames, change);
      this.#nameChanges = this.#nameChanges.filter((change) => !changes.includes(change));
    });
  }

  /** The disk as the next process finds it after this one was killed: everything is there, and safe. */
  kill(): ForgetfulLogFiles {
    const after = new ForgetfulLogFiles();
    for (const [name, content] of this.#files) after.#restore(name, content.live);
    return after;
  }

  /**
   * The disk as it is found after a power loss now. This one stays as it is.
   * @param random numbers from 0 up to 1; asked with mode `torn` only.
   */
  crash(random: () => number, mode: 'dropped' | 'torn'): ForgetfulLogFiles {
    const names = new Map(this.#durableNames);
    for (const change of this.#nameChanges) if (mode === 'torn' && random() < 0.5) this.#applyName(names, change);
    const after = new ForgetfulLogFiles();
    for (const [name, content] of names) after.#restore(name, mode === 'torn' ? content.torn(random) : content.durable);
    return after;
  }

  #restore(name: string, bytes: Uint8Array): void {
    const content = new Content();
    content.restore(bytes);
    this.#files.set(name, content);
    this.#durableNames.set(name, content);
  }

  #applyName(names: Map<string, Content>, { name, content }: NameChange): void {
    if (content === undefined) names.delete(name);
    else names.set(name, content);
  }

  #contentOf(name: string): Content {
    const content = this.#files.get(name);
    if (content === undefined) throw new DiskError('ENOENT', name);
    return content;
  }

  #open(name: string, content: Content): LogFile {
    let isOpen = true;
    let syncing = 0;
    return {
      name,
      write: (bytes, position) => {
        if (!isOpen) throw new DiskError('EBADF', name);
        return this.#write(name, content, bytes, position);
      },
      sync: () => {
        if (!isOpen) return Promise.reject(new DiskError('EBADF', name));
        const covered = content.unsynced();
        syncing += 1;
        return this.#sync(name, (isGood) => {
          syncing -= 1;
          if (isGood) content.makeDurable(covered);
          else for (const write of covered) write.isLost = true;
        });
      },
      close: () => {
        assert(isOpen, `${name} is closed twice`);
        assert(syncing === 0, `${name} is closed while it is synced`);
        isOpen = false;
      },
    };
  }

  #write(name: string, content: Content, bytes: Uint8Array, position: number): number {
    const fault = due(this.#writeFaults);
    if (fault !== undefined && fault.code !== '') throw new DiskError(fault.code, name);
    const room = this.capacityBytes - this.usedBytes + Math.max(0, content.length - position);
    const written = Math.min(bytes.length, Math.max(0, room), fault?.bytes ?? bytes.length);
    if (written === 0 && bytes.length > 0 && fault === undefined) throw new DiskError('ENOSPC', name);
    content.write(bytes.slice(0, written), position);
    return written;
  }

  async #sync(what: string, settle: (isGood: boolean) => void): Promise<void> {
    this.syncs += 1;
    const fault = due(this.#syncFaults);
    this.onBoundary();
    await (this.holdsSyncs ? new Promise<void>((resolve) => this.#held.push(resolve)) : undefined);
    settle(fault === undefined);
    this.onBoundary();
    if (fault !== undefined) throw new DiskError(fault.code, what);
  }
}

/** Counts all faults down and takes the one that is due. */
function due(faults: Fault[]): Fault | undefined {
  for (const fault of faults) fault.left -= 1;
  const index = faults.findIndex((fault) => fault.left === 0);
  return index < 0 ? undefined : faults.splice(index, 1)[0];
}

/** Bytes of a file: as a process reads them, and as they are on the disk. */
class Content {
  readonly #live = new GrowingBytes();
  readonly #durable = new GrowingBytes();
  #writes: Write[] = [];

  get length(): number {
    return this.#live.length;
  }

  get live(): Uint8Array {
    return this.#live.bytes;
  }

  get durable(): Uint8Array {
    return this.#durable.bytes;
  }

  /** @param bytes are kept. */
  write(bytes: Uint8Array, position: number): void {
    this.#live.write(bytes, position);
    this.#writes.push({ position, bytes, isLost: false });
  }

  /** Writes that a sync that begins now would save. */
  unsynced(): Write[] {
    return this.#writes.filter((write) => !write.isLost);
  }

  makeDurable(writes: readonly Write[]): void {
    for (const write of writes) if (this.#writes.includes(write)) this.#durable.write(write.bytes, write.position);
    this.#writes = this.#writes.filter((write) => !writes.includes(write));
  }

  restore(bytes: Uint8Array): void {
    this.#live.write(bytes, 0);
    this.#durable.write(bytes, 0);
  }

  /** The durable bytes, and over them each sector as it was after some of the writes to it. */
  torn(random: () => number): Uint8Array {
    const torn = new GrowingBytes();
    torn.write(this.#durable.bytes, 0);
    const luck = random(); // a fifth each: nothing more, everything
    if (luck < 0.2) return torn.bytes;
    for (const [sector, writes] of this.#writesBySector()) {
      const kept = luck < 0.4 ? writes.length : Math.floor(random() * (writes.length + 1));
      for (let index = 0; index < kept; index++) writeSector(torn, sector, writes[index] as Write);
    }
    return torn.bytes;
  }

  #writesBySector(): Map<number, Write[]> {
    const sectors = new Map<number, Write[]>();
    for (const write of this.#writes) {
      const last = Math.ceil((write.position + write.bytes.length) / SECTOR_BYTES);
      for (let sector = Math.floor(write.position / SECTOR_BYTES); sector < last; sector++) {
        const writes = sectors.get(sector);
        if (writes === undefined) sectors.set(sector, [write]);
        else writes.push(write);
      }
    }
    return sectors;
  }
}

/** Writes the part of `write` that lies in the sector. */
function writeSector(to: GrowingBytes, sector: number, { position, bytes }: Write): void {
  const start = Math.max(position, sector * SECTOR_BYTES);
  const end = Math.min(position + bytes.length, (sector + 1) * SECTOR_BYTES);
  to.write(bytes.subarray(start - position, end - position), start);
}

/** What was never written reads as zeros. */
class GrowingBytes {
  #buffer = new Uint8Array(4096);
  length = 0;

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    if (end > this.#buffer.length) {
      const old = this.#buffer;
      this.#buffer = new Uint8Array(Math.max(end, old.length * 2));
      this.#buffer.set(old);
    }
    this.#buffer.set(bytes, position);
    this.length = Math.max(this.length, end);
  }
}
