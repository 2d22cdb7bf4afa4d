/**
 * The subscribers of one run: which writes each has got, and when.
 *
 *   heard    a count per subscriber and write: exactly `copies` of each, or the run is void. A live query may join the updates
 *            of a row: only the last write of each key must have come in all its copies, and the others in all but one
 *   slow     reads for a moment, then nothing for a while; may be closed by the server, and otherwise must get everything, too
 *
 * A latency runs from the moment at which the write was due, whenever it was really sent: who falls behind counts as waiting
 * (coordinated omission). An update that was joined into a later one has come with it. Latencies of slow subscribers are told apart.
 */
import type { LatencyHistogram } from '../statistics.ts';
import { ByteStream, type Step } from './byte-stream.ts';
import { MarkerReader } from './marker.ts';

/** A slow subscriber reads once in so many ms, and so many bytes: 16 KiB a second, less than 100 writes a second bring. */
const SLOW_PAUSE_MS = 250;
const SLOW_READ_BYTES = 4096;
/** Connections that are opened at a time. */
const OPENING_MAX = 100;

/** What is measured of a write: from when on it was due, in µs of the clock. */
export interface Schedule {
  /** The first write that counts; those before warm up. */
  first: number;
  /** Writes that count end before this one. */
  end: number;
  dueUs(number: number): number;
}

export class Subscriber {
  readonly isSlow: boolean;
  /** Deliveries of writes that count. */
  delivered = 0;
  /** When the last of them came, ms. */
  lastMs = 0;
  /** Has heard anything at all. */
  isWarm = false;
  /** Why the connection ended, if it did. */
  ended: string | undefined;
  readonly #stream: ByteStream;
  readonly #markers = new MarkerReader();
  readonly #heard: Uint8Array;
  /** Writes whose latency is recorded. */
  readonly #timed: Uint8Array;
  readonly #schedule: Schedule;
  readonly #latencies: LatencyHistogram;
  readonly #copies: number;
  readonly #joinedKeys: number;
  #hurries = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(stream: ByteStream, options: SubscriberOptions, isSlow: boolean) {
    this.#stream = stream;
    this.isSlow = isSlow;
    this.#heard = new Uint8Array(options.writes);
    this.#timed = new Uint8Array(options.writes);
    this.#schedule = options.schedule;
    this.#latencies = isSlow ? options.slowLatencies : options.latencies;
    this.#copies = options.copies;
    this.#joinedKeys = options.joinedKeys;
    stream.onBytes = (chunk) => this.#take(chunk);
    stream.onClosed = (reason) => {
      this.ended = reason;
    };
  }

  static async open(options: SubscriberOptions, isSlow: boolean): Promise<Subscriber> {
    const stream = await ByteStream.open(options.port, options.steps, isSlow ? SLOW_READ_BYTES : undefined);
    return new Subscriber(stream, options, isSlow);
  }

  /** Writes that came too rarely, and too often. */
  get faults(): { readonly missing: number; readonly repeated: number } {
    const { first, end } = this.#schedule;
    let missing = 0;
    let repeated = 0;
    for (let number = first; number < end; number++) {
      const copies = this.#heard[number] as number;
      if (copies > this.#copies) repeated += 1;
      else if (copies < this.#copies && !(copies === this.#copies - 1 && number + this.#joinedKeys < end)) missing += 1;
    }
    return { missing, repeated };
  }

  /** True when everything has come. */
  get isComplete(): boolean {
    if (this.#heard[this.#schedule.end - 1] !== this.#copies) return false; // the last comes last, nearly always
    return this.faults.missing === 0;
  }

  /** Reads like the others from now on. */
  hurry(): void {
    this.#hurries = true;
    if (this.#timer !== undefined) this.#stream.resume();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#stream.close();
  }

  #take(chunk: Buffer): boolean {
    const nowUs = performance.now() * 1000;
    this.isWarm = true;
    this.#markers.take(chunk, (number) => this.#hear(number, nowUs));
    if (!this.isSlow || this.#hurries) return true;
    this.#timer = setTimeout(() => this.#stream.resume(), SLOW_PAUSE_MS);
    return false;
  }

  #hear(number: number, nowUs: number): void {
    const { first, end } = this.#schedule;
    if (number < first || number >= end) return;
    const copies = (this.#heard[number] as number) + 1;
    this.#heard[number] = Math.min(copies, 255);
    this.delivered += 1;
    this.lastMs = nowUs / 1000;
    if (copies === this.#copies) this.#arrived(number, nowUs);
  }

  /** The write is there in all its copies, and with it those of its key that were joined into it. */
  #arrived(number: number, nowUs: number): void {
    const { first } = this.#schedule;
    for (let write = number; write >= first && this.#timed[write] === 0; write -= this.#joinedKeys) {
      this.#timed[write] = 1;
      this.#latencies.record(nowUs - this.#schedule.dueUs(write));
    }
  }
}

export interface SubscriberOptions {
  readonly port: number;
  readonly steps: readonly Step[];
  /** Writes of the run, those that warm up included. */
  readonly writes: number;
  readonly copies: number;
  /** Keys that writes go round, where those of a key may be joined; infinite where each must come. */
  readonly joinedKeys: number;
  readonly schedule: Schedule;
  readonly latencies: LatencyHistogram;
  /** Of those that read slowly. */
  readonly slowLatencies: LatencyHistogram;
}

/** Opens `count` subscribers, of which every tenth is slow. */
export async function openSubscribers(options: SubscriberOptions, count: number): Promise<Subscriber[]> {
  const subscribers: Subscriber[] = [];
  while (subscribers.length < count) {
    const from = subscribers.length;
    const size = Math.min(OPENING_MAX, count - from);
    const opened = Array.from({ length: size }, (_, place) => Subscriber.open(options, (from + place) % 10 === 9));
    subscribers.push(...(await Promise.all(opened)));
  }
  return subscribers;
}

/** Why the deliveries make the run void, undefined when everybody has what they should. */
export function reasonUndelivered(subscribers: readonly Subscriber[]): string | undefined {
  const lost = subscribers.filter((subscriber) => subscriber.ended !== undefined && !subscriber.isSlow);
  if (lost.length > 0) return `void: ${lost.length} subscribers were closed: ${lost[0]?.ended}`;
  const wrong = subscribers.filter(({ ended, faults }) => ended === undefined && faults.missing + faults.repeated > 0);
  if (wrong.length === 0) return undefined;
  const slow = wrong.filter(({ isSlow }) => isSlow).length;
  const missing = wrong.reduce((sum, { faults }) => sum + faults.missing, 0);
  const repeated = wrong.reduce((sum, { faults }) => sum + faults.repeated, 0);
  return `void: ${missing} deliveries missing, ${repeated} twice, at ${wrong.length} subscribers, ${slow} of them slow ones`;
}
