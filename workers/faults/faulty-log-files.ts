/**
 * The folder of a log with a bad disk: syncs that are slow or fail, writes that are slow, find no room or half of it.
 *
 * A sync that fails has forced nothing: its bytes are in the file, as after a real one, and may be gone after a power loss.
 * Names, reads and the folder itself are left alone.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Faults } from '../../engine/faults.ts';
import type { LogFile, LogFiles } from '../../engine/storage/log-files.ts';

export class FaultyLogFiles implements LogFiles {
  readonly #inner: LogFiles;
  readonly #faults: Faults;

  constructor(inner: LogFiles, faults: Faults) {
    this.#inner = inner;
    this.#faults = faults;
  }

  list(): readonly string[] {
    return this.#inner.list();
  }

  create(name: string): LogFile {
    return new FaultyLogFile(this.#inner.create(name), this.#faults);
  }

  reopen(name: string): LogFile {
    return new FaultyLogFile(this.#inner.reopen(name), this.#faults);
  }

  read(name: string): Uint8Array {
    return this.#inner.read(name);
  }

  size(name: string): number {
    return this.#inner.size(name);
  }

  remove(name: string): void {
    this.#inner.remove(name);
  }

  syncFolder(): Promise<void> {
    return this.#inner.syncFolder();
  }
}

class FaultyLogFile implements LogFile {
  readonly #inner: LogFile;
  readonly #faults: Faults;

  constructor(inner: LogFile, faults: Faults) {
    this.#inner = inner;
    this.#faults = faults;
  }

  get name(): string {
    return this.#inner.name;
  }

  write(bytes: Uint8Array, position: number): number {
    standStill(this.#faults.writeDelayMs());
    const fault = this.#faults.writeFault();
    if (fault === 'none') return this.#inner.write(bytes, position);
    const room = fault === 'short' ? this.#faults.shortWriteBytes(bytes.length) : 0;
    if (room === 0) throw systemError('ENOSPC', 'no space left on device, write');
    return this.#inner.write(bytes.subarray(0, room), position);
  }

  async sync(): Promise<void> {
    const delayMs = this.#faults.syncDelayMs();
    if (delayMs > 0) await delay(delayMs);
    if (this.#faults.syncFails()) throw systemError('EIO', 'i/o error, fdatasync');
    await this.#inner.sync();
  }

  close(): void {
    this.#inner.close();
  }
}

/** The log writes synchronously: a slow disk holds up the thread. */
function standStill(ms: number): void {
  if (ms > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** An error as node:fs throws it. */
function systemError(code: 'ENOSPC' | 'EIO', text: string): Error {
  return Object.assign(new Error(`${code}: ${text} (injected)`), { code });
}
