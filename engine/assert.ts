/**
 * Assertions: what the code relies on. A failed one is a bug of ours, never of the world's making, so it throws
 * and ends the thread, which its owner replaces. What the world may do is answered by a GridError instead.
 */

/** Thrown by a failed assertion. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Throws unless `condition` holds. `message` says what was relied on, with the values. */
export function assert(condition: boolean, message = 'assertion failed'): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/**
 * Throws: for the hot path, where the message of an `assert` would be put together even when all is well.
 *
 *     if (session === undefined) broken(`call slot ${slot} released twice`);
 */
export function broken(message: string): never {
  throw new AssertionError(message);
}

/** The default of a switch over a closed union: a new member shows the compiler every place. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
