/**
 * The answers of a worker, gathered while a batch is drained and written at its end, behind the log.
 *
 *   ack(call)              plain: one record of call ids per gateway                              ACKS
 *   result(call, pairs)    some ops of the call were rejected; what guards said of them follows   RESULT
 *   reply(call, parts)     the answer to a question                                               REPLY
 *   events                 what changed, one record per gateway                                   EVENTS
 *   push(session, body)    what a service tells unasked                                           PUSH
 *   refuse(call)           nothing of the call was taken in: written at once                      RESULT, FLAG_REFUSED
 *   persisted(sequence)    for gateways whose acks wait until the log is synced that far          PERSISTED
 */
import { encode } from '../engine/protocol/codec.ts';
import type { ChangeEvents, EventBatch } from '../engine/domains/crdt/change-events.ts';
import {
  ENVELOPE_BYTES,
  ENVELOPE_WORDS,
  EVENT_ROW_WORDS,
  FLAG_MORE,
  FLAG_PERSISTED,
  FLAG_REFUSED,
  RECORD_ACKS,
  RECORD_EVENTS,
  RECORD_PERSISTED,
  RECORD_PUSH,
  RECORD_REPLY,
  RECORD_RESULT,
  writeEnvelope,
} from '../engine/protocol/envelope.ts';
import { errorNumber } from '../engine/protocol/errors.ts';
import type { PushSink } from '../engine/operation/request-handler.ts';
import type { CounterRow } from './counters.ts';
import { FULL } from './ring.ts';
import type { RingWriter } from './ring-writer.ts';
import type { WorkerCounter } from './worker-counters.ts';

const NO_BODY = new Uint8Array(0);
const UNAVAILABLE = errorNumber('UNAVAILABLE');

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
export interface CallResult {
  readonly gateway: number;
  readonly callId: number;
  readonly pairs: readonly number[];
  /** Ordinal → what a guard said of the op. */
  readonly details: ReadonlyMap<number, string>;
  /** Of a part of the call: the answer to the call comes with its last part. */
  readonly more: boolean;
}

interface Reply {
  readonly gateway: number;
  readonly callId: number;
  readonly error: number;
  readonly body: Uint8Array;
  readonly flags: number;
  /** What it says was written: it holds only when the log has the batch. */
  readonly isOfWrite: boolean;
}

interface Push {
  readonly gateway: number;
  readonly session: number;
  readonly kind: number;
  readonly body: Uint8Array;
}

export class Answers implements PushSink {
  readonly #outboxes: readonly RingWriter[];
  readonly #changes: ChangeEvents;
  readonly #counters: CounterRow<WorkerCounter>;
  readonly #acks: readonly AckBatch[];
  /** Calls of the batch at hand with rejected ops. */
  readonly #results: CallResult[] = [];
  readonly #replies: Reply[] = [];
  #replyBytes = 0;
  readonly #pushes: Push[] = [];
  /** Those that leave before the replies of the batch. */
  readonly #ahead: Push[] = [];
  /** Per gateway: bytes of both. */
  readonly #pushBytes: number[];
  /** Per gateway: the highest sequence that somebody wants persisted and that is not; 0 = none. */
  readonly #awaited: number[];
  readonly #asked: boolean[];
  readonly #refusedCell: number;
  readonly #eventsCell: number;

  constructor(outboxes: readonly RingWriter[], changes: ChangeEvents, counters: CounterRow<WorkerCounter>) {
    this.#outboxes = outboxes;
    this.#changes = changes;
    this.#counters = counters;
    this.#acks = outboxes.map(() => new AckBatch());
    this.#pushBytes = outboxes.map(() => 0);
    this.#awaited = outboxes.map(() => 0);
    this.#asked = outboxes.map(() => false);
    this.#refusedCell = counters.indexOf('refused');
    this.#eventsCell = counters.indexOf('eventsEncoded');
  }

  /** True when an outbox has no room for what was written. */
  get blocked(): boolean {
    for (let gateway = 0; gateway < this.#outboxes.length; gateway++) {
      if (this.#outboxes[gateway]?.blocked === true) return true;
    }
    return false;
  }

  /** Tries again to write what found no room; true when nothing is left. */
  flush(): boolean {
    let done = true;
    for (const outbox of this.#outboxes) if (outbox.blocked && !outbox.flush()) done = false;
    return done;
  }

  /** Bytes of the replies of the batch at hand. */
  get replyBytes(): number {
    return this.#replyBytes;
  }

  ack(gateway: number, callId: number): void {
    this.#acks[gateway]?.add(callId);
  }

  result(result: CallResult): void {
    this.#results.push(result);
  }

  /** A reply in parts, of which all but the last say that more follow. `error` is an error number, -1 for none. */
  reply(gateway: number, callId: number, error: number, parts: readonly Uint8Array[], isOfWrite = false): void {
    const last = Math.max(0, parts.length - 1);
    for (let index = 0; index <= last; index++) {
      const flags = index < last ? FLAG_MORE : 0;
      const body = parts[index] ?? NO_BODY;
      this.#replies.push({ gateway, callId, error, body, flags, isOfWrite });
      this.#replyBytes += body.length;
    }
  }

  /** One part of a reply that took its time, written at once. */
  replyPart(gateway: number, callId: number, part: Uint8Array, more: boolean): void {
    this.#write(gateway, RECORD_REPLY, callId, 0, part, more ? FLAG_MORE : 0, Number.NaN);
  }

  /** The end of such a reply that cannot be completed. */
  replyFailed(gateway: number, callId: number, error: number): void {
    this.#write(gateway, RECORD_REPLY, callId, error + 1, NO_BODY, 0, Number.NaN);
  }

  /** A call of the batch at hand waits until it is persisted. */
  askPersisted(gateway: number): void {
    this.#asked[gateway] = true;
  }

  /** Nothing of the call was taken in, or it is not as safe as an answer would say. Written at once. */
  refuse(gateway: number, callId: number, error: number): void {
    this.#counters.add(this.#refusedCell, 1);
    const pair = new Uint8Array(Int32Array.of(0, error).buffer);
    this.#write(gateway, RECORD_RESULT, callId, 1, pair, FLAG_REFUSED, Number.NaN);
  }

  /** Refuses every call of the batch at hand. Events and replies that tell of no write stay: what they say is true of memory. */
  refuseBatch(error: number): void {
    this.#replies.forEach((reply, index) => {
      if (reply.isOfWrite) this.#replies[index] = { ...reply, error, body: NO_BODY };
    });
    for (const { gateway, callId } of this.#results) this.refuse(gateway, callId, error);
    this.#results.length = 0;
    this.#asked.fill(false);
    this.#acks.forEach((acks, gateway) => {
      for (let index = 0; index < acks.count; index++) this.refuse(gateway, acks.callIds[index] as number, error);
      acks.count = 0;
    });
  }

  /**
   * Writes all that was gathered. `sequence` holds the batch; `persisted` says that it is persisted already. Returns
   * true when somebody waits until it is.
   */
  write(sequence: number, persisted: boolean): boolean {
    const flags = persisted ? FLAG_PERSISTED : 0;
    if (this.#results.length > 0) this.#writeResults(sequence, flags);
    this.#writePushes(this.#ahead);
    if (this.#replies.length > 0) this.#writeReplies();
    let awaited = false;
    this.writePushes();
    this.writeEvents();
    for (let gateway = 0; gateway < this.#outboxes.length; gateway++) {
      const acks = this.#acks[gateway];
      if (acks !== undefined && acks.count > 0) this.#writeAcks(gateway, acks, sequence, flags);
      if (this.#asked[gateway] === true) {
        this.#asked[gateway] = false;
        if (persisted) continue;
        this.#awaited[gateway] = sequence;
        awaited = true;
      }
    }
    return awaited;
  }

  push(gateway: number, session: number, kind: number, body: Uint8Array, isAhead = false): void {
    (isAhead ? this.#ahead : this.#pushes).push({ gateway, session, kind, body });
    this.#pushBytes[gateway] = (this.#pushBytes[gateway] ?? 0) + body.length;
  }

  waitingBytes(gateway: number): number {
    return (this.#pushBytes[gateway] ?? 0) + (this.#outboxes[gateway]?.backlogBytes ?? 0);
  }

  /** Writes what services told; that of a batch stands behind its replies, but for what goes ahead of them. */
  writePushes(): void {
    this.#writePushes(this.#ahead);
    this.#writePushes(this.#pushes);
  }

  /** Writes the events that were gathered, whoever caused them. */
  writeEvents(): void {
    for (let gateway = 0; gateway < this.#outboxes.length; gateway++) {
      const events = this.#changes.batches[gateway];
      if (events !== undefined && events.count > 0) this.#writeEventsOf(gateway, events);
    }
  }

  /** Tells the gateways that wait that all up to `sequence` is persisted. With an error number, that the rest never will be. */
  persisted(sequence: number, error = -1): void {
    for (let gateway = 0; gateway < this.#awaited.length; gateway++) {
      const awaited = this.#awaited[gateway] as number;
      if (awaited === 0) continue;
      if (sequence >= awaited || error >= 0) this.#awaited[gateway] = 0;
      this.#write(gateway, RECORD_PERSISTED, 0, error + 1, NO_BODY, 0, sequence);
    }
  }

  /** This worker replaces a dead one: whoever waits for what that one acknowledged has to ask again. Before any other answer. */
  replaced(persistedSequence: number): void {
    for (let gateway = 0; gateway < this.#outboxes.length; gateway++) {
      this.#write(gateway, RECORD_PERSISTED, 0, UNAVAILABLE + 1, NO_BODY, 0, persistedSequence);
    }
  }

  #writePushes(pushes: Push[]): void {
    if (pushes.length === 0) return;
    for (const { gateway, session, kind, body } of pushes) {
      this.#pushBytes[gateway] = (this.#pushBytes[gateway] ?? 0) - body.length;
      this.#write(gateway, RECORD_PUSH, 0, kind, body, 0, Number.NaN, session);
    }
    pushes.length = 0;
  }

  #writeResults(sequence: number, flags: number): void {
    for (const { gateway, callId, pairs, details, more } of this.#results) {
      const body = resultBody(pairs, details);
      this.#write(gateway, RECORD_RESULT, callId, pairs.length / 2, body, more ? flags | FLAG_MORE : flags, sequence);
    }
    this.#results.length = 0;
  }

  #writeReplies(): void {
    for (const { gateway, callId, error, body, flags } of this.#replies) {
      this.#write(gateway, RECORD_REPLY, callId, error + 1, body, flags, Number.NaN);
    }
    this.#replies.length = 0;
    this.#replyBytes = 0;
  }

  /** The hot path's answer: call ids, copied into claimed ring memory. */
  #writeAcks(gateway: number, acks: AckBatch, sequence: number, flags: number): void {
    const outbox = this.#outboxes[gateway] as RingWriter;
    const at = outbox.claim(ENVELOPE_BYTES + acks.count * 4);
    if (at === FULL) {
      const body = new Uint8Array(acks.callIds.buffer, 0, acks.count * 4);
      this.#write(gateway, RECORD_ACKS, 0, acks.count, body, flags, sequence);
    } else {
      writeEnvelope(outbox.ring, at, RECORD_ACKS, 0, 0, acks.count, 0, flags, sequence);
      const words = outbox.ring.words;
      const first = (at >> 2) + ENVELOPE_WORDS;
      for (let index = 0; index < acks.count; index++) words[first + index] = acks.callIds[index] as number;
      outbox.commit();
    }
    acks.count = 0;
  }

  #writeEventsOf(gateway: number, events: EventBatch): void {
    const rowBytes = events.count * EVENT_ROW_WORDS * 4;
    const body = new Uint8Array(rowBytes + events.bodies.length);
    body.set(new Uint8Array(events.rows.buffer, 0, rowBytes), 0);
    body.set(events.bodies.bytes.subarray(0, events.bodies.length), rowBytes);
    this.#write(gateway, RECORD_EVENTS, 0, events.count, body, 0, Number.NaN);
    this.#counters.add(this.#eventsCell, events.count);
    events.clear();
  }

  #write(
    gateway: number,
    type: number,
    callId: number,
    count: number,
    body: Uint8Array,
    flags: number,
    float: number,
    session = 0,
  ): void {
    this.#outboxes[gateway]?.send(type, callId, session, count, body, flags, float);
  }
}

/** The pairs as words, and behind them, where there are any, the details as a MessagePack list of (ordinal, text). */
function resultBody(pairs: readonly number[], details: ReadonlyMap<number, string>): Uint8Array {
  const words = new Uint8Array(Int32Array.from(pairs).buffer);
  if (details.size === 0) return words;
  const texts = encode([...details]);
  const body = new Uint8Array(words.length + texts.length);
  body.set(words, 0);
  body.set(texts, words.length);
  return body;
}
