/**
 * The folder of a write-ahead log on a real disk.
 *
 * Writes are synchronous: they end in the page cache after microseconds, and the batch's answers wait for them anyhow.
 * Syncs take as long as the disk does, so they run on a thread of libuv's pool.
 */
import {
  close,
  closeSync,
  fdatasync,
  fsync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { LogFile, LogFiles } from '../../engine/storage/log-files.ts';

export class NodeLogFiles implements LogFiles {
  readonly #folder: string;

  /** Creates the folder when it is missing; nobody but its owner may look into it. */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  list(): readonly string[] {
    return readdirSync(this.#folder);
  }

  create(name: string): LogFile {
    return new NodeLogFile(name, openSync(this.#path(name), 'wx', 0o600));
  }

  reopen(name: string): LogFile {
    return new NodeLogFile(name, openSync(this.#path(name), 'r+'));
  }

  read(name: string): Uint8Array {
    return readFileSync(this.#path(name));
  }

  size(name: string): number {
    return statSync(this.#path(name)).size;
  }

  remove(name: string): void {
    rmSync(this.#path(name), { force: true });
  }

  /** A folder is synced through a descriptor of its own. */
  syncFolder(): Promise<void> {
    return new Promise((resolve, reject) => {
      const descriptor = openSync(this.#folder, 'r');
      fsync(descriptor, (error) => {
        closeSync(descriptor);
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}

class NodeLogFile implements LogFile {
  readonly name: string;
  readonly #descriptor: number;

  constructor(name: string, descriptor: number) {
    this.name = name;
    this.#descriptor = descriptor;
  }

  write(bytes: Uint8Array, position: number): number {
    return writeSync(this.#descriptor, bytes, 0, bytes.length, position);
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#descriptor, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  /** In the background: closing a file that was removed frees its blocks, which takes a while. What matters was synced. */
  close(): void {
    close(this.#descriptor, () => {});
  }
}
