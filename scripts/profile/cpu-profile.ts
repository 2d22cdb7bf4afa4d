/**
 * What each thread of a server did with its time: reads the .cpuprofile files that Node writes for it with `--cpu-prof`.
 *
 *   nodes         the call tree, each with its function            samples      the node that ran, one after the other
 *   timeDeltas    µs from sample to sample, on the monotonic clock that `process.hrtime` reads in every process
 *
 * Samples outside a window are left out, so that a start is not taken for the work. A thread is told by the modules it runs.
 * Source: Chrome DevTools Protocol, Profiler.Profile.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** From one moment to another, in µs of the monotonic clock. */
export interface TimeWindow {
  readonly fromUs: number;
  readonly toUs: number;
}

/** One place in the call tree. */
export interface CallNode {
  readonly id: number;
  /** 0 for the root. */
  readonly parent: number;
  readonly name: string;
  /** Time in the function itself, called from there. */
  readonly selfUs: number;
}

export interface ThreadProfile {
  /** `gateway`, `worker` or `main`, with a number where there are several. */
  readonly thread: string;
  /** Parents before their children. */
  readonly nodes: readonly CallNode[];
}

/** Time of one function over the whole thread. */
export interface FunctionTime {
  readonly name: string;
  readonly selfUs: number;
  /** Of the time in which the thread did anything. */
  readonly share: number;
}

interface RawNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

interface RawProfile {
  readonly nodes: readonly RawNode[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const MODULES = [
  ['gateway', 'gateway-thread'],
  ['worker', 'partition-worker'],
  ['main', 'gateway/main'],
] as const;
const IDLE = new Set(['(idle)', '(root)']);
/** As V8 calls a thread that runs, but no function of JavaScript: system calls, what was compiled from C++. */
const NATIVE = '(program)';

/** Now, on the clock of the profiles. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** The profiles of the threads of a server, from a folder that holds those of one process. Threads of other modules are left out. */
export function readProfiles(folder: string, window: TimeWindow): ThreadProfile[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  const found = files.sort().flatMap((name) => {
    const raw = JSON.parse(readFileSync(join(folder, name), 'utf8')) as RawProfile; // written by Node in this form
    const role = roleOf(raw);
    return role === undefined ? [] : [{ role, nodes: callTree(raw, window) }];
  });
  return found.map(({ role, nodes }, place) => {
    const same = found.filter((other) => other.role === role).length;
    const number = found.slice(0, place).filter((other) => other.role === role).length;
    return { thread: same === 1 ? role : `${role}-${number}`, nodes };
  });
}

function roleOf({ nodes }: RawProfile): string | undefined {
  for (const [role, module] of MODULES) if (nodes.some(({ callFrame }) => callFrame.url.includes(module))) return role;
  return undefined;
}

/** The call tree with the time that each place had within the window. */
export function callTree({ nodes, startTime, samples, timeDeltas }: RawProfile, { fromUs, toUs }: TimeWindow): CallNode[] {
  const selfUs = new Map<number, number>();
  let atUs = startTime;
  samples.forEach((node, index) => {
    atUs += timeDeltas[index] ?? 0;
    const untilUs = atUs + (timeDeltas[index + 1] ?? 0);
    if (atUs >= fromUs && untilUs <= toUs) selfUs.set(node, (selfUs.get(node) ?? 0) + untilUs - atUs);
  });
  const parents = new Map<number, number>();
  for (const { id, children = [] } of nodes) for (const child of children) parents.set(child, id);
  return nodes.map((node) => ({
    id: node.id,
    parent: parents.get(node.id) ?? 0,
    name: nameOf(node),
    selfUs: selfUs.get(node.id) ?? 0,
  }));
}

function nameOf({ callFrame }: RawNode): string {
  const { functionName, url, lineNumber } = callFrame;
  if (functionName === NATIVE) return 'below JavaScript';
  const name = functionName === '' ? '(anonymous)' : functionName;
  return url === '' ? name : `${name} ${basename(url)}:${lineNumber + 1}`;
}

/** The functions that had the most time, and how long the thread did anything, in µs. */
export function topFunctions({ nodes }: ThreadProfile, count: number): { busyUs: number; functions: FunctionTime[] } {
  const times = new Map<string, number>();
  for (const { name, selfUs } of nodes) if (!IDLE.has(name)) times.set(name, (times.get(name) ?? 0) + selfUs);
  const busyUs = [...times.values()].reduce((sum, us) => sum + us, 0);
  const functions = [...times]
    .map(([name, selfUs]) => ({ name, selfUs, share: busyUs === 0 ? 0 : selfUs / busyUs }))
    .filter(({ selfUs }) => selfUs > 0)
    .sort((left, right) => right.selfUs - left.selfUs);
  return { busyUs, functions: functions.slice(0, count) };
}

/** The tree without what the thread did not do: idle time is no call. */
export function busyNodes({ nodes }: ThreadProfile): CallNode[] {
  return nodes.filter(({ name }) => name === '(root)' || !IDLE.has(name));
}
