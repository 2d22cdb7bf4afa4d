/**
 * What a partition worker does with the records of its inboxes: the branch between the rings and the services.
 *
 *   OPS ─ room in log, staging, memory? ─ CrdtService.applyOps ─┬─ acks of the batch, one record per gateway
 *   REQUEST ─ handler of its kind ─ REPLY                       └─ events of the batch, one record per gateway
 *   INTEREST ─ who listens to a map      CLOSED ─ handlers forget the session
 *
 * Answers are gathered while a batch is drained (answers.ts) and written at its end, when the batch is as safe as they
 * say (durability.ts). It ends early once its replies are some megabytes. When an outbox has no room the batch does not end: nothing
 * more is drained until the gateway has read. What handlers did not push then, since much waited already, they push in later turns,
 * whether or not records come.
 *
 * A replaced worker finds records in its inbox that its predecessor had merged and logged, but perhaps not answered:
 * those up to `loggedTo` are answered without being run again, save for ops from the first on that was not merged as it is: these are
 * merged again, which changes nothing, so that they are rejected or refused again. A request would be done twice.
 */
import { assert, broken } from '../engine/assert.ts';
import type { CrdtService } from '../engine/domains/crdt/crdt-service.ts';
import type { MapCatalogue } from '../engine/domains/crdt/map-catalogue.ts';
import { Rejections } from '../engine/domains/crdt/rejections.ts';
import type { LateParts, RequestAnswer, RequestHandlers } from '../engine/operation/request-handler.ts';
import { partitionOf } from '../engine/partition/hash.ts';
import {
  CALL_NONE,
  ENVELOPE,
  ENVELOPE_BYTES,
  ENVELOPE_WORDS,
  FLAG_MORE,
  FLAG_PERSIST,
  RECORD_CLOSED,
  RECORD_INTEREST,
  RECORD_OPS,
  RECORD_REQUEST,
  SCOPE_SHIFT,
} from '../engine/protocol/envelope.ts';
import { errorNumber, GridError } from '../engine/protocol/errors.ts';
import { PACKED, packedBytes } from '../engine/protocol/packed-op.ts';
import type { Answers } from './answers.ts';
import type { CounterRow } from './counters.ts';
import type { Durability } from './durability.ts';
import type { RingConsumer } from './ring.ts';
import type { Runnable } from './runnable.ts';
import type { WorkerCounter } from './worker-counters.ts';

const INTERNAL = errorNumber('INTERNAL');
const UNAVAILABLE = errorNumber('UNAVAILABLE');
const NO_BODY = new Uint8Array(0);
const LOG_DAMAGED = errorNumber('LOG_DAMAGED');
/** Bytes of replies above which a batch ends: a few bytes of questions may ask for any number. */
const REPLY_BYTES_MAX = 4 * 1024 * 1024;
/** While an outbox is full, how often it is looked at. */
const OUTBOX_RETRY_MS = 1;

export interface PartitionRunnerOptions {
  readonly answers: Answers;
  readonly maps: MapCatalogue;
  readonly crdt: CrdtService;
  readonly handlers: RequestHandlers;
  readonly durability: Durability;
  /** Why a write of this size is refused now, before it is merged: an error number, or -1. */
  readonly refusal: (bytes: number) => number;
  readonly counters: CounterRow<WorkerCounter>;
  /** Gateway → position of the record in its inbox at which workers have died again and again. */
  readonly suspects: Map<number, number>;
  /** Gateway → position in its inbox up to which records are merged and logged. Forgotten when passed: positions come again. */
  readonly loggedTo: Map<number, number>;
  /** Gateway → the same for its ops, where some before `loggedTo` were rejected or refused. */
  readonly opsLoggedTo: ReadonlyMap<number, number>;
  /** Partitions that lost logged writes: read-only until the log is repaired. */
  readonly damaged: ReadonlySet<number>;
  readonly nowMs: () => number;
  readonly tickIntervalMs: number;
  /** `isBatchTold`: no batch waits until its gateways have been told. */
  readonly onTick: (nowMs: number, isBatchTold: boolean) => void;
  readonly onShutdown: () => Promise<void>;
}

export class PartitionRunner implements Runnable {
  readonly tickIntervalMs: number;
  readonly #options: PartitionRunnerOptions;
  readonly #rejections = new Rejections();
  /** Calls of which more parts follow, by gateway and call id. */
  readonly #unfinished = new Map<string, { readonly gateway: number; readonly callId: number }>();
  /** Gateway → position of the first record at hand that was not merged as it is, and may not be told to its gateway. */
  readonly #unmerged = new Map<number, number>();
  #persistedSequence = 0;
  #isBatchTold = true;
  /** A batch waits until its gateways have room for its answers. */
  #isBatchBlocked = false;
  /** Handlers are asked, turn after turn, for what they have not pushed yet. */
  #isTelling = false;
  /** Answers that wait for room before all that is told unasked. */
  #waiting = 0;
  #isEnding = false;
  /** The clock as of the first record of the batch at hand; 0 between batches. */
  #batchNowMs = 0;
  readonly #opsCell: number;
  readonly #batchesCell: number;
  readonly #requestsCell: number;
  readonly #rejectedCell: number;

  constructor(options: PartitionRunnerOptions) {
    this.#options = options;
    this.tickIntervalMs = options.tickIntervalMs;
    this.#opsCell = options.counters.indexOf('ops');
    this.#batchesCell = options.counters.indexOf('batches');
    this.#requestsCell = options.counters.indexOf('requests');
    this.#rejectedCell = options.counters.indexOf('rejected');
  }

  /** `ring.index` is the gateway's number. */
  onRecord(ring: RingConsumer, at: number): void {
    const type = ring.words[(at >> 2) + ENVELOPE.TYPE] as number;
    const { suspects, loggedTo } = this.#options;
    if (suspects.size > 0 && suspects.get(ring.index) === ring.recordAt) {
      suspects.delete(ring.index);
      return this.#setAside(ring, at, type);
    }
    if (loggedTo.size > 0 && !this.#isLogged(ring)) loggedTo.delete(ring.index);
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
      case RECORD_CLOSED:
        this.#options.handlers.sessionClosed(ring.index, ring.words[(at >> 2) + ENVELOPE.SESSION] as number);
        return;
      default:
        assert(false, `inbox record of type ${type}`);
    }
  }

  onBatchEnd(): Promise<void> | void {
    this.#batchNowMs = 0;
    this.#options.handlers.settled();
    const ended = this.#options.durability.endBatch();
    if (ended instanceof Promise) return this.#answerWhenSafe(ended);
    if (ended !== undefined) this.#refuseBatch(errorNumber(ended.code));
    this.#writeAnswers();
    this.#tellRest();
    if (this.#options.answers.blocked) return this.#untilTold();
    if (this.#unmerged.size > 0) this.#unmerged.clear();
  }

  /**
   * Where a successor may go on in each inbox when the log has what was merged, by this worker or the one before it. Behind these, while
   * gateways may not know of ops that were rejected or refused: where it must go on with ops, which is before the first of them.
   */
  loggedUpTo(inboxes: readonly RingConsumer[]): readonly number[] {
    const { loggedTo, opsLoggedTo } = this.#options;
    if (loggedTo.size === 0 && this.#unmerged.size === 0) return inboxes.map(({ position }) => position);
    const all = inboxes.map(({ index, position }) => laterOf(position, loggedTo.get(index)));
    const ops = inboxes.map(({ index, position }) => {
      const unmerged = this.#unmerged.get(index);
      if (unmerged !== undefined || !loggedTo.has(index)) return unmerged ?? position;
      return laterOf(position, opsLoggedTo.get(index) ?? loggedTo.get(index));
    });
    return ops.every((position, index) => position === all[index]) ? all : [...all, ...ops];
  }

  /** True when nothing stands in these inboxes any more that the worker before this one has logged: only its log tells that. */
  isBehindPredecessor(inboxes: readonly RingConsumer[]): boolean {
    const { loggedTo } = this.#options;
    return inboxes.every(({ index, position }) => laterOf(position, loggedTo.get(index)) === position);
  }

  onTick(): void {
    const { answers, handlers, onTick, nowMs, durability } = this.#options;
    handlers.tick(nowMs());
    onTick(nowMs(), this.#isBatchTold);
    this.#options.handlers.settled();
    durability.endTick();
    answers.writePushes();
    answers.writeEvents(); // of what the rhythms changed; a batch that is under way keeps its acks
    if (durability.persistedSequence > this.#persistedSequence) this.persisted(durability.persistedSequence);
    if (answers.blocked) answers.flush();
    this.#tellRest();
  }

  /** Everything up to `sequence` is persisted; with an error, what lies above never will be. */
  persisted(sequence: number, error = -1): void {
    this.#persistedSequence = sequence;
    this.#options.answers.persisted(sequence, error);
  }

  /** What was done outside of a batch is as safe as what batches do, or the log has said why it is not. */
  async settle(): Promise<void> {
    await this.#logged().catch((error: unknown) => {
      if (!(error instanceof GridError)) throw error;
    });
  }

  async shutdown(): Promise<void> {
    this.#isEnding = true;
    await this.#options.onShutdown();
  }

  #ops(ring: RingConsumer, at: number): void {
    const word = at >> 2;
    const words = ring.words;
    const callId = words[word + ENVELOPE.CALL] as number;
    const count = words[word + ENVELOPE.COUNT] as number;
    const flags = words[word + ENVELOPE.FLAGS] as number;
    const { crdt, counters, answers, loggedTo } = this.#options;
    const refused = this.#refusal(ring, word + ENVELOPE_WORDS, count, words[word + ENVELOPE.BODY_BYTES] as number);
    if (refused >= 0) {
      this.#refuse(ring, callId, refused);
      return;
    }
    if (loggedTo.size === 0 || !this.#areOpsLogged(ring)) {
      const session = words[word + ENVELOPE.SESSION] as number;
      crdt.applyOps(ring, at + ENVELOPE_BYTES, count, ring.index, session, this.#now(), this.#rejections, flags >>> SCOPE_SHIFT);
      counters.add(this.#opsCell, count);
      counters.add(this.#batchesCell, 1);
      if (this.#rejections.mustComeAgain) {
        this.#rejections.clear(); // what was applied changes nothing when it comes again
        this.#refuse(ring, callId, UNAVAILABLE);
        return;
      }
    }
    if ((flags & FLAG_PERSIST) !== 0) answers.askPersisted(ring.index);
    const more = (flags & FLAG_MORE) !== 0;
    if (more || this.#rejections.pairs.length > 0 || this.#unfinished.size > 0) this.#settleUnusual(ring, callId, more);
    else answers.ack(ring.index, callId);
  }

  /** Why the ops are not taken in: an error number, or -1. */
  #refusal(ring: RingConsumer, opsWord: number, count: number, bytes: number): number {
    const { refusal, damaged } = this.#options;
    if (damaged.size > 0) {
      let word = opsWord;
      for (let op = 0; op < count; op++) {
        if (damaged.has(partitionOf(ring.words[word + PACKED.KEY_HASH] as number))) return LOG_DAMAGED;
        word += packedBytes(ring.words, word) >> 2;
      }
    }
    return refusal(bytes);
  }

  /** True for a record that the worker before this one has merged and logged. */
  #isLogged(ring: RingConsumer): boolean {
    const position = this.#options.loggedTo.get(ring.index);
    return position !== undefined && ((position - ring.recordAt) | 0) > 0;
  }

  #areOpsLogged(ring: RingConsumer): boolean {
    const position = this.#options.opsLoggedTo.get(ring.index);
    return this.#isLogged(ring) && (position === undefined || ((position - ring.recordAt) | 0) > 0);
  }

  #now(): number {
    if (this.#batchNowMs === 0) this.#batchNowMs = this.#options.nowMs();
    return this.#batchNowMs;
  }

  /**
   * Answers a record that must not be run: its ops are rejected and kept as dead letters, a question fails. What a dead predecessor has
   * logged was done all the same: its ops are acknowledged, and who asked a question learns that it may or may not be.
   */
  #setAside(ring: RingConsumer, at: number, type: number): void {
    const word = at >> 2;
    const callId = ring.words[word + ENVELOPE.CALL] as number;
    const count = ring.words[word + ENVELOPE.COUNT] as number;
    if (type === RECORD_REQUEST)
      return this.#options.answers.reply(ring.index, callId, this.#isLogged(ring) ? UNAVAILABLE : INTERNAL, []);
    if (type !== RECORD_OPS) return;
    if (this.#areOpsLogged(ring)) return this.#ops(ring, at);
    this.#options.crdt.setAside(ring, at + ENVELOPE_BYTES, count, ring.index, this.#rejections);
    this.#settleUnusual(ring, callId, ((ring.words[word + ENVELOPE.FLAGS] as number) & FLAG_MORE) !== 0);
  }

  /** A part of a larger call, or one with rejected ops. */
  #settleUnusual(ring: RingConsumer, callId: number, more: boolean): void {
    const gateway = ring.index;
    if (this.#rejections.pairs.length > 0) this.#noteUnmerged(ring);
    const key = `${gateway}:${callId}`;
    const pairs = [...this.#rejections.pairs];
    const details = new Map(this.#rejections.details);
    this.#options.counters.add(this.#rejectedCell, this.#rejections.pairs.length / 2);
    this.#rejections.clear();
    if (more) {
      this.#unfinished.set(key, { gateway, callId });
      // Told with this batch: its record may be gone from the ring when the last part comes.
      if (pairs.length > 0) this.#options.answers.result({ gateway, callId, pairs, details, more: true });
      return;
    }
    this.#unfinished.delete(key);
    if (pairs.length === 0) this.#options.answers.ack(gateway, callId);
    else this.#options.answers.result({ gateway, callId, pairs, details, more: false });
  }

  #refuse(ring: RingConsumer, callId: number, error: number): void {
    this.#noteUnmerged(ring);
    this.#unfinished.delete(`${ring.index}:${callId}`);
    this.#options.answers.refuse(ring.index, callId, error);
  }

  #noteUnmerged(ring: RingConsumer): void {
    if (!this.#unmerged.has(ring.index)) this.#unmerged.set(ring.index, ring.recordAt);
  }

  #request(ring: RingConsumer, at: number): void {
    const word = at >> 2;
    const callId = ring.words[word + ENVELOPE.CALL] as number;
    const session = ring.words[word + ENVELOPE.SESSION] as number;
    const kind = ring.words[word + ENVELOPE.COUNT] as number;
    const bodyAt = at + ENVELOPE_BYTES;
    const body = ring.bytes.slice(bodyAt, bodyAt + (ring.words[word + ENVELOPE.BODY_BYTES] as number));
    this.#options.counters.add(this.#requestsCell, 1);
    const { handlers } = this.#options;
    const writes = handlers.writes(kind);
    const refused = writes && !handlers.judges(kind) ? this.#writeRefusal(ring, body.length) : -1;
    const answer = refused >= 0 ? refused : this.#answerTo(ring, kind, body, session);
    if (callId === CALL_NONE) return; // nobody waits
    if (typeof answer === 'number') this.#options.answers.reply(ring.index, callId, answer, []);
    else if (isList(answer)) {
      const { answers } = this.#options;
      answers.reply(ring.index, callId, -1, answer, handlers.tellsOfWrite(kind, answer.at(-1)));
      if (answers.replyBytes > REPLY_BYTES_MAX) ring.endDrain();
    } else void this.#answerLater(ring.index, callId, kind, answer);
  }

  /**
   * A request may write to any partition: where some are damaged none is taken in. What a dead predecessor answered to one is
   * not known any more, and it must not be done twice: its asker learns that it may or may not be done.
   */
  #writeRefusal(ring: RingConsumer, bytes: number): number {
    if (this.#options.loggedTo.size > 0 && this.#isLogged(ring)) return UNAVAILABLE;
    return this.#options.damaged.size > 0 ? LOG_DAMAGED : this.#options.refusal(bytes);
  }

  /** The answer, or the number of the error that is one. */
  #answerTo(ring: RingConsumer, kind: number, body: Uint8Array, session: number): RequestAnswer | number {
    const handler = this.#options.handlers.of(kind);
    if (handler === undefined) broken(`request of kind ${kind}`);
    try {
      const isLogged = this.#options.loggedTo.size > 0 && this.#isLogged(ring);
      return handler.answer({ kind, body, gateway: ring.index, session, nowMs: this.#now(), isLogged });
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      return errorNumber(error.code);
    }
  }

  /** A long answer, or values are read back for it: the loop goes on, and one part at a time waits for room. */
  async #answerLater(gateway: number, callId: number, kind: number, parts: LateParts): Promise<void> {
    const { answers, handlers, durability } = this.#options;
    const failureBefore = durability.failure;
    let held: Uint8Array | undefined;
    try {
      for await (const part of parts) {
        if (held !== undefined) {
          if (!handlers.writes(kind)) await this.settle(); // its gateway may tell it before the rest has come
          answers.replyPart(gateway, callId, held, true);
        }
        held = part;
        await this.#untilItsTurn();
      }
      const tellsOfWrite = handlers.tellsOfWrite(kind, held);
      if (tellsOfWrite) await this.#logged();
      else if (!handlers.writes(kind)) await this.settle(); // reads are answered where nothing can be written, too
      // What it wrote may have been in a frame that another answer or batch lost. Of a log that failed before, commands wrote nothing.
      const { failure } = durability;
      if (tellsOfWrite && failure !== undefined && (failure !== failureBefore || handlers.isBare(kind))) throw failure;
      answers.replyPart(gateway, callId, held ?? NO_BODY, false);
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      answers.replyFailed(gateway, callId, errorNumber(error.code));
    }
  }

  /** What an answer wrote outside of a batch is as safe as the answer says. Rejects with GridError when it cannot be. */
  async #logged(): Promise<void> {
    const ended = this.#options.durability.endBatch();
    if (ended instanceof GridError) throw ended;
    await ended;
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

  /** What could not be made safe is not acknowledged; the client sends it again. */
  async #answerWhenSafe(safe: Promise<void>): Promise<void> {
    this.#isBatchTold = false;
    try {
      await safe;
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.#refuseBatch(errorNumber(error.code));
    }
    this.#writeAnswers();
    this.#tellRest();
    await this.#untilTold();
  }

  /** Resolves when the gateways have all answers of the batch. */
  async #untilTold(): Promise<void> {
    this.#isBatchTold = false;
    this.#isBatchBlocked = true;
    await this.#untilRead();
    this.#isBatchBlocked = false;
    this.#unmerged.clear();
    this.#isBatchTold = true;
  }

  /** Sees to it that handlers push what they have not, as soon as the gateways have read. */
  #tellRest(): void {
    if (this.#isTelling || !this.#options.handlers.isUnsettled) return;
    this.#isTelling = true;
    void this.#tellOn();
  }

  get #mayTell(): boolean {
    return this.#isBatchTold && this.#waiting === 0;
  }

  /** A turn at a time, and none before a batch, or an answer, that waits; until the gateways have the last of it, too. */
  async #tellOn(): Promise<void> {
    const { answers, handlers, durability } = this.#options;
    while ((handlers.isUnsettled || answers.blocked) && !this.#isEnding) {
      const mustWait = answers.blocked || !this.#mayTell;
      await new Promise((resolve) => (mustWait ? setTimeout(resolve, OUTBOX_RETRY_MS) : setImmediate(resolve)));
      if (!answers.flush() || !this.#mayTell || this.#isEnding) continue;
      handlers.settled();
      durability.endTick();
      answers.writePushes();
    }
    this.#isTelling = false;
  }

  /** Nothing of the batch is acknowledged, nor what earlier parts of its calls did. */
  #refuseBatch(error: number): void {
    for (const { gateway, callId } of this.#unfinished.values()) this.#options.answers.refuse(gateway, callId, error);
    this.#unfinished.clear();
    this.#options.answers.refuseBatch(error);
  }

  #writeAnswers(): void {
    const { answers, durability } = this.#options;
    const { sequence, persistsBatches, neverPersists } = durability;
    // A re-send changes nothing: what it waits for may be persisted already, and no sync would come to say so.
    const persisted = persistsBatches || (!neverPersists && durability.persistedSequence >= sequence);
    if (answers.write(sequence, persisted)) durability.persistSoon();
  }

  /** Resolves when a part of a late answer may be written: behind the batch that waits for room, which it would keep from ending. */
  async #untilItsTurn(): Promise<void> {
    this.#waiting += 1;
    while (this.#isBatchBlocked || !this.#options.answers.flush())
      await new Promise((resolve) => setTimeout(resolve, OUTBOX_RETRY_MS));
    this.#waiting -= 1;
  }

  /** Resolves when every outbox has taken what was written for it. */
  async #untilRead(): Promise<void> {
    this.#waiting += 1;
    while (!this.#options.answers.flush()) await new Promise((resolve) => setTimeout(resolve, OUTBOX_RETRY_MS));
    this.#waiting -= 1;
  }
}

/** Of two positions in a ring, which wrap. */
function laterOf(position: number, other: number | undefined): number {
  return other !== undefined && ((other - position) | 0) > 0 ? other : position;
}

function isList(answer: RequestAnswer): answer is readonly Uint8Array[] {
  return Array.isArray(answer);
}
