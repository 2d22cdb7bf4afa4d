/**
 * What makes a run void, in words: its figures are left out and the reason is printed.
 *
 * Rules that ask a server live beside what they ask: applied-ops.ts, log-use.ts and those of each benchmark.
 */

/** The run could not be brought to its end. */
export function voidBecause(cause: unknown): string {
  return `void: ${messageOf(cause)}`;
}

export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** `there`: what a store says that it holds, once `sent` of them were written. */
export function reasonLost(what: string, sent: number, there: number): string | undefined {
  return there === sent ? undefined : `void: ${sent} ${what} sent, ${there} there`;
}

/** @param measured what was acknowledged within the window. */
export function reasonUnmeasured(measured: number): string | undefined {
  return measured > 0 ? undefined : 'void: nothing was acknowledged in the window';
}

/** `open`: of the connections that were opened, those that stayed so until the end. */
export function reasonClosed(opened: number, open: number): string | undefined {
  return open === opened ? undefined : `void: ${opened} connections were opened, ${open} stayed so`;
}
