/**
 * One run of W4: rows, views, then writes on a schedule, until every view is right.
 *
 *   load rows ─▶ (index) ─▶ subscribe: first results ─▶ warm up ─▶ │ measured writes, each when it is due │ ─▶ views right? ─▶ report
 *
 * The schedule does not wait for the server (an open loop): a write's way is timed from when it was due to the row's arrival in a
 * view. Views are compared with the model before and after; one that is wrong makes the run void.
 */
import { encode } from '../../engine/protocol/codec.ts';
import { RawWebSocket } from '../../gateway/testing/raw-websocket.ts';
import { untilFlushed } from '../applied-ops.ts';
import { descendantsCpuMs, sampleProcess, useBetween } from '../process-stats.ts';
import { LatencyHistogram } from '../statistics.ts';
import { rawFrame } from './raw-query-frames.ts';
import { keyOf, type Todo, TodoModel, type TodoWrite } from './todo-model.ts';
import { queryIdOf, TodoViews } from './todo-views.ts';

const LOAD_BATCH = 100;
const SETTLE_DEADLINE_MS = 30_000;
const POLL_MS = 10;
const NODE_ID = 'bench-w4';

/** Plain data: it crosses from the harness to the generator's process. */
export interface LiveQueryPlan {
  readonly target: 'lattice' | 'raw';
  readonly port: number;
  readonly serverPid: number;
  readonly mapName: string;
  /** Attribute to be indexed by hash; undefined: none. */
  readonly index?: string;
  readonly owners: number;
  readonly rows: number;
  readonly connections: number;
  readonly writesPerSecond: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** How long views may take to become right behind the last write; 30 s unless set. */
  readonly settleMs?: number;
}

export interface LiveQueryReport {
  /** Why the run is void; undefined when it is not. */
  readonly reason: string | undefined;
  readonly wrongViews: number;
  /** Until every view had its first result. */
  readonly subscribeMs: number;
  readonly updates: number;
  readonly bytesDown: number;
  readonly windowMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly serverCpuMs: number;
  /** Processes that the server started (embedded Postgres). */
  readonly childrenCpuMs: number;
  readonly generatorCpuMs: number;
}

export async function runLiveQuery(plan: LiveQueryPlan): Promise<LiveQueryReport> {
  const model = new TodoModel(plan.owners, plan.rows);
  const timed = new TimedWrites();
  const views = new TodoViews(plan.owners, { onRow: (write) => timed.arrived(write) });
  const isRaw = plan.target === 'raw';
  const rightViews = () => until(() => views.wrongViews(model) === 0, 'right views', plan.settleMs).catch(() => {});
  const writer = await RawWebSocket.open({ port: plan.port, path: isRaw ? '/writer' : '/ws?events=interest' });
  try {
    if (!isRaw) await load(writer, plan, model);
    await views.open(plan.port, plan.connections, (connection) => (isRaw ? `/viewer/${connection}` : '/ws?events=interest'));
    const askedMs = performance.now();
    if (isRaw) sendResults(writer, plan, model);
    else views.subscribe(plan.mapName);
    await until(() => views.responses === plan.owners, 'first results');
    const subscribeMs = performance.now() - askedMs;
    const wrongAtFirst = views.wrongViews(model);
    const send = (write: TodoWrite): void => writer.send(isRaw ? rawWrite(plan, write) : opFrame(plan.mapName, [write]));
    const schedule = new WriteLoop(model, plan.writesPerSecond, timed, send);
    await schedule.run(plan.warmUpMs);
    await rightViews();
    timed.latencies.clear();
    const before = snapshot(plan, views);
    await schedule.run(plan.measureMs);
    const after = snapshot(plan, views);
    await rightViews();
    const wrongViews = wrongAtFirst + views.wrongViews(model);
    return {
      reason: wrongViews > 0 ? `void: ${wrongViews} views are wrong` : views.fault && `void: ${views.fault}`,
      wrongViews,
      subscribeMs,
      ...useOf(before, after),
      p50Us: timed.latencies.quantile(0.5),
      p99Us: timed.latencies.quantile(0.99),
    };
  } finally {
    writer.terminate();
    views.close();
  }
}

function snapshot(plan: LiveQueryPlan, views: TodoViews) {
  const { user, system } = process.cpuUsage();
  return {
    atMs: performance.now(),
    updates: views.updates,
    bytes: views.bytesDown,
    server: sampleProcess(plan.serverPid),
    childrenCpuMs: descendantsCpuMs(plan.serverPid),
    ownCpuMs: (user + system) / 1000,
  };
}

type Snapshot = ReturnType<typeof snapshot>;

/** What came and was used from one to the other; what arrives later, until the views are right, is in neither. */
function useOf(before: Snapshot, after: Snapshot) {
  const [server, serverAfter] = [before.server, after.server];
  return {
    updates: after.updates - before.updates,
    bytesDown: after.bytes - before.bytes,
    windowMs: after.atMs - before.atMs,
    serverCpuMs: server === undefined || serverAfter === undefined ? Number.NaN : useBetween(server, serverAfter).runMs,
    childrenCpuMs: after.childrenCpuMs - before.childrenCpuMs,
    generatorCpuMs: after.ownCpuMs - before.ownCpuMs,
  };
}

/** Times the way of each write that a view must show, once. */
class TimedWrites {
  readonly latencies = new LatencyHistogram();
  readonly #dueMs = new Map<number, number>();

  sent(write: number, dueMs: number): void {
    this.#dueMs.set(write, dueMs);
  }

  arrived(write: number): void {
    const dueMs = this.#dueMs.get(write);
    if (dueMs === undefined) return; // loaded, or a candidate that was written long ago
    this.#dueMs.delete(write);
    this.latencies.record((performance.now() - dueMs) * 1000);
  }
}

class WriteLoop {
  readonly #model: TodoModel;
  readonly #intervalMs: number;
  readonly #timed: TimedWrites;
  readonly #send: (write: TodoWrite) => void;
  #number = 0;

  constructor(model: TodoModel, writesPerSecond: number, timed: TimedWrites, send: (write: TodoWrite) => void) {
    this.#model = model;
    this.#intervalMs = 1000 / writesPerSecond;
    this.#timed = timed;
    this.#send = send;
  }

  async run(ms: number): Promise<void> {
    const beganMs = performance.now();
    const count = Math.floor(ms / this.#intervalMs);
    for (let done = 0; done < count; ) {
      for (; done < count && beganMs + done * this.#intervalMs <= performance.now(); done++)
        this.#one(beganMs + done * this.#intervalMs);
      await sleep(1);
    }
  }

  #one(dueMs: number): void {
    const write = this.#model.write(this.#number);
    if (write.isShown) this.#timed.sent(this.#number, dueMs);
    this.#number += 1;
    this.#send(write);
  }
}

let opId = 0;

function opFrame(mapName: string, rows: readonly { readonly key: string; readonly value: Todo }[]): Uint8Array {
  const millis = Date.now();
  const ops = rows.map(({ key, value }) => {
    opId += 1;
    return {
      id: String(opId),
      mapName,
      opType: 'PUT',
      key,
      record: { value, timestamp: { millis, counter: opId, nodeId: NODE_ID } },
    };
  });
  return encode({ type: 'OP_BATCH', payload: { ops } }).slice();
}

/** Writes all rows, in frames behind one another's acknowledgement; makes the index and waits until it is used. */
async function load(writer: RawWebSocket, plan: LiveQueryPlan, model: TodoModel): Promise<void> {
  const rows = model.rows.map((value, row) => ({ key: keyOf(row), value }));
  for (let first = 0; first < rows.length; first += LOAD_BATCH) {
    const acked = new Promise<void>((resolve) => {
      writer.onMessage = () => resolve();
    });
    writer.send(opFrame(plan.mapName, rows.slice(first, first + LOAD_BATCH)));
    await acked;
  }
  writer.onMessage = () => {};
  if (plan.index !== undefined) await makeIndex(plan.port, plan.mapName, plan.index);
  await untilFlushed(plan.port);
}

async function makeIndex(port: number, map: string, attribute: string): Promise<void> {
  const url = `http://127.0.0.1:${port}/api/admin/indexes`;
  const body = JSON.stringify({ map, attribute, kind: 'hash' });
  const made = await fetch(url, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  if (made.status !== 201) throw new Error(`the index was answered with ${made.status}`);
  const givenUpMs = performance.now() + SETTLE_DEADLINE_MS;
  while (performance.now() < givenUpMs) {
    const text = await (await fetch(url)).text();
    const { indexes } = JSON.parse(text) as { indexes: { map: string; state: string }[] };
    if (indexes.some((one) => one.map === map && one.state === 'ready')) return;
    await sleep(POLL_MS);
  }
  throw new Error('the index was not built in time');
}

/** What the raw server is to pass on for a write: its event to all connections, and each change to the one with the view. */
function rawWrite(plan: LiveQueryPlan, { key, value, changes }: TodoWrite): Uint8Array {
  const timestamp = { millis: Date.now(), counter: 0, nodeId: NODE_ID };
  const event = { type: 'SERVER_EVENT', payload: { mapName: plan.mapName, eventType: 'PUT', key, record: { value, timestamp } } };
  const updates = changes.map(({ owner, ...change }) => ({
    connection: owner % plan.connections,
    message: encode({
      type: 'QUERY_UPDATE',
      payload: { queryId: queryIdOf(owner), key: change.key, value: change.value ?? null, changeType: change.changeType },
    }).slice(),
  }));
  return rawFrame([{ connection: undefined, message: encode(event).slice() }, ...updates]);
}

/** First results through a server that knows none. */
function sendResults(writer: RawWebSocket, plan: LiveQueryPlan, model: TodoModel): void {
  for (let owner = 0; owner < plan.owners; owner++) {
    const payload = { queryId: queryIdOf(owner), results: model.view(owner), hasMore: true, cursorStatus: 'none' };
    const message = encode({ type: 'QUERY_RESP', payload }).slice();
    writer.send(rawFrame([{ connection: owner % plan.connections, message }]));
  }
}

/** Rejects when it does not come to be in time. */
async function until(isSo: () => boolean, what: string, deadlineMs = SETTLE_DEADLINE_MS): Promise<void> {
  const givenUpMs = performance.now() + deadlineMs;
  while (!isSo()) {
    if (performance.now() > givenUpMs) throw new Error(`no ${what} within ${deadlineMs} ms`);
    await sleep(POLL_MS);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
