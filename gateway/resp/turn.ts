/**
 * The commands of one read from a connection, on their way to the workers, and their replies in the order of the commands.
 *
 *   slots      local   bytes that the connection wrote itself
 *              worker  reply number n of one worker
 *              merged  several of them, made one (merge.ts)
 *              later   bytes that come by a way of their own (PUBLISH)
 *
 * A turn is one request a worker and one write to the socket. Where all commands went to one worker, as most do, there are no slots:
 * that worker's replies leave as they came.
 */
import type { CommandBatchWriter } from '../../engine/domains/kv/command-batch.ts';
import { firstReplyAt, replyStarts } from '../../engine/domains/kv/command-batch.ts';
import { replyOfNumber } from '../../engine/domains/kv/refused-reply.ts';
import type { Gather } from '../call-table.ts';

/** A reply that is made of those of several workers: [worker, number] each. */
export interface MergedSlot {
  readonly parts: readonly (readonly [worker: number, index: number])[];
  readonly merge: (replies: readonly Uint8Array[]) => Uint8Array;
}

const LOCAL = -1;
const MERGED = -2;
const LATER = -3;
const NO_BYTES = new Uint8Array(0);
const NO_BODIES: ReadonlyMap<number, Uint8Array> = new Map();
const encoder = new TextEncoder();

/** One worker's answer. */
interface Answer {
  readonly body: Uint8Array;
  /** Where the replies lie in it, once somebody asks for one of them. */
  starts: Int32Array | undefined;
}

export class Turn implements Gather {
  /** The workers have answered, or were not asked. */
  isAnswered = false;
  /** The connection closes behind this turn. */
  closes = false;
  /** When the turn was sent to the workers, in ms of a clock that only counts. */
  sentMs = 0;
  /** Replies that are still to come by a way of their own. */
  laters = 0;
  /** Commands that went to workers, for the slow log: the first one's name. */
  firstCommand = '';
  /** A bit for each worker that is asked something. */
  asked = 0;
  /** Bodies of the requests that wait to be sent, by worker; none where they were sent at once. */
  bodies: ReadonlyMap<number, Uint8Array> = NO_BODIES;
  /** Bytes of replies that are here. */
  replyBytes = 0;
  readonly #onDone: () => void;
  readonly #onBytes: (bytes: number) => void;
  #isDropped = false;
  /** While all that was added is reply 0, 1, 2, … of one worker: how many. Then there are no slots. */
  #plainCount = 0;
  #onlyWorker = -1;
  /** The replies of that worker, as the client will read them. */
  #plainReply: Uint8Array | undefined;
  /** Triples: kind or worker, then start and end, or number. Once there are any, all are here. */
  #slots: number[] | undefined;
  #merged: MergedSlot[] | undefined;
  #late: Uint8Array[] | undefined;
  #muted: Set<number> | undefined;
  #answers: (Answer | undefined)[] | undefined;
  #errors: (Uint8Array | undefined)[] | undefined;
  #local: Uint8Array = NO_BYTES;

  /** @param onBytes told of replies that have come. */
  constructor(onDone: () => void, onBytes: (bytes: number) => void = () => {}) {
    this.#onDone = onDone;
    this.#onBytes = onBytes;
  }

  /** All replies are here. */
  get isDone(): boolean {
    return this.isAnswered && this.laters === 0;
  }

  get commands(): number {
    return this.#slots === undefined ? this.#plainCount : this.#slots.length / 3;
  }

  get isEmpty(): boolean {
    return this.commands === 0;
  }

  /** A reply of the connection's own: bytes `start` to `end` of what `seal` is given. */
  addLocal(start: number, end: number): void {
    this.#add(LOCAL, start, end);
  }

  /** The reply is number `index` of the worker's. */
  addWorker(worker: number, index: number): void {
    this.asked |= 1 << worker;
    if (this.#slots === undefined && this.#plainCount === index && (index === 0 || worker === this.#onlyWorker)) {
      this.#onlyWorker = worker;
      this.#plainCount += 1;
    } else this.#add(worker, index, 0);
  }

  addMerged(slot: MergedSlot): void {
    for (const [worker] of slot.parts) this.asked |= 1 << worker;
    this.#merged ??= [];
    this.#add(MERGED, this.#merged.length, 0);
    this.#merged.push(slot);
  }

  /** The reply comes with the call of what is answered. */
  addLater(): (reply: Uint8Array) => void {
    this.#late ??= [];
    const late = this.#late;
    const index = late.length;
    this.#add(LATER, index, 0);
    late.push(NO_BYTES);
    this.laters += 1;
    return (reply) => {
      if (!this.#isDropped) late[index] = reply;
      this.laters -= 1;
      this.#count(reply.length);
      if (this.isDone) this.#onDone();
    };
  }

  /** The client does not want the last reply. */
  muteLast(): void {
    this.#muted ??= new Set();
    this.#muted.add(this.#allSlots().length / 3 - 1);
  }

  /** Nothing more is added. `local` holds the replies of the connection's own. */
  seal(local: Uint8Array): void {
    this.#local = local;
    this.#count(local.length);
  }

  /** Nobody waits for the replies any more: what is here goes, and what comes is not kept. */
  drop(): void {
    this.#isDropped = true;
    this.replyBytes = 0;
    this.#local = NO_BYTES;
    this.#late?.fill(NO_BYTES);
    this.#plainReply = undefined;
    this.#answers = undefined;
  }

  /** The writers' commands become the requests of the turn, to be sent later. */
  keep(writers: readonly CommandBatchWriter[]): void {
    const bodies = new Map<number, Uint8Array>();
    writers.forEach((writer, worker) => {
      if (writer.count > 0) bodies.set(worker, writer.take());
    });
    this.bodies = bodies;
  }

  /** Copies the replies of the one worker: where they stood other records will. */
  take(worker: number, source: Uint8Array, start: number, end: number): boolean {
    if (this.#isDropped) return true;
    if (this.#slots !== undefined || worker !== this.#onlyWorker) return false;
    const from = firstReplyAt(source, start);
    const reply = Buffer.allocUnsafe(end - from); // as sockets like it: they make one of any other bytes
    reply.set(source.subarray(from, end));
    this.#plainReply = reply;
    this.#count(reply.length);
    return true;
  }

  answered(worker: number, error: number, body: Uint8Array): void {
    if (this.#isDropped) return;
    this.#answers ??= [];
    this.#errors ??= [];
    if (error >= 0) this.#errors[worker] = encoder.encode(`-${replyOfNumber(error)}\r\n`);
    else this.#answers[worker] = { body, starts: undefined };
    this.#count(body.length);
  }

  complete(): void {
    this.isAnswered = true;
    if (this.isDone) this.#onDone();
  }

  expired(): void {
    this.fail(DEADLINE_EXCEEDED);
  }

  /** Answers every command that no worker has answered with an error. */
  fail(error: string): void {
    const reply = encoder.encode(`-${error}\r\n`);
    this.#errors ??= [];
    for (let worker = 0; this.asked >>> worker !== 0; worker++) {
      if ((this.asked & (1 << worker)) !== 0 && this.#answers?.[worker] === undefined) this.#errors[worker] = reply;
    }
    this.complete();
  }

  /** The replies, where they came as the client will read them; else `replies` has them. */
  get plainReply(): Uint8Array | undefined {
    return this.#plainReply;
  }

  /** The replies, in order. */
  replies(): Uint8Array[] {
    if (this.#plainReply !== undefined) return [this.#plainReply];
    const slots = this.#allSlots();
    const replies: Uint8Array[] = [];
    for (let at = 0; at < slots.length; at += 3) {
      if (this.#muted?.has(at / 3) === true) continue;
      const kind = slots[at] as number;
      const index = slots[at + 1] as number;
      if (kind === LOCAL) replies.push(this.#local.subarray(index, slots[at + 2]));
      else if (kind === LATER) replies.push(this.#late?.[index] ?? NO_BYTES);
      else if (kind !== MERGED) replies.push(this.#replyOf(kind, index));
      else {
        const merged = this.#merged?.[index];
        if (merged !== undefined) replies.push(merged.merge(merged.parts.map(([worker, part]) => this.#replyOf(worker, part))));
      }
    }
    return replies;
  }

  #count(bytes: number): void {
    if (this.#isDropped || bytes === 0) return;
    this.replyBytes += bytes;
    this.#onBytes(bytes);
  }

  #add(kind: number, first: number, second: number): void {
    this.#allSlots().push(kind, first, second);
  }

  /** From now on everything has a slot. */
  #allSlots(): number[] {
    if (this.#slots !== undefined) return this.#slots;
    const slots: number[] = [];
    for (let index = 0; index < this.#plainCount; index++) slots.push(this.#onlyWorker, index, 0);
    this.#slots = slots;
    return slots;
  }

  #replyOf(worker: number, index: number): Uint8Array {
    const answer = this.#answers?.[worker];
    if (answer === undefined) return this.#errors?.[worker] ?? NO_ANSWER;
    answer.starts ??= replyStarts(answer.body);
    return answer.body.subarray(answer.starts[index], answer.starts[index + 1]);
  }
}

const DEADLINE_EXCEEDED = 'TRYAGAIN DEADLINE_EXCEEDED no answer within the deadline: what the command did is unknown';
const NO_ANSWER = encoder.encode('-TRYAGAIN UNAVAILABLE no answer\r\n');
