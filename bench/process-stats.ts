/**
 * What a process has used so far, read from /proc: CPU time, memory, context switches, each thread by itself.
 *
 *   /proc/<pid>/stat                 state and parent; user and system time in clock ticks, ended threads included;
 *                                    those of children that ended and were waited for
 *   /proc/<pid>/status               VmRSS
 *   /proc/<pid>/task/<tid>/stat      the same times for one thread
 *   /proc/<pid>/task/<tid>/schedstat time on a core in ns, the precise form of the same
 *   /proc/<pid>/task/<tid>/status    voluntary and involuntary context switches
 *
 * Differences of two samples are the measurement. Linux only: elsewhere every sample is `undefined`, and figures
 * per CPU second are left out. Source: proc(5).
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks per second in /proc; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** One thread's use so far. */
export interface ThreadSample {
  readonly tid: number;
  readonly name: string;
  readonly userMs: number;
  readonly systemMs: number;
  /** Time on a core at ns precision; equals user + system where the kernel does not count it. */
  readonly runMs: number;
  readonly voluntarySwitches: number;
}

/** One process's use so far. */
export interface ProcessSample {
  readonly userMs: number;
  readonly systemMs: number;
  readonly rssBytes: number;
  readonly threads: readonly ThreadSample[];
}

/** What happened between two samples. */
export interface ProcessUse {
  readonly cpuMs: number;
  /** As `cpuMs`, at ns precision, without threads that ended meanwhile. */
  readonly runMs: number;
  readonly voluntarySwitches: number;
  /** Threads that used CPU, busiest first. */
  readonly threads: readonly { readonly name: string; readonly tid: number; readonly cpuMs: number }[];
}

/** Fields of a stat file that are of use here. */
export interface StatFields {
  readonly name: string;
  readonly parentPid: number;
  readonly userMs: number;
  readonly systemMs: number;
  /** User and system time of children that ended and were waited for, with what those had waited for. */
  readonly waitedMs: number;
}

/** Parses /proc/<pid>/stat. The name stands in parentheses and may itself hold spaces and parentheses. */
export function parseStat(text: string): StatFields {
  const nameEnd = text.lastIndexOf(')');
  const fields = text.slice(nameEnd + 2).split(' ');
  return {
    name: text.slice(text.indexOf('(') + 1, nameEnd),
    parentPid: Number(fields[1]),
    userMs: (Number(fields[11]) * 1000) / TICKS_PER_SECOND,
    systemMs: (Number(fields[12]) * 1000) / TICKS_PER_SECOND,
    waitedMs: ((Number(fields[13]) + Number(fields[14])) * 1000) / TICKS_PER_SECOND,
  };
}

/** A number of a status file by its name, 0 when it is absent: `VmRSS`, `voluntary_ctxt_switches`. */
export function parseStatusNumber(text: string, name: string): number {
  const match = new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text);
  return match === null ? 0 : Number(match[1]);
}

/** Samples a process; undefined when it is gone or there is no /proc. */
export function sampleProcess(pid: number): ProcessSample | undefined {
  const stat = statOf(pid);
  const status = readText(`/proc/${pid}/status`);
  if (stat === undefined || status === undefined) return undefined;
  const { userMs, systemMs } = stat;
  return { userMs, systemMs, rssBytes: parseStatusNumber(status, 'VmRSS') * 1024, threads: sampleThreads(pid) };
}

function sampleThreads(pid: number): ThreadSample[] {
  const threads: ThreadSample[] = [];
  for (const tid of listNumbers(`/proc/${pid}/task`)) {
    const base = `/proc/${pid}/task/${tid}`;
    const stat = readText(`${base}/stat`);
    const status = readText(`${base}/status`);
    if (stat === undefined || status === undefined) continue;
    const { name, userMs, systemMs } = parseStat(stat);
    const runNs = Number((readText(`${base}/schedstat`) ?? '').split(' ')[0]);
    const runMs = runNs > 0 ? runNs / 1e6 : userMs + systemMs;
    threads.push({ tid, name, userMs, systemMs, runMs, voluntarySwitches: parseStatusNumber(status, 'voluntary_ctxt_switches') });
  }
  return threads;
}

/** What a process used from one sample to the next. */
export function useBetween(before: ProcessSample, after: ProcessSample): ProcessUse {
  const earlier = new Map(before.threads.map((thread) => [thread.tid, thread]));
  let runMs = 0;
  let voluntarySwitches = 0;
  const threads: { name: string; tid: number; cpuMs: number }[] = [];
  for (const thread of after.threads) {
    const start = earlier.get(thread.tid);
    const cpuMs = thread.runMs - (start?.runMs ?? 0);
    runMs += cpuMs;
    voluntarySwitches += thread.voluntarySwitches - (start?.voluntarySwitches ?? 0);
    if (cpuMs > 0) threads.push({ name: thread.name, tid: thread.tid, cpuMs });
  }
  threads.sort((left, right) => right.cpuMs - left.cpuMs);
  return { cpuMs: after.userMs + after.systemMs - before.userMs - before.systemMs, runMs, voluntarySwitches, threads };
}

/** Resident memory of every process below `pid` in the tree; pages that several share count for each. */
export function descendantsRssBytes(pid: number): number {
  let sumBytes = 0;
  for (const child of descendantsOf(pid)) {
    sumBytes += parseStatusNumber(readText(`/proc/${child}/status`) ?? '', 'VmRSS') * 1024;
  }
  return sumBytes;
}

/** Every process below `pid` in the tree, parents before their children. */
export function descendantsOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const other of listNumbers('/proc')) {
    const stat = statOf(other);
    if (stat === undefined) continue;
    const { parentPid } = stat;
    children.set(parentPid, [...(children.get(parentPid) ?? []), other]);
  }
  const found = [...(children.get(pid) ?? [])];
  for (const child of found) found.push(...(children.get(child) ?? []));
  return found;
}

/**
 * CPU in ms so far of every process below `pid` in the tree, `pid` itself left out (an embedded Postgres, say). Processes that
 * ended count in what their parents waited for. One that ended and that nobody waits for is lost from /proc: what was read before
 * still stands, so that it never falls.
 */
export function descendantsCpuMs(pid: number): number {
  // Parents are read before their children: one that ends meanwhile is missed once, and never counted twice.
  let sumMs = statOf(pid)?.waitedMs ?? 0;
  for (const descendant of descendantsOf(pid)) {
    const stat = statOf(descendant);
    if (stat !== undefined) sumMs += stat.userMs + stat.systemMs + stat.waitedMs;
  }
  const highestMs = Math.max(sumMs, highestReadMs.get(pid) ?? 0);
  highestReadMs.set(pid, highestMs);
  return highestMs;
}

/** By the process whose descendants were read. */
const highestReadMs = new Map<number, number>();

function statOf(pid: number): StatFields | undefined {
  const text = readText(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseStat(text);
}

/** Numeric names in a folder; none when it cannot be read. */
function listNumbers(folder: string): number[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return []; // the process ended, or there is no /proc
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // the process or thread ended, or there is no /proc
  }
}
