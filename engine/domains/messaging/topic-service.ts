/**
 * Topics on a worker: who is told what is published. A topic belongs to the worker that owns its name's partition.
 *
 *   gateway ── INTEREST (topic, subscribers there) ──▶ table: topic → subscribers by gateway
 *   gateway ── PUBLISH ──▶ the gateways in the table ── PUSH ──▶ each hands it to its own subscribers
 *
 * All messages of a topic pass here, so every subscriber gets them in one order, which keeps that of each publisher. Nothing is kept: who
 * subscribes later has missed what was before. Patterns have no owner; every worker is told all of them, and looks through them.
 *
 * A worker that replaces another holds what is published until all gateways have told their subscribers again, so that nothing is
 * lost by the change. What waits is bounded; beyond, the oldest is let go and counted.
 */
import { assert } from '../../assert.ts';
import type { GridRequest, PushSink, RequestHandler } from '../../operation/request-handler.ts';
import type { RollCall } from '../../operation/roll-call.ts';
import {
  PUSH_TOPIC,
  REQUEST_TOPIC_CENSUS,
  REQUEST_TOPIC_INTEREST,
  REQUEST_TOPIC_PUBLISH,
  REQUEST_TOPIC_ROLL,
} from '../../protocol/envelope.ts';
import { Publication } from './publication.ts';
import { decodeCensusWish, encodeCensus, NamesInBounds, type TopicCensus } from './topic-census.ts';
import { decodeInterest, type InterestCount } from './topic-interest.ts';
import { TopicPattern } from './topic-pattern.ts';

/** Bytes of publications that wait while gateways tell a replaced worker of their subscribers. */
const HELD_BYTES_MAX = 16 << 20;

/** Subscribers of a topic or pattern, by gateway. */
type Counts = number[];

export interface TopicServiceOptions {
  readonly pushes: PushSink;
  readonly roll: RollCall;
  /** A monotonic clock, ms. */
  readonly monotonicMs: () => number;
}

export class TopicService implements RequestHandler {
  readonly kinds: readonly number[] = [REQUEST_TOPIC_INTEREST, REQUEST_TOPIC_PUBLISH, REQUEST_TOPIC_ROLL, REQUEST_TOPIC_CENSUS];
  readonly writeKinds: readonly number[] = [];
  /** Publications let go because too many waited. */
  dropped = 0;
  readonly #options: TopicServiceOptions;
  readonly #topics = new Map<string, Counts>();
  readonly #patterns = new Map<string, { readonly pattern: TopicPattern; readonly counts: Counts }>();
  #held: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(options: TopicServiceOptions) {
    this.#options = options;
  }

  /** A publication is answered with the number of its receivers, u32; 0 while they are not known. */
  answer({ kind, body, gateway }: GridRequest): readonly Uint8Array[] {
    if (kind === REQUEST_TOPIC_CENSUS) return [encodeCensus(this.#census(body))];
    if (kind === REQUEST_TOPIC_INTEREST) this.#setInterest(body, gateway);
    else if (kind === REQUEST_TOPIC_ROLL) this.#options.roll.told(gateway);
    else if (this.#isHolding()) this.#hold(body);
    else return [Uint8Array.from(new Uint8Array(Uint32Array.of(this.#publish(body)).buffer))];
    this.tick();
    return [];
  }

  /** Call it every so often: lets go on what waits for gateways that keep silent. */
  tick(): void {
    if (this.#held.length === 0 || this.#isHolding()) return;
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const body of held) this.#publish(body);
  }

  #isHolding(): boolean {
    return !this.#options.roll.isComplete(this.#options.monotonicMs());
  }

  #hold(body: Uint8Array): void {
    this.#held.push(body);
    this.#heldBytes += body.length;
    while (this.#heldBytes > HELD_BYTES_MAX) {
      this.#heldBytes -= this.#held.shift()?.length ?? 0;
      this.dropped += 1;
    }
  }

  #setInterest(body: Uint8Array, gateway: number): void {
    const { topics, patterns } = decodeInterest(body);
    for (const told of topics) {
      const counts = this.#topics.get(told[0]) ?? [];
      if (setCount(counts, gateway, told)) this.#topics.set(told[0], counts);
      else this.#topics.delete(told[0]);
    }
    for (const told of patterns) {
      const known = this.#patterns.get(told[0]) ?? { pattern: new TopicPattern(told[0]), counts: [] };
      if (setCount(known.counts, gateway, told)) this.#patterns.set(told[0], known);
      else this.#patterns.delete(told[0]);
    }
  }

  /** Who is subscribed to the topics of this worker. Throws GridError OVERLOADED when there are too many to be told. */
  #census(body: Uint8Array): TopicCensus {
    const { matching, of } = decodeCensusWish(body);
    const names = new NamesInBounds();
    if (matching !== undefined) {
      const pattern = new TopicPattern(matching);
      for (const topic of this.#topics.keys()) if (pattern.matches(topic)) names.add(topic);
    }
    const subscribers = of.map((topic) => this.#topics.get(topic)?.reduce((sum, count) => sum + count, 0) ?? 0);
    return { topics: names.all, subscribers, patterns: this.#patterns.size };
  }

  /** Tells every gateway with subscribers. Returns how many subscribers there are. */
  #publish(body: Uint8Array): number {
    const publication = new Publication(body);
    const receivers: Counts = [];
    addCounts(receivers, this.#topics.get(publication.topic));
    for (const { pattern, counts } of this.#patterns.values()) {
      if (pattern.matches(publication.topic)) addCounts(receivers, counts);
    }
    let sum = 0;
    receivers.forEach((count, gateway) => {
      if (count > 0) this.#options.pushes.push(gateway, 0, PUSH_TOPIC, body, true); // who hears that it is published finds it delivered
      sum += count;
    });
    return sum;
  }
}

/** True when anybody is left. */
function setCount(counts: Counts, gateway: number, [name, count]: InterestCount): boolean {
  assert(count >= 0, `${count} subscribers of ${name}`);
  counts[gateway] = count;
  return counts.some((subscribers) => subscribers > 0);
}

function addCounts(sums: Counts, counts: Counts | undefined): void {
  counts?.forEach((count, gateway) => {
    sums[gateway] = (sums[gateway] ?? 0) + count;
  });
}
