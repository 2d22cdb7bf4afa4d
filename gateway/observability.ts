/**
 * The metrics of a node as Prometheus text, for GET /metrics.
 *
 *   render ─▶ one reading of the rings and the verdict ─▶ registry ─▶ collect() of each metric ─▶ text
 *
 * Nothing is observed while work is done: a labelled increment of prom-client costs microseconds. The threads count in
 * shared memory, and each metric copies its numbers from there when it is asked for. The tables of metrics have a line
 * for every counter, by their type, so a new counter cannot be forgotten here.
 *
 * prom-client's default metrics are left out: they wake each thread a hundred times a second and read /proc. The three
 * of the process that everybody plots are written under their usual names.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { OperationType } from '../engine/operation/operation.ts';
import { BUCKET_ENDS_MS, CALL_STATUSES, OPERATION_TYPES, type OperationNumbers } from '../engine/operation/operation-metrics.ts';
import { type CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import type { GridMemory } from '../workers/grid-memory.ts';
import { BREAKERS, LIFECYCLES, WORKER_STATES } from '../workers/grid-state.ts';
import { WORKER_COUNTERS } from '../workers/worker-counters.ts';
import { GATEWAY_COUNTERS } from './gateway-counters.ts';
import { DEGRADED_CODES } from './degradations.ts';
import { type HealthVerdict, judge } from './health.ts';
import {
  GATEWAY_METRICS,
  type MetricDefinition,
  OPERATION_METRICS,
  PROCESS_METRICS,
  RING_METRICS,
  THREAD_METRICS,
  WORKER_METRICS,
} from './metric-definitions.ts';
import { readFacts } from './node-facts.ts';
import { NodeView, type RingReading } from './node-view.ts';

export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

export interface ObservabilityOptions {
  readonly memory: GridMemory;
  readonly version: string;
  /** Wall clock, in ms. */
  readonly nowMs: () => number;
}

interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

export class Observability {
  readonly #view: NodeView;
  readonly #options: ObservabilityOptions;
  readonly #registry = new Registry();
  #rings: readonly RingReading[];
  #verdict: HealthVerdict = { ready: false, writable: false, degraded: [] };

  constructor(options: ObservabilityOptions) {
    this.#options = options;
    this.#view = new NodeView(options.memory);
    this.#rings = this.#view.readRings();
    this.#addRows(GATEWAY_METRICS, GATEWAY_COUNTERS, byNumber('gateway', this.#view.gateways));
    this.#addRows(WORKER_METRICS, WORKER_COUNTERS, byNumber('worker', this.#view.workers));
    const threads = this.#view.threads.map(({ name, row }) => ({ labels: { thread: name }, row }));
    this.#addRows(THREAD_METRICS, THREAD_COUNTERS, threads);
    this.#addRings();
    if (this.#view.operations.length > 0) this.#addOperations();
    this.#addNode();
    this.#addProcess();
  }

  /** All metrics of the node. Cheap enough for a scrape each second, whatever the number of threads. */
  async render(): Promise<string> {
    this.#rings = this.#view.readRings();
    this.#verdict = judge(readFacts(this.#view, this.#options.nowMs()));
    return await this.#registry.metrics();
  }

  /** One metric for each name in the table; counters that share a name differ in a label. */
  #addRows<Name extends string>(
    table: Readonly<Record<Name, MetricDefinition>>,
    names: readonly Name[],
    rows: readonly { readonly labels: Sample['labels']; readonly row: CounterRow<Name> }[],
  ): void {
    const sharers = new Map<string, Name[]>();
    for (const name of names) sharers.set(table[name].name, [...(sharers.get(table[name].name) ?? []), name]);
    for (const counters of sharers.values()) {
      const [first] = counters;
      if (first === undefined) continue;
      const samples = (): Sample[] =>
        rows.flatMap(({ labels, row }) =>
          counters.map((counter) => ({ labels: { ...labels, ...table[counter].labels }, value: row.get(counter) })),
        );
      this.#add(table[first], samples);
    }
  }

  #addRings(): void {
    for (const { read, ...definition } of RING_METRICS) {
      this.#add(definition, () =>
        this.#rings.map(({ gateway, worker, direction, stats }) => ({
          labels: { gateway, worker, direction },
          value: read(stats),
        })),
      );
    }
  }

  /** Operations by type, as far as there were any. */
  #addOperations(): void {
    const read = (): [OperationType, OperationNumbers][] =>
      OPERATION_TYPES.flatMap((type) =>
        this.#view.operations
          .map((measured): [OperationType, OperationNumbers] => [type, measured.read(type)])
          .filter(([, { handled }]) => CALL_STATUSES.some((status) => handled[status] > 0)),
      );
    this.#add(OPERATION_METRICS.handled, () =>
      summed(
        read().flatMap(([operation, { handled }]) =>
          CALL_STATUSES.map((status) => ({ labels: { operation, status }, value: handled[status] })),
        ),
      ),
    );
    this.#add(OPERATION_METRICS.totalMs, () =>
      summed(read().map(([operation, { totalMs }]) => ({ labels: { operation }, value: totalMs }))),
    );
    this.#add(OPERATION_METRICS.within, () =>
      summed(
        read().flatMap(([operation, { within }]) =>
          within.map((value, bucket) => ({ labels: { operation, le: BUCKET_ENDS_MS[bucket] ?? '+Inf' }, value })),
        ),
      ),
    );
  }

  #addNode(): void {
    const { state, gateways, workers } = this.#view;
    const { version, nowMs } = this.#options;
    const gauge = (name: string, help: string, samples: () => Sample[]): void =>
      this.#add({ name, type: 'gauge', help }, samples);
    const alone = (name: string, help: string, value: () => number): void =>
      gauge(name, help, () => [{ labels: {}, value: value() }]);

    gauge('lattice_info', 'The program; always 1.', () => [{ labels: { version, node_version: process.version }, value: 1 }]);
    alone('topgun_active_connections', 'Open connections of the node.', () => this.#view.gatewayTotal('connections'));
    alone('lattice_uptime_seconds', 'Time since the node started.', () => this.#view.uptimeMs(nowMs()) / 1000);
    alone('lattice_ready', '1 when clients may be sent here.', () => Number(this.#verdict.ready));
    alone('lattice_writable', '1 when all workers take writes.', () => Number(this.#verdict.writable));
    alone('lattice_database_away', '1 while the node finds no database.', () => Number(state.isDatabaseAway));
    alone(
      'lattice_worker_memory_max_bytes',
      'What one worker may hold in memory; 0 for no bound.',
      () => state.workerMemoryBytesMax,
    );
    alone('lattice_flush_lag_max_ms', 'Flush lag above which a worker counts as lagging, in ms.', () => state.flushLagMsMax);
    alone(
      'lattice_prune_watermark_ms',
      'Tombstones older than this wall-clock time are forgotten; 0 for none.',
      () => state.pruneWatermarkMs,
    );
    gauge('lattice_lifecycle', '1 for the state that the node is in.', () =>
      LIFECYCLES.map((one) => ({ labels: { state: one }, value: Number(one === state.lifecycle) })),
    );
    gauge('lattice_degraded', 'How many threads or rings are degraded for this reason.', () =>
      DEGRADED_CODES.map((reason) => ({
        labels: { reason },
        value: this.#verdict.degraded.filter(({ code }) => code === reason).length,
      })),
    );
    gauge('lattice_thread_healthy', '1 while the thread reports and nothing of it is degraded.', () =>
      this.#view.threads.map(({ name, row }) => ({
        labels: { thread: name },
        value: Number(row.get('lastHealthCheckAtMs') > 0 && !this.#verdict.degraded.some(({ subject }) => subject === name)),
      })),
    );
    gauge('lattice_worker_state', '1 for the state that the worker is in.', () =>
      workers.flatMap((_, worker) =>
        WORKER_STATES.map((one) => ({ labels: { worker, state: one }, value: Number(one === state.workerState(worker)) })),
      ),
    );
    gauge(
      'lattice_worker_breaker_state',
      'The circuit breaker of the worker at the gateway: 0 closed, 1 half-open, 2 open: refused at once.',
      () =>
        gateways.flatMap((_, gateway) =>
          workers.map((_row, worker) => ({
            labels: { gateway, worker },
            value: BREAKERS.indexOf(state.workerBreaker(gateway, worker)),
          })),
        ),
    );
    gauge('lattice_broadcast_sessions', 'Sessions that get the events of every map.', () =>
      gateways.map((_, gateway) => ({ labels: { gateway }, value: state.broadcastSessions(gateway) })),
    );
  }

  #addProcess(): void {
    for (const { read, ...definition } of PROCESS_METRICS) this.#add(definition, () => [{ labels: {}, value: read() }]);
  }

  #add(definition: MetricDefinition, samples: () => Sample[]): void {
    const { name, help, type } = definition;
    const labelNames = Object.keys(samples()[0]?.labels ?? definition.labels ?? {});
    const registers = [this.#registry];
    if (type === 'gauge') {
      new Gauge({
        name,
        help,
        labelNames,
        registers,
        collect(): void {
          for (const { labels, value } of samples()) this.set(labels, value);
        },
      });
      return;
    }
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect(): void {
        this.reset(); // a Counter can only be raised: from 0 to what the thread has counted
        for (const { labels, value } of samples()) this.inc(labels, value);
      },
    });
  }
}

function byNumber<Row>(label: 'gateway' | 'worker', rows: readonly Row[]): { labels: Sample['labels']; row: Row }[] {
  return rows.map((row, index) => ({ labels: { [label]: index }, row }));
}

/** Samples with the same labels added up: those of several gateways. */
function summed(samples: readonly Sample[]): Sample[] {
  const sums = new Map<string, Sample>();
  for (const { labels, value } of samples) {
    const key = JSON.stringify(labels);
    sums.set(key, { labels, value: (sums.get(key)?.value ?? 0) + value });
  }
  return [...sums.values()];
}
