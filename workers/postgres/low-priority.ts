/**
 * Has a process give way where it shares cores with the server's threads: clients wait for those, and nobody for a flush. It loses
 * nothing where a core is free.
 *
 * Two numbers say so on Linux. Niceness weighs a thread against others of its group, and where there are no control groups a session is
 * a group of its own, an autogroup, with the same share as all threads of the server together, whatever the niceness within. Each
 * backend of Postgres leads a session, so its autogroup is weighed, too.
 *
 * Source: sched(7), the part on autogroups.
 */
import { writeFile } from 'node:fs/promises';
import { setPriority } from 'node:os';

/** Each step takes a fifth of the share. */
const NICENESS = 10;

/** Where the system does not allow it, the process stays as it is. Does not reject. */
export async function lowerPriority(pid: number): Promise<void> {
  try {
    setPriority(pid, NICENESS);
  } catch {
    return; // it has ended, or is another user's whom we have no right to
  }
  await writeFile(`/proc/${pid}/autogroup`, String(NICENESS)).catch(() => {}); // no Linux, or no autogroups
}
