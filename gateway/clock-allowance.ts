/**
 * How many clocks one client may have corrected: offsets are kept for ever, and there is room for 4096 on the whole server.
 *
 * Counted for each subject, or for each connection where there is no authentication. A device has one clock; whoever names
 * more nodes that run ahead than this is refused their writes, and others keep their room. What is counted is forgotten
 * with the gateway, oldest first when there are very many subjects; the offsets are not.
 */
import type { Session } from './session.ts';

export const CLOCKS_MAX = 16;
const SUBJECTS_MAX = 10_000;

export class ClockAllowance {
  readonly #used = new Map<string, number>();

  /** True when the session may have one more clock corrected; then it is counted. */
  take({ principal, id }: Session): boolean {
    const subject = principal === undefined ? `session ${id}` : `subject ${principal.id}`;
    const used = this.#used.get(subject) ?? 0;
    if (used >= CLOCKS_MAX) return false;
    this.#used.delete(subject);
    this.#used.set(subject, used + 1);
    const [oldest] = this.#used.keys();
    if (this.#used.size > SUBJECTS_MAX && oldest !== undefined) this.#used.delete(oldest);
    return true;
  }
}
