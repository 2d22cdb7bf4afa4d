/**
 * Did the server do what it was sent? Compares ops sent with the server's own count of merges that won.
 *
 * A benchmark whose ops lose their merge measures a cheaper path, and one whose ops are dropped measures nothing.
 * Every op that the generator sends wins (write-frames.ts), so the count must rise by exactly the ops sent;
 * a run where it does not is void.
 */

/** Name and labels of the product's counter of ops that were newer and were stored. */
export const APPLIED_METRIC = { name: 'lattice_merges_total', labels: { result: 'applied' } } as const;

const SETTLE_DEADLINE_MS = 5_000;
const POLL_MS = 100;

/** Sum of the samples of a metric that carry the labels (more are allowed); NaN when there is none. */
export function metricSum(text: string, name: string, labels: Readonly<Record<string, string>>): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  let sum = Number.NaN;
  for (const line of text.split('\n')) {
    if (!line.startsWith(name)) continue;
    const next = line[name.length];
    if (next !== '{' && next !== ' ') continue;
    const labelsEnd = line.lastIndexOf('}');
    const pairs = next === '{' ? line.slice(name.length + 1, labelsEnd).split(',') : [];
    if (!wanted.every((pair) => pairs.includes(pair))) continue;
    const value = Number(
      line
        .slice(Math.max(labelsEnd + 1, name.length))
        .trim()
        .split(' ')[0],
    );
    sum = Number.isNaN(sum) ? value : sum + value;
  }
  return sum;
}

/** Ops applied so far, by the server's metrics. Throws when it does not tell: nothing could be verified then. */
export async function readApplied(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  const applied = metricSum(await response.text(), APPLIED_METRIC.name, APPLIED_METRIC.labels);
  if (!Number.isNaN(applied)) return applied;
  throw new Error(`GET /metrics (${response.status}) has no ${APPLIED_METRIC.name}{result="applied"}`);
}

/** Ops merged so far, whether they were newer or not. */
export async function readMerged(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  const merged = metricSum(await response.text(), APPLIED_METRIC.name, {});
  if (!Number.isNaN(merged)) return merged;
  throw new Error(`GET /metrics (${response.status}) has no ${APPLIED_METRIC.name}`);
}

/**
 * Why the run is void, or undefined when the server applied exactly `opsSent` ops since `appliedBefore`. `read` says what is counted.
 */
export async function reasonVoid(
  port: number,
  appliedBefore: number,
  opsSent: number,
  read: (port: number) => Promise<number> = readApplied,
): Promise<string | undefined> {
  const givenUpMs = performance.now() + SETTLE_DEADLINE_MS;
  for (;;) {
    const applied = (await read(port)) - appliedBefore;
    if (applied === opsSent) return undefined;
    if (performance.now() > givenUpMs) return `void: ${opsSent} ops sent, ${applied} applied`;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS)); // counters are read with a little delay
  }
}

const QUIET_DEADLINE_MS = 60_000;

/** Waits until the server has flushed what earlier runs left: a run must not pay for the one before it. */
export async function untilFlushed(port: number): Promise<void> {
  const givenUpMs = performance.now() + QUIET_DEADLINE_MS;
  while (performance.now() < givenUpMs) {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`);
    if (metricSum(await response.text(), 'lattice_staged_records', {}) === 0) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
