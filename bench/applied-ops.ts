/**
 * Did the server do what it was sent? Compares ops sent with the server's own count of merges that won.
 *
 * A benchmark whose ops lose their merge measures a cheaper path, and one whose ops are dropped measures nothing.
 * Every op that the generator sends wins (write-frames.ts), so the count must rise by exactly the ops sent;
 * a run where it does not is void.
 */

/** Name and labels of the product's counter of ops that were newer and were stored. */
export const APPLIED_METRIC = { name: 'lattice_merges_total', labels: { result: 'applied' } } as const;

/** The product's counter of change events, counted once a receiver. */
export const DELIVERED_METRIC = 'lattice_events_delivered_total';

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

/** Counts since the server started. */
export interface Told {
  /** Ops that changed the state, of which others are told. */
  readonly won: number;
  /** Change events that were sent, counted once a receiver. */
  readonly delivered: number;
}

export async function readTold(port: number): Promise<Told> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  const text = await response.text();
  const won = metricSum(text, APPLIED_METRIC.name, APPLIED_METRIC.labels);
  return { won, delivered: metricSum(text, DELIVERED_METRIC, {}) };
}

/**
 * Why the run says nothing of what telling costs, or undefined: everybody but its writer must have been told of each op that won.
 *
 * @param connections that are told, the writers among them
 * @param framesRead frames that the connections read and that were no acknowledgements
 */
export function reasonUntold({ won, delivered }: Told, connections: number, framesRead: number): string | undefined {
  const due = won * (connections - 1);
  if (!(due > 0)) return `void: ${won} ops won on ${connections} connections, so nobody was to be told`;
  if (delivered !== due) return `void: ${due} events were due, ${delivered} delivered`;
  return framesRead > 0 ? undefined : `void: ${delivered} events delivered, and no connection has read one`;
}

/** As `reasonUntold`, of what happened since `before`; counters get the time to settle. */
export async function reasonNotTold(
  port: number,
  before: Told,
  connections: number,
  framesRead: number,
): Promise<string | undefined> {
  const givenUpMs = performance.now() + SETTLE_DEADLINE_MS;
  for (;;) {
    const { won, delivered } = await readTold(port);
    const during = { won: won - before.won, delivered: delivered - before.delivered };
    const reason = reasonUntold(during, connections, framesRead);
    if (reason === undefined || performance.now() > givenUpMs) return reason;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** For a million rows on a busy machine: what takes longer is stuck. */
const FLUSHED_DEADLINE_MS = 180_000;

/**
 * Waits until the server has flushed what earlier runs left: a run must not pay for the one before it. Rejects when records still
 * wait after the deadline, or when the server does not say.
 */
export async function untilFlushed(port: number, deadlineMs = FLUSHED_DEADLINE_MS): Promise<void> {
  const givenUpMs = performance.now() + deadlineMs;
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`);
    const staged = metricSum(await response.text(), 'lattice_staged_records', {});
    if (staged === 0) return;
    if (performance.now() > givenUpMs) throw new Error(`${staged} records were not flushed within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
