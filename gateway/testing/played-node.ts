/**
 * For tests: one gateway over real rings whose workers are played by the test. It sees what each worker is sent, and
 * writes the answers word by word: acks with log sequences, results, PERSISTED. Time passes when the test says so.
 */
import { assert } from '../../engine/assert.ts';
import { fnv1a, partitionOf } from '../../engine/partition/hash.ts';
import { Definitions } from '../../engine/operation/definitions.ts';
import type { Priority } from '../../engine/operation/priority.ts';
import { ActMarks } from '../../engine/domains/kv/act-marks.ts';
import { JournalSequence } from '../../engine/domains/persistence/journal-sequence.ts';
import { PartitionTable } from '../../engine/partition/partition-table.ts';
import {
  ENVELOPE,
  ENVELOPE_BYTES,
  FLAG_PERSISTED,
  FLAG_REFUSED,
  RECORD_ACKS,
  RECORD_OPS,
  RECORD_PERSISTED,
  RECORD_RESULT,
  writeEnvelope,
} from '../../engine/protocol/envelope.ts';
import { type ErrorCode, errorNumber } from '../../engine/protocol/errors.ts';
import type { CounterRow } from '../../workers/counters.ts';
import { createGridMemory, type GridMemory } from '../../workers/grid-memory.ts';
import { GridState } from '../../workers/grid-state.ts';
import { RingConsumer, RingProducer } from '../../workers/ring.ts';
import { RingWriter } from '../../workers/ring-writer.ts';
import type { WorkerCounter } from '../../workers/worker-counters.ts';
import { Authenticator } from '../authentication.ts';
import { DeviceIdentity } from '../device-identity.ts';
import { Gateway } from '../gateway.ts';
import type { GatewayConfig } from '../gateway-options.ts';
import { GATEWAY_COUNTERS, GatewayCounters } from '../gateway-counters.ts';
import { NodeDesk } from '../node-desk.ts';
import { TurnClock } from '../turn-clock.ts';
import { GATEWAY_CONFIG, ringAt, TestClient, workerRows } from './one-thread-node.ts';

/** What the wall clock shows when the gateway's own stands at 0. */
const WALL_MS = 1_700_000_000_000;

/** The envelope of a record of ops. */
export interface SentOps {
  readonly callId: number;
  readonly session: number;
  readonly flags: number;
  readonly ops: number;
}

export interface PlayedNodeOptions {
  readonly workers?: number;
  readonly config?: Partial<GatewayConfig>;
}

export class PlayedNode {
  readonly memory: GridMemory;
  readonly state: GridState;
  readonly gateway: Gateway;
  readonly counters: GatewayCounters;
  /** What the workers publish, to be set by the test. */
  readonly workers: readonly CounterRow<WorkerCounter>[];
  readonly #table: PartitionTable;
  readonly #inboxes: readonly RingConsumer[];
  readonly #outboxProducers: readonly RingProducer[];
  readonly #outboxes: readonly RingConsumer[];
  #nowMs = 1_000_000;

  private constructor({ workers = 1, config = {} }: PlayedNodeOptions, authenticator: Authenticator) {
    this.memory = createGridMemory({
      gateways: 1,
      workers,
      ringBytes: 1 << 18,
      messageBytesMax: 1 << 20,
      countsOperations: config.operationMetrics === true,
      gatewayCounterNames: GATEWAY_COUNTERS,
    });
    this.state = new GridState(this.memory.state);
    this.#table = new PartitionTable(this.memory.table);
    this.workers = workerRows(this.memory);
    this.counters = new GatewayCounters(this.memory.gatewayCounters, 0);
    const inboxes = this.memory.inboxes[0] ?? [];
    const outboxes = this.memory.outboxes[0] ?? [];
    this.#inboxes = inboxes.map((ring) => new RingConsumer(ring, 0));
    this.#outboxProducers = outboxes.map((ring) => new RingProducer(ring, () => {}));
    this.#outboxes = outboxes.map((ring, worker) => new RingConsumer(ring, worker));
    this.gateway = new Gateway({
      gateway: 0,
      config: { ...GATEWAY_CONFIG, store: 'write-behind', wal: true, ...config },
      state: this.state,
      table: this.#table,
      journal: new JournalSequence(this.memory.journal),
      acts: new ActMarks(this.memory.acts),
      inboxes: inboxes.map((ring) => new RingWriter(new RingProducer(ring, () => {}))),
      counters: this.counters,
      operations: { memory: this.memory.operationCounters, offset: 0 },
      workers: this.workers,
      workersStartedMs: () => 0,
      authenticator,
      devices: new DeviceIdentity(new Uint8Array(32)),
      nodeId: 'server-1',
      quarantined: [],
      definitions: new Definitions(),
      node: new NodeDesk(() => {}),
      onWildClock: () => {},
      onInterest: () => {},
      log: () => {},
      clock: new TurnClock(
        () => this.#nowMs,
        () => WALL_MS + this.#nowMs,
      ),
    });
    for (let worker = 0; worker < workers; worker++) this.state.setWorkerState(worker, 'ready');
  }

  static async create(options: PlayedNodeOptions = {}): Promise<PlayedNode> {
    return new PlayedNode(
      options,
      await Authenticator.create({ jwtSecret: undefined, jwtIssuer: undefined, jwtAudience: undefined }),
    );
  }

  client(priority: Priority = 'normal'): TestClient {
    return new TestClient(this.gateway, false, priority);
  }

  /** The nth key that the worker owns. */
  keyOf(worker: number, nth = 0): string {
    let left = nth;
    for (let index = 0; ; index++) {
      const key = `key ${index}`;
      if (this.#table.ownerOf(partitionOf(fnv1a(key))) !== worker) continue;
      if (left === 0) return key;
      left -= 1;
    }
  }

  /** What the worker was sent since the last call: its ops. */
  received(worker = 0): SentOps[] {
    const records: SentOps[] = [];
    const inbox = ringAt(this.#inboxes, worker);
    const onRecord = (ring: RingConsumer, at: number): void => {
      const word = at >> 2;
      const field = (position: number): number => ring.words[word + position] as number;
      if (field(ENVELOPE.TYPE) !== RECORD_OPS) return;
      records.push({
        callId: field(ENVELOPE.CALL),
        session: field(ENVELOPE.SESSION),
        flags: field(ENVELOPE.FLAGS),
        ops: field(ENVELOPE.COUNT),
      });
    };
    while (inbox.drain(1000, { onRecord }) > 0) inbox.release();
    return records;
  }

  /** The call id of the only record that the worker was sent since the last look. */
  callAt(worker = 0): number {
    const [record, ...rest] = this.received(worker);
    assert(record !== undefined && rest.length === 0, `worker ${worker} got another number of records than 1`);
    return record.callId;
  }

  /** The worker has handled the calls; what they wrote is in its log at `sequence`. */
  ack(worker: number, sequence: number, ...callIds: number[]): void {
    this.#write(worker, RECORD_ACKS, 0, callIds.length, callIds, 0, sequence);
  }

  /** As `ack`, and it is persisted. */
  ackPersisted(worker: number, sequence: number, ...callIds: number[]): void {
    this.#write(worker, RECORD_ACKS, 0, callIds.length, callIds, FLAG_PERSISTED, sequence);
  }

  /** The worker has handled the call and rejected the ops at these ordinals. */
  reject(worker: number, sequence: number, callId: number, code: ErrorCode, ...ordinals: number[]): void {
    const pairs = ordinals.flatMap((ordinal) => [ordinal, errorNumber(code)]);
    this.#write(worker, RECORD_RESULT, callId, ordinals.length, pairs, 0, sequence);
  }

  /** The worker takes nothing of the call. */
  refuse(worker: number, callId: number, code: ErrorCode): void {
    this.#write(worker, RECORD_RESULT, callId, 1, [0, errorNumber(code)], FLAG_REFUSED, Number.NaN);
  }

  /** All up to the sequence is persisted; with a code, the rest never will be. */
  persisted(worker: number, sequence: number, never?: ErrorCode): void {
    this.#write(worker, RECORD_PERSISTED, 0, never === undefined ? 0 : errorNumber(never) + 1, [], 0, sequence);
  }

  /** Ms pass, and the gateway looks at its clock. */
  pass(ms: number): void {
    this.#nowMs += ms;
    this.gateway.outbox.onTick(this.#nowMs);
  }

  #write(
    worker: number,
    type: number,
    callId: number,
    count: number,
    body: readonly number[],
    flags: number,
    sequence: number,
  ): void {
    const record = new Uint8Array((ENVELOPE_BYTES + body.length * 4 + 7) & ~7);
    const memory = { bytes: record, words: new Int32Array(record.buffer), floats: new Float64Array(record.buffer) };
    writeEnvelope(memory, 0, type, callId, 0, count, body.length * 4, flags, sequence);
    memory.words.set(body, ENVELOPE_BYTES / 4);
    assert(ringAt(this.#outboxProducers, worker).tryWrite(record), `the outbox of worker ${worker} is full`);
    this.#deliver();
  }

  #deliver(): void {
    for (const ring of this.#outboxes) {
      ring.drain(1000, this.gateway.outbox);
      ring.release();
    }
    this.gateway.outbox.onBatchEnd();
  }
}
