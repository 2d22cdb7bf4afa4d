/**
 * What comes back from the workers: acks, results, replies, pushes and events, taken from the outbox rings by the run loop.
 *
 * Answers of a call count down; the last one settles it, unless the batch asks for a level that comes later
 * (persisted-waits.ts). Frames are queued while a batch is drained and leave at its
 * end. Between batches the frames that found a full ring are tried again.
 */
import {
  ENVELOPE,
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
} from '../engine/protocol/envelope.ts';
import { assert } from '../engine/assert.ts';
import { decode } from '../engine/protocol/codec.ts';
import { ERROR_CODES } from '../engine/protocol/errors.ts';
import type { RingConsumer } from '../workers/ring.ts';
import type { Runnable } from '../workers/runnable.ts';
import { type BatchAnswers, denseDetails } from './batch-answers.ts';
import type { BatchDetails, CallTable } from './call-table.ts';
import type { FanOut } from './fan-out.ts';
import type { Outgoing } from './outgoing.ts';
import type { PersistedWaits } from './persisted-waits.ts';
import type { Session } from './session.ts';
import type { WorkerBreakers } from './worker-breakers.ts';

export interface OutboxOptions {
  readonly calls: CallTable;
  readonly answers: BatchAnswers;
  readonly waits: PersistedWaits;
  readonly fanOut: FanOut;
  readonly outgoing: Outgoing;
  /** Of the workers, where they are on. */
  readonly breakers: WorkerBreakers | undefined;
  /** A worker could not take a batch at all: the client must send it again. */
  readonly onRefused: (session: Session, reason: string) => void;
  /** A service tells a session, or the gateway (session 0), something unasked. `body` is the taker's. */
  readonly onPush: (worker: number, session: number, kind: number, body: Uint8Array) => void;
  /** Room may be there again, and time has passed. */
  readonly onTurn: () => void;
  readonly onTick: (nowMs: number) => void;
  readonly tickIntervalMs: number;
}

export class Outbox implements Runnable {
  readonly tickIntervalMs: number;
  readonly #calls: CallTable;
  readonly #answers: BatchAnswers;
  readonly #waits: PersistedWaits;
  readonly #fanOut: FanOut;
  readonly #outgoing: Outgoing;
  readonly #options: OutboxOptions;
  /** Bit per worker that has said something since the last batch ended. */
  #heard = 0;

  constructor(options: OutboxOptions) {
    this.tickIntervalMs = options.tickIntervalMs;
    this.#calls = options.calls;
    this.#answers = options.answers;
    this.#waits = options.waits;
    this.#fanOut = options.fanOut;
    this.#outgoing = options.outgoing;
    this.#options = options;
  }

  /** `ring.index` is the worker's number. */
  onRecord(ring: RingConsumer, at: number): void {
    this.#heard |= 1 << ring.index;
    const word = at >> 2;
    const type = ring.words[word + ENVELOPE.TYPE] as number;
    switch (type) {
      case RECORD_ACKS:
        this.#acks(ring, word);
        return;
      case RECORD_RESULT:
        this.#result(ring, word);
        return;
      case RECORD_REPLY:
        this.#reply(ring, at);
        return;
      case RECORD_PUSH:
        this.#push(ring, at);
        return;
      case RECORD_EVENTS:
        this.#events(ring, at);
        return;
      case RECORD_PERSISTED:
        this.#waits.persisted(ring.index, sequenceAt(ring, word), (ring.words[word + ENVELOPE.COUNT] as number) - 1);
        return;
      default:
        assert(false, `outbox record of type ${type}`);
    }
  }

  onBatchEnd(): void {
    this.#options.breakers?.heard(this.#heard);
    this.#heard = 0;
    this.#outgoing.flush();
    this.#options.onTurn();
  }

  onTick(nowMs: number): void {
    this.#options.onTick(nowMs);
    this.#outgoing.flush();
    this.#options.onTurn();
  }

  async shutdown(): Promise<void> {
    this.#outgoing.flush();
  }

  #acks(ring: RingConsumer, word: number): void {
    const words = ring.words;
    const count = words[word + ENVELOPE.COUNT] as number;
    for (let index = 0; index < count; index++) {
      const slot = this.#calls.slotOf(words[word + ENVELOPE_WORDS + index] as number);
      if (slot >= 0) this.#answered(slot, ring, word);
    }
  }

  /** The worker has handled its part of the call; `word` is where its answer is. */
  #answered(slot: number, ring: RingConsumer, word: number): void {
    const bit = 1 << ring.index;
    const before = this.#calls.waiting[slot] as number;
    this.#calls.waiting[slot] = before & ~bit;
    const levels = this.#calls.details[slot]?.levels;
    if (levels !== undefined && (before & bit) !== 0) {
      const isPersisted = ((ring.words[word + ENVELOPE.FLAGS] as number) & FLAG_PERSISTED) !== 0;
      this.#waits.acked(levels, ring.index, sequenceAt(ring, word), isPersisted);
    }
    if ((before & ~bit) !== 0) return;
    if (levels === undefined) this.#answers.settle(slot);
    else this.#waits.applied(levels);
  }

  /**
   * Some ops of the call were rejected. With FLAG_MORE they are of a part, and the answer is still to come; with FLAG_REFUSED
   * nothing of the part was applied.
   */
  #result(ring: RingConsumer, word: number): void {
    const words = ring.words;
    const slot = this.#calls.slotOf(words[word + ENVELOPE.CALL] as number);
    if (slot < 0) return;
    const first = word + ENVELOPE_WORDS;
    const flags = words[word + ENVELOPE.FLAGS] as number;
    if ((flags & FLAG_REFUSED) !== 0) {
      this.#refused(slot, words[first + 1] as number);
      return;
    }
    const details = this.#calls.details[slot] ?? denseDetails();
    this.#calls.details[slot] = details;
    for (let pair = 0; pair < (words[word + ENVELOPE.COUNT] as number); pair++) {
      details.rejected.set(words[first + pair * 2] as number, words[first + pair * 2 + 1] as number);
    }
    const textsAt = (first + 2 * (words[word + ENVELOPE.COUNT] as number)) * 4;
    const end = first * 4 + (words[word + ENVELOPE.BODY_BYTES] as number);
    if (end > textsAt) noteRefusals(details, decode(ring.bytes.slice(textsAt, end)));
    if ((flags & FLAG_MORE) === 0) this.#answered(slot, ring, word);
  }

  #refused(slot: number, error: number): void {
    const session = this.#calls.sessions[slot];
    this.#calls.release(slot);
    if (session !== undefined) this.#options.onRefused(session, ERROR_CODES[error] ?? 'OVERLOADED');
  }

  #reply(ring: RingConsumer, at: number): void {
    const words = ring.words;
    const word = at >> 2;
    const slot = this.#calls.slotOf(words[word + ENVELOPE.CALL] as number);
    if (slot < 0) return;
    const bit = 1 << ring.index;
    const waiting = this.#calls.waiting[slot] as number;
    if ((waiting & bit) === 0) return; // a replaced worker answers again
    const bodyAt = at + ENVELOPE_BYTES;
    const bodyEnd = bodyAt + (words[word + ENVELOPE.BODY_BYTES] as number);
    const gather = this.#calls.gathers[slot];
    const error = (words[word + ENVELOPE.COUNT] as number) - 1;
    if (error >= 0 || gather?.take?.(ring.index, ring.bytes, bodyAt, bodyEnd) !== true) {
      gather?.answered(ring.index, error, ring.bytes.slice(bodyAt, bodyEnd));
    }
    if (((words[word + ENVELOPE.FLAGS] as number) & FLAG_MORE) !== 0) return;
    this.#calls.waiting[slot] = waiting & ~bit;
    if ((waiting & ~bit) !== 0) return;
    this.#calls.release(slot);
    gather?.complete();
  }

  #push(ring: RingConsumer, at: number): void {
    const word = at >> 2;
    const session = ring.words[word + ENVELOPE.SESSION] as number;
    const kind = ring.words[word + ENVELOPE.COUNT] as number;
    const bodyAt = at + ENVELOPE_BYTES;
    const body = ring.bytes.slice(bodyAt, bodyAt + (ring.words[word + ENVELOPE.BODY_BYTES] as number));
    this.#options.onPush(ring.index, session, kind, body);
  }

  #events(ring: RingConsumer, at: number): void {
    const count = ring.words[(at >> 2) + ENVELOPE.COUNT] as number;
    const rowsWord = (at + ENVELOPE_BYTES) >> 2;
    this.#fanOut.deliver(ring, rowsWord, count, at + ENVELOPE_BYTES + count * EVENT_ROW_WORDS * 4);
  }
}

/** `texts` is a list of (ordinal, text). */
function noteRefusals(details: BatchDetails, texts: unknown): void {
  assert(Array.isArray(texts), 'texts of refusals');
  for (const pair of texts) {
    if (!Array.isArray(pair)) continue;
    const [ordinal, text]: unknown[] = pair;
    if (typeof ordinal === 'number' && typeof text === 'string') details.refusals.set(ordinal, text);
  }
}

function sequenceAt(ring: RingConsumer, word: number): number {
  return ring.floats[(word >> 1) + ENVELOPE.SEQUENCE_F64] as number;
}
