/**
 * The commands of one read from a connection, on their way to the workers, and their replies in the order of the commands.
 *
 *   slots      local   bytes that the connection wrote itself
 *              worker  reply number n of one worker
 *              merged  several of them, made one (merge.ts)
 *              later   bytes that come by a way of their own (PUBLISH)
 *
 * A turn is one request a worker and one write to the socket. Where all its slots belong to one worker, that worker's reply
 * leaves as it came.
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
  /** Bodies of the requests that wait to be sent, by worker. */
  bodies: Map<number, Uint8Array> = new Map();
  /** Triples: kind or worker, then start and end, or number. */
  readonly #slots: number[] = [];
  readonly #merged: MergedSlot[] = [];
  readonly #late: Uint8Array[] = [];
  readonly #muted = new Set<number>();
  readonly #answers: (Answer | undefined)[] = [];
  readonly #errors: (Uint8Array | undefined)[] = [];
  readonly #onDone: () => void;
  #local: Uint8Array = NO_BYTES;
  #onlyWorker = -1;
  #isPlain = true;

  constructor(onDone: () => void) {
    this.#onDone = onDone;
  }

  /** All replies are here. */
  get isDone(): boolean {
    return this.isAnswered && this.laters === 0;
  }

  get commands(): number {
    return this.#slots.length / 3;
  }

  get isEmpty(): boolean {
    return this.#slots.length === 0;
  }

  /** A reply of the connection's own: bytes `start` to `end` of what `seal` is given. */
  addLocal(start: number, end: number): void {
    this.#isPlain = false;
    this.#slots.push(LOCAL, start, end);
  }

  /** The reply is number `index` of the worker's. */
  addWorker(worker: number, index: number): void {
    if (this.#onlyWorker < 0) this.#onlyWorker = worker;
    else if (this.#onlyWorker !== worker) this.#isPlain = false;
    this.#slots.push(worker, index, 0);
  }

  addMerged(slot: MergedSlot): void {
    this.#isPlain = false;
    this.#slots.push(MERGED, this.#merged.length, 0);
    this.#merged.push(slot);
  }

  /** The reply comes with the call of what is answered. */
  addLater(): (reply: Uint8Array) => void {
    this.#isPlain = false;
    const index = this.#late.length;
    this.#slots.push(LATER, index, 0);
    this.#late.push(NO_BYTES);
    this.laters += 1;
    return (reply) => {
      this.#late[index] = reply;
      this.laters -= 1;
      if (this.isDone) this.#onDone();
    };
  }

  /** The client does not want the last reply. */
  muteLast(): void {
    this.#isPlain = false;
    this.#muted.add(this.#slots.length / 3 - 1);
  }

  /** Nothing more is added. The writers' commands become the requests of the turn. */
  seal(local: Uint8Array, writers: readonly CommandBatchWriter[]): void {
    this.#local = local;
    writers.forEach((writer, worker) => {
      if (writer.count > 0) this.bodies.set(worker, writer.take());
    });
  }

  /** Bytes of the requests. */
  get requestBytes(): number {
    let bytes = 0;
    for (const body of this.bodies.values()) bytes += body.length;
    return bytes;
  }

  answered(worker: number, error: number, body: Uint8Array): void {
    if (error >= 0) this.#errors[worker] = encoder.encode(`-${replyOfNumber(error)}\r\n`);
    else this.#answers[worker] = { body, starts: undefined };
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
    for (const worker of this.bodies.keys()) if (this.#answers[worker] === undefined) this.#errors[worker] = reply;
    this.complete();
  }

  /** The replies, in order. */
  replies(): Uint8Array[] {
    if (this.#isPlain) {
      const answer = this.#answers[this.#onlyWorker];
      if (answer !== undefined) return [answer.body.subarray(firstReplyAt(answer.body))];
    }
    const slots = this.#slots;
    const replies: Uint8Array[] = [];
    for (let at = 0; at < slots.length; at += 3) {
      if (this.#muted.size > 0 && this.#muted.has(at / 3)) continue;
      const kind = slots[at] as number;
      const index = slots[at + 1] as number;
      if (kind === LOCAL) replies.push(this.#local.subarray(index, slots[at + 2]));
      else if (kind === LATER) replies.push(this.#late[index] ?? NO_BYTES);
      else if (kind !== MERGED) replies.push(this.#replyOf(kind, index));
      else {
        const merged = this.#merged[index];
        if (merged !== undefined) replies.push(merged.merge(merged.parts.map(([worker, part]) => this.#replyOf(worker, part))));
      }
    }
    return replies;
  }

  #replyOf(worker: number, index: number): Uint8Array {
    const answer = this.#answers[worker];
    if (answer === undefined) return this.#errors[worker] ?? NO_ANSWER;
    answer.starts ??= replyStarts(answer.body);
    return answer.body.subarray(answer.starts[index], answer.starts[index + 1]);
  }
}

const DEADLINE_EXCEEDED = 'TRYAGAIN DEADLINE_EXCEEDED no answer within the deadline: what the command did is unknown';
const NO_ANSWER = encoder.encode('-TRYAGAIN UNAVAILABLE no answer\r\n');
