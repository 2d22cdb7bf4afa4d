/**
 * The folder of a write-ahead log, as far as the log needs it. Real files in production, files that forget in tests.
 *
 *   create ─ write … write ─ sync ─ close          nothing survives a power loss before its sync,
 *   remove · list · read                           and no new file before the sync of the folder
 *
 * Errors of the world reject or throw as they come from the system, with its `code` (ENOSPC, EIO): what they mean is
 * for the log to say. After a failed `sync` the content of the file is unknown: it must not be synced again.
 */

/** A file that is written. */
export interface LogFile {
  readonly name: string;
  /**
   * Writes `bytes` at `position` and answers how many were written, which may be fewer (a disk that is full). Does not
   * wait for the disk. Throws with the system's code.
   */
  write(bytes: Uint8Array, position: number): number;
  /** Forces what was written before the call to the disk (fdatasync). */
  sync(): Promise<void>;
  close(): void;
}

export interface LogFiles {
  /** Names in the folder, in no order. */
  list(): readonly string[];
  /** A new, empty file. Throws when it exists. */
  create(name: string): LogFile;
  /** A file that is there, so that what a predecessor wrote can be synced. Throws ENOENT. */
  reopen(name: string): LogFile;
  /** The whole content. */
  read(name: string): Uint8Array;
  /** Bytes of a file. */
  size(name: string): number;
  /** Deletes a file; a name that is not there is no error. */
  remove(name: string): void;
  /** Forces names created and removed before the call to the disk. */
  syncFolder(): Promise<void>;
}
