/** What the errors of a file system mean to the log: room may come back, everything else does not. */

/** The disk, or the share of it that we may use, is full: the same write may succeed later. */
export function isDiskFull(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** The code that the system gave an error, such as EIO; undefined for every other error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined;
}

/** A write of which only a part found room, where no part is of use. */
export class ShortWrite extends Error {
  override readonly name = 'ShortWrite';
  readonly code = 'ENOSPC';

  constructor(file: string, written: number, bytes: number) {
    super(`${written} of ${bytes} bytes written to ${file}`);
  }
}
