/**
 * What a partition worker does with the records of its inboxes: the branch between the rings and the services.
 *
 *   OPS ─ staging has room? ─ CrdtService.applyOps ─┬─ acks of the batch, one record per gateway
 *   REQUEST ─ SyncService ─ REPLY                   └─ events of the batch, one record per gateway
 *   INTEREST ─ who listens to a map
 *
 * Answers are gathered while a batch is drained and written at its end, behind the point where a log will stand. When
 * an outbox has no room the batch does not end: nothing more is drained until the gateway has read.
 */
import { assert } from '../engine/assert.ts';
import type { ChangeEvents, EventBatch } from '../engine/domains/crdt/change-events.ts';
import { type CrdtService, Rejections } from '../engine/domains/crdt/crdt-service.ts';
import type { MapCatalogue } from '../engine/domains/crdt/map-catalogue.ts';
import type { SyncService } from '../engine/domains/sync/sync-service.ts';
import { parsePush, parseSyncQuestion } from '../engine/domains/sync/sync-requests.ts';
import {
  ENVELOPE,
  ENVELOPE_BYTES,
  ENVELOPE_WORDS,
  EVENT_ROW_WORDS,
  FLAG_MORE,
  FLAG_REFUSED,
  RECORD_ACKS,
  RECORD_EVENTS,
  RECORD_INTEREST,
  RECORD_OPS,
  RECORD_REPLY,
  RECORD_REQUEST,
  RECORD_RESULT,
  REQUEST_LEAF,
  REQUEST_LEAVES,
  REQUEST_OR_DIFF,
  REQUEST_OR_PUSH,
  writeEnvelope,
} from '../engine/protocol/envelope.ts';
import { errorNumber, GridError } from '../engine/protocol/errors.ts';
import { OP_BYTES } from '../engine/protocol/op-index.ts';
import type { MapDataStore } from '../engine/storage/map-data-store.ts';
import type { CounterRow } from './counters.ts';
import { FULL, type RingConsumer } from './ring.ts';
import type { RingWriter } from './ring-writer.ts';
import type { Runnable } from './runnable.ts';
import type { WorkerCounter } from './worker-counters.ts';

const OVERLOADED = errorNumber('OVERLOADED');
const INTERNAL = errorNumber('INTERNAL');
const NO_BODY = new Uint8Array(0);
/** While an outbox is full, how often it is looked at. */
const OUTBOX_RETRY_MS = 1;

/** Calls handled in the batch at hand, per gateway. */
class AckBatch {
  count = 0;
  callIds = new Int32Array(256);

  add(callId: number): void {
    if (this.count === this.callIds.length) {
      const grown = new Int32Array(this.count * 2);
      grown.set(this.callIds);
      this.callIds = grown;
    }
    this.callIds[this.count++] = callId;
  }
}

/** A call that is not answered by a plain ack: pairs (ordinal, error number) of its rejected ops. */
interface CallResult {
  readonly gateway: number;
  readonly callId: number;
  readonly pairs: readonly number[];
}

export interface PartitionRunnerOptions {
  readonly outboxes: readonly RingWriter[];
  readonly maps: MapCatalogue;
  readonly changes: ChangeEvents;
  readonly crdt: CrdtService;
  readonly sync: SyncService;
  readonly dataStore: MapDataStore;
  readonly counters: CounterRow<WorkerCounter>;
  /** Gateway → position of the record in its inbox at which workers have died again and again. */
  readonly suspects: ReadonlyMap<number, number>;
  readonly nowMs: () => number;
  readonly tickIntervalMs: number;
  /** Replies wait until the batch is in the data store. */
  readonly writeThrough: (() => Promise<void>) | undefined;
  readonly onTick: (nowMs: number) => void;
  readonly onShutdown: () => Promise<void>;
}

export class PartitionRunner implements Runnable {
  readonly tickIntervalMs: number;
  readonly #options: PartitionRunnerOptions;
  readonly #acks: readonly AckBatch[];
  readonly #rejections = new Rejections();
  /** Calls of which more parts follow, by gateway and call id. */
  readonly #unfinished = new Map<string, CallResult>();
  /** Calls of the batch at hand with rejected ops. */
  readonly #results: CallResult[] = [];
  /** The clock as of the first record of the batch at hand; 0 between batches. */
  #batchNowMs = 0;
  readonly #opsCell: number;
  readonly #batchesCell: number;
  readonly #rejectedCell: number;

  constructor(options: PartitionRunnerOptions) {
    this.#options = options;
    this.tickIntervalMs = options.tickIntervalMs;
    this.#acks = options.outboxes.map(() => new AckBatch());
    this.#opsCell = options.counters.indexOf('ops');
    this.#batchesCell = options.counters.indexOf('batches');
    this.#rejectedCell = options.counters.indexOf('rejected');
  }

  /** `ring.index` is the gateway's number. */
  onRecord(ring: RingConsumer, at: number): void {
    const type = ring.words[(at >> 2) + ENVELOPE.TYPE] as number;
    if (this.#options.suspects.size > 0 && this.#options.suspects.get(ring.index) === ring.recordAt)
      return this.#setAside(ring, at, type);
    switch (type) {
      case RECORD_OPS:
        this.#ops(ring, at);
        return;
      case RECORD_REQUEST:
        this.#request(ring, at);
        return;
      case RECORD_INTEREST:
        this.#interest(ring, at);
        return;
      default:
        assert(false, `inbox record of type ${type}`);
    }
  }

  onBatchEnd(): Promise<void> | void {
    this.#batchNowMs = 0;
    const { writeThrough, outboxes } = this.#options;
    if (writeThrough !== undefined) return this.#answerWhenStored(writeThrough);
    this.#writeAnswers();
    for (let gateway = 0; gateway < outboxes.length; gateway++) {
      if (outboxes[gateway]?.blocked === true) return this.#untilRead();
    }
  }

  onTick(): void {
    this.#options.onTick(this.#options.nowMs());
    for (const outbox of this.#options.outboxes) if (outbox.blocked) outbox.flush();
  }

  async shutdown(): Promise<void> {
    await this.#options.onShutdown();
  }

  #ops(ring: RingConsumer, at: number): void {
    const word = at >> 2;
    const words = ring.words;
    const callId = words[word + ENVELOPE.CALL] as number;
    const count = words[word + ENVELOPE.COUNT] as number;
    const { dataStore, crdt, counters } = this.#options;
    if (!dataStore.admits(words[word + ENVELOPE.BODY_BYTES] as number)) {
      this.#refuse(ring.index, callId, OVERLOADED);
      return;
    }
    const rowsWord = word + ENVELOPE_WORDS;
    const frameAt = at + ENVELOPE_BYTES + count * OP_BYTES;
    crdt.applyOps(
      ring,
      rowsWord,
      count,
      frameAt,
      ring.index,
      words[word + ENVELOPE.SESSION] as number,
      this.#now(),
      this.#rejections,
    );
    counters.add(this.#opsCell, count);
    counters.add(this.#batchesCell, 1);
    const more = ((words[word + ENVELOPE.FLAGS] as number) & FLAG_MORE) !== 0;
    if (more || this.#rejections.pairs.length > 0 || this.#unfinished.size > 0) this.#settleUnusual(ring.index, callId, more);
    else this.#acks[ring.index]?.add(callId);
  }

  #now(): number {
    if (this.#batchNowMs === 0) this.#batchNowMs = this.#options.nowMs();
    return this.#batchNowMs;
  }

  /** Answers a record that must not be run: its ops are rejected and kept as dead letters, a question fails. */
  #setAside(ring: RingConsumer, at: number, type: number): void {
    const word = at >> 2;
    const callId = ring.words[word + ENVELOPE.CALL] as number;
    const count = ring.words[word + ENVELOPE.COUNT] as number;
    if (type === RECORD_REQUEST) return this.#write(ring.index, RECORD_REPLY, callId, INTERNAL + 1, NO_BODY, 0);
    if (type !== RECORD_OPS) return;
    const frameAt = at + ENVELOPE_BYTES + count * OP_BYTES;
    this.#options.crdt.setAside(ring, word + ENVELOPE_WORDS, count, frameAt, ring.index, this.#rejections);
    this.#settleUnusual(ring.index, callId, ((ring.words[word + ENVELOPE.FLAGS] as number) & FLAG_MORE) !== 0);
  }

  /** A part of a larger call, or one with rejected ops. */
  #settleUnusual(gateway: number, callId: number, more: boolean): void {
    const key = `${gateway}:${callId}`;
    const pairs = [...(this.#unfinished.get(key)?.pairs ?? []), ...this.#rejections.pairs];
    this.#options.counters.add(this.#rejectedCell, this.#rejections.pairs.length / 2);
    this.#rejections.clear();
    if (more) {
      this.#unfinished.set(key, { gateway, callId, pairs });
      return;
    }
    this.#unfinished.delete(key);
    if (pairs.length === 0) this.#acks[gateway]?.add(callId);
    else this.#results.push({ gateway, callId, pairs });
  }

  /** Not taken in, because the data store is too far behind; or, with write-through, not stored. */
  #refuse(gateway: number, callId: number, error: number): void {
    this.#unfinished.delete(`${gateway}:${callId}`);
    this.#options.counters.add(this.#options.counters.indexOf('refused'), 1);
    this.#write(gateway, RECORD_RESULT, callId, 1, new Uint8Array(Int32Array.of(0, error).buffer), FLAG_REFUSED);
  }

  #request(ring: RingConsumer, at: number): void {
    const word = at >> 2;
    const callId = ring.words[word + ENVELOPE.CALL] as number;
    const session = ring.words[word + ENVELOPE.SESSION] as number;
    const kind = ring.words[word + ENVELOPE.COUNT] as number;
    const bodyAt = at + ENVELOPE_BYTES;
    const body = ring.bytes.slice(bodyAt, bodyAt + (ring.words[word + ENVELOPE.BODY_BYTES] as number));
    this.#options.counters.add(this.#options.counters.indexOf('requests'), 1);
    const parts = this.#answerTo(kind, body, ring.index, session);
    parts.forEach((part, index) => {
      const flags = index < parts.length - 1 ? FLAG_MORE : 0;
      this.#write(ring.index, RECORD_REPLY, callId, 0, part, flags);
    });
  }

  #answerTo(kind: number, body: Uint8Array, gateway: number, session: number): Uint8Array[] {
    const { sync, nowMs } = this.#options;
    if (kind === REQUEST_OR_PUSH) return sync.orPush(parsePush(body, gateway, session), nowMs());
    const question = parseSyncQuestion(body);
    if (kind === REQUEST_LEAVES) return [sync.leaves(question.map, question.kind, question.prefix)];
    if (kind === REQUEST_LEAF) return sync.leaf(question.map, question.kind, question.prefix);
    assert(kind === REQUEST_OR_DIFF, `request of kind ${kind}`);
    return sync.orDiff(question.map, question.keys);
  }

  #interest(ring: RingConsumer, at: number): void {
    const word = at >> 2;
    const mapId = ring.words[word + ENVELOPE.SESSION] as number;
    const nameAt = at + ENVELOPE_BYTES;
    const nameEnd = nameAt + (ring.words[word + ENVELOPE.BODY_BYTES] as number);
    const map =
      this.#options.maps.byId(ring.index, mapId) ?? this.#options.maps.open(ring.index, mapId, ring.bytes, nameAt, nameEnd);
    if (map !== undefined) map.wantedBy[ring.index] = ring.words[word + ENVELOPE.FLAGS] === 1;
  }

  /** Write-through: what the data store refuses is not acknowledged; the client sends it again. */
  async #answerWhenStored(writeThrough: () => Promise<void>): Promise<void> {
    try {
      await writeThrough();
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.#refuseBatch(errorNumber(error.code));
    }
    this.#writeAnswers();
    await this.#untilRead();
  }

  /** Nothing of the batch is acknowledged, nor what earlier parts of its calls did. */
  #refuseBatch(error: number): void {
    for (const { gateway, callId } of [...this.#results, ...this.#unfinished.values()]) this.#refuse(gateway, callId, error);
    this.#results.length = 0;
    this.#acks.forEach((acks, gateway) => {
      for (let index = 0; index < acks.count; index++) this.#refuse(gateway, acks.callIds[index] as number, error);
      acks.count = 0;
    });
  }

  #writeAnswers(): void {
    if (this.#results.length > 0) this.#writeResults();
    const { outboxes, changes } = this.#options;
    for (let gateway = 0; gateway < outboxes.length; gateway++) {
      const outbox = outboxes[gateway] as RingWriter;
      const events = changes.batches[gateway];
      if (events !== undefined && events.count > 0) this.#writeEvents(gateway, events);
      const acks = this.#acks[gateway];
      if (acks !== undefined && acks.count > 0) this.#writeAcks(outbox, gateway, acks);
    }
  }

  #writeResults(): void {
    for (const { gateway, callId, pairs } of this.#results) {
      this.#write(gateway, RECORD_RESULT, callId, pairs.length / 2, new Uint8Array(Int32Array.from(pairs).buffer), 0);
    }
    this.#results.length = 0;
  }

  /** The hot path's answer: call ids, copied into claimed ring memory. */
  #writeAcks(outbox: RingWriter, gateway: number, acks: AckBatch): void {
    const at = outbox.claim(ENVELOPE_BYTES + acks.count * 4);
    if (at === FULL) {
      this.#write(gateway, RECORD_ACKS, 0, acks.count, new Uint8Array(acks.callIds.buffer, 0, acks.count * 4), 0);
    } else {
      writeEnvelope(outbox.ring, at, RECORD_ACKS, 0, 0, acks.count, 0, 0, Number.NaN);
      const words = outbox.ring.words;
      const first = (at >> 2) + ENVELOPE_WORDS;
      for (let index = 0; index < acks.count; index++) words[first + index] = acks.callIds[index] as number;
      outbox.commit();
    }
    acks.count = 0;
  }

  #writeEvents(gateway: number, events: EventBatch): void {
    const rowBytes = events.count * EVENT_ROW_WORDS * 4;
    const body = new Uint8Array(rowBytes + events.bodies.length);
    body.set(new Uint8Array(events.rows.buffer, 0, rowBytes), 0);
    body.set(events.bodies.bytes.subarray(0, events.bodies.length), rowBytes);
    this.#write(gateway, RECORD_EVENTS, 0, events.count, body, 0);
    this.#options.counters.add(this.#options.counters.indexOf('eventsEncoded'), events.count);
    events.clear();
  }

  #write(gateway: number, type: number, callId: number, count: number, body: Uint8Array, flags: number): void {
    const record = new Uint8Array((ENVELOPE_BYTES + body.length + 7) & ~7);
    const memory = { bytes: record, words: new Int32Array(record.buffer), floats: new Float64Array(record.buffer) };
    writeEnvelope(memory, 0, type, callId, 0, count, body.length, flags, Number.NaN);
    record.set(body, ENVELOPE_BYTES);
    this.#options.outboxes[gateway]?.write(record);
  }

  /** Resolves when every outbox has taken what was written for it. */
  async #untilRead(): Promise<void> {
    for (const outbox of this.#options.outboxes) {
      while (!outbox.flush()) await new Promise((resolve) => setTimeout(resolve, OUTBOX_RETRY_MS));
    }
  }
}
