/**
 * Topics at a gateway: subscribes sessions and listeners of other doors, publishes, and hands out what workers push.
 *
 *   TOPIC_SUB, UNSUB ─ subscribers change ─▶ INTEREST to the owner of the topic (a pattern: to every worker)
 *   TOPIC_PUB        ─ framed once ────────▶ PUBLISH to the owner of the topic ─▶ PUSH to every gateway with subscribers
 *   PUSH             ─ one frame for all sessions, save for the publisher
 *
 * There are no replies. A slow subscriber is closed as every slow consumer is (outgoing.ts). Bounds: topics a session, subscriptions and
 * patterns a gateway, bytes of a message, and the length of a name; what passes them is answered with ERROR.
 */
import { assert } from '../engine/assert.ts';
import { encodeData, encodePublication, Publication } from '../engine/domains/messaging/publication.ts';
import { type CensusWish, decodeCensus, encodeCensusWish, type TopicCensus } from '../engine/domains/messaging/topic-census.ts';
import { encodeInterest, type InterestCount } from '../engine/domains/messaging/topic-interest.ts';
import { isTopicName } from '../engine/domains/messaging/topic-name.ts';
import type { CallStatus } from '../engine/operation/operation.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import {
  CALL_NONE,
  PUSH_TOPIC,
  REQUEST_TOPIC_CENSUS,
  REQUEST_TOPIC_INTEREST,
  REQUEST_TOPIC_PUBLISH,
  REQUEST_TOPIC_ROLL,
} from '../engine/protocol/envelope.ts';
import { GridError } from '../engine/protocol/errors.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import type { Desk, DeskContext } from './desk.ts';
import type { Session } from './session.ts';
import { type InterestKind, type TopicListener, TopicSubscribers } from './topic-subscribers.ts';

export type { TopicListener, TopicMessage } from './topic-subscribers.ts';

const SUBSCRIPTIONS_MAX = 1 << 18;
/** Workers look through all patterns at each message. */
const PATTERNS_MAX = 1000;
/** Of names and patterns from other doors; sessions have names of 256 characters. */
const NAME_CHARACTERS_MAX = 1024;
/** Interests in one record, when a replaced worker is told of all. */
const INTERESTS_PER_RECORD = 500;
const NO_BODY = new Uint8Array(0);

export interface TopicLimits {
  readonly topicsPerSession: number;
  readonly messageBytesMax: number;
}

export class TopicDesk implements Desk {
  readonly types = ['TOPIC_SUB', 'TOPIC_UNSUB', 'TOPIC_PUB'] as const;
  readonly pushKinds: readonly number[] = [PUSH_TOPIC];
  /** Messages published here, and handed to subscribers here. */
  published = 0;
  delivered = 0;
  readonly #context: DeskContext;
  readonly #limits: TopicLimits;
  readonly #subscribers = new TopicSubscribers((kind, name, count) => this.#tellInterest(kind, name, count));
  #number = 0;
  /** Per gateway and worker: the number of the last publication that came. */
  readonly #lastNumbers: number[] = [];

  constructor(context: DeskContext, limits: TopicLimits) {
    this.#context = context;
    this.#limits = limits;
  }

  /** Subscriptions of sessions and listeners. */
  get subscriptions(): number {
    return this.#subscribers.count;
  }

  ask(session: Session, message: ClientMessage): CallStatus {
    switch (message.type) {
      case 'TOPIC_SUB':
        return this.#subscribeSession(session, message.topic);
      case 'TOPIC_UNSUB':
        this.#subscribers.removeSession(session, message.topic);
        return 'VOID';
      case 'TOPIC_PUB':
        return this.#publishOf(session, message.topic, message.data);
      default:
        return 'VOID';
    }
  }

  /**
   * From now on `listener` gets what is published to `topic`; resolves when the topic's owner knows. Rejects with GridError
   * BAD_REQUEST (a name of 0 or more than 1024 characters), OVERLOADED (too many subscriptions), UNAVAILABLE: then nothing is subscribed.
   */
  async subscribe(listener: TopicListener, topic: string): Promise<void> {
    this.#assertRoom(topic);
    this.#subscribers.addListener(listener, topic);
    await this.#known([this.#ownerOf(topic)]).catch((error: unknown) => {
      this.#subscribers.removeListener(listener, topic);
      throw error;
    });
  }

  /** As `subscribe`, for all topics that a pattern fits (`*`, `?`, `[a-z]`, `\x`); every message tells the pattern it came by. */
  async subscribePattern(listener: TopicListener, pattern: string): Promise<void> {
    this.#assertRoom(pattern);
    if (this.#subscribers.patterns >= PATTERNS_MAX && !this.#subscribers.knows(pattern))
      throw new GridError('OVERLOADED', `there are ${PATTERNS_MAX} patterns already`);
    this.#subscribers.addPattern(listener, pattern);
    await this.#known(this.#context.calls.everyone).catch((error: unknown) => {
      this.#subscribers.removePattern(listener, pattern);
      throw error;
    });
  }

  unsubscribe(listener: TopicListener, topic: string): void {
    this.#subscribers.removeListener(listener, topic);
  }

  unsubscribePattern(listener: TopicListener, pattern: string): void {
    this.#subscribers.removePattern(listener, pattern);
  }

  /**
   * Publishes for a door without sessions; the order of calls is kept. Resolves with the number of subscribers, sessions included, a listener
   * once for each pattern that fits. Rejects with GridError BAD_REQUEST, OVERLOADED, UNAVAILABLE, DEADLINE_EXCEEDED.
   * @param data the payload in MessagePack. @param publisherId as subscribers are told.
   */
  async publish(topic: string, data: Uint8Array, publisherId: string): Promise<number> {
    assertName(topic);
    if (data.length > this.#limits.messageBytesMax) throw new GridError('BAD_REQUEST', tooLarge(this.#limits.messageBytesMax));
    const body = this.#newPublication(0, topic, data, publisherId);
    const [parts] = await this.#context.calls.request(REQUEST_TOPIC_PUBLISH, [this.#ownerOf(topic)], () => body);
    const count = parts?.[0];
    return count?.length === 4 ? new DataView(count.buffer, count.byteOffset).getUint32(0, true) : 0;
  }

  /** Who is subscribed at all gateways. Rejects with GridError, OVERLOADED when more topics match than can be told. */
  async census(wish: CensusWish): Promise<TopicCensus> {
    const body = encodeCensusWish(wish);
    const { calls } = this.#context;
    const answers = await calls.request(REQUEST_TOPIC_CENSUS, calls.everyone, () => body, { repeats: 'idempotent' });
    const censuses = answers.flatMap(([part]) => (part === undefined ? [] : [decodeCensus(part)]));
    return {
      topics: censuses.flatMap(({ topics }) => topics),
      subscribers: wish.of.map((_, index) => censuses.reduce((sum, { subscribers }) => sum + (subscribers[index] ?? 0), 0)),
      patterns: Math.max(0, ...censuses.map(({ patterns }) => patterns)),
    };
  }

  pushed(worker: number, _session: Session | undefined, kind: number, body: Uint8Array): void {
    assert(kind === PUSH_TOPIC, `push of kind ${kind}`);
    const publication = new Publication(body);
    const from = publication.gateway * this.#context.links.count + worker;
    const last = this.#lastNumbers[from];
    // A worker that replaces another runs again what its predecessor may have pushed already.
    if (last !== undefined && ((publication.number - last) | 0) <= 0) return;
    this.#lastNumbers[from] = publication.number;
    this.#deliver(publication);
  }

  closed(session: Session): void {
    this.#subscribers.leave(session);
  }

  workerReplaced(worker: number): void {
    const topics: InterestCount[] = [];
    const patterns: InterestCount[] = [];
    const tell = (): void => {
      if (topics.length + patterns.length === 0) return;
      this.#tell(worker, REQUEST_TOPIC_INTEREST, encodeInterest({ topics, patterns }));
      topics.length = 0;
      patterns.length = 0;
    };
    for (const [kind, name, count] of this.#subscribers.interests()) {
      if (kind === 'patterns') patterns.push([name, count]);
      else if (this.#ownerOf(name) === worker) topics.push([name, count]);
      if (topics.length + patterns.length >= INTERESTS_PER_RECORD) tell();
    }
    tell();
    this.#tell(worker, REQUEST_TOPIC_ROLL, NO_BODY);
  }

  #subscribeSession(session: Session, topic: string): CallStatus {
    if (!isTopicName(topic)) return this.#refuse(session, 'BAD_REQUEST', NOT_A_NAME);
    if (!this.#context.links.takesOf(session, this.#ownerOf(topic))) return 'HELD';
    if (this.#subscribers.topicsOf(session) >= this.#limits.topicsPerSession || this.#subscribers.count >= SUBSCRIPTIONS_MAX) {
      return this.#refuse(session, 'OVERLOADED', `more than ${this.#limits.topicsPerSession} topics, or too many on this server`);
    }
    this.#subscribers.addSession(session, topic);
    return 'VOID';
  }

  #publishOf(session: Session, topic: string, payload: unknown): CallStatus {
    if (!isTopicName(topic)) return this.#refuse(session, 'BAD_REQUEST', NOT_A_NAME);
    const worker = this.#ownerOf(topic);
    if (!this.#context.links.takesOf(session, worker)) return 'HELD';
    const data = encodeData(payload);
    const { messageBytesMax } = this.#limits;
    if (data.length > messageBytesMax) return this.#refuse(session, 'BAD_REQUEST', tooLarge(messageBytesMax));
    const publisherId = session.principal?.id ?? session.deviceId ?? String(session.id);
    this.#tell(worker, REQUEST_TOPIC_PUBLISH, this.#newPublication(session.id, topic, data, publisherId));
    return 'VOID';
  }

  #newPublication(session: number, topic: string, data: Uint8Array, publisherId: string): Uint8Array {
    this.published += 1;
    this.#number = (this.#number + 1) >>> 0;
    const { gateway, clock } = this.#context;
    return encodePublication({ number: this.#number, gateway, session, topic, data, publisherId, timestampMs: clock.wallMs });
  }

  #deliver(publication: Publication): void {
    const { gateway, enqueue } = this.#context;
    const { topic } = publication;
    const publisher = publication.gateway === gateway ? publication.session : 0;
    const sessions = this.#subscribers.sessionsOf(topic);
    if (sessions !== undefined && sessions.size > 0) {
      const { frame } = publication;
      for (const session of sessions) {
        if (session.id === publisher || !session.access.may('subscribe', topic)) continue;
        enqueue(session, frame);
        this.delivered += 1;
      }
    }
    this.delivered += this.#subscribers.tellListeners(topic, publication.data);
  }

  #tellInterest(kind: InterestKind, name: string, count: number): void {
    const told: readonly InterestCount[] = [[name, count]];
    const body = encodeInterest(kind === 'topics' ? { topics: told, patterns: [] } : { topics: [], patterns: told });
    const workers = kind === 'topics' ? [this.#ownerOf(name)] : this.#context.calls.everyone;
    for (const worker of workers) this.#tell(worker, REQUEST_TOPIC_INTEREST, body);
  }

  #tell(worker: number, kind: number, body: Uint8Array): void {
    this.#context.links.request(worker, CALL_NONE, 0, kind, body, Number.NaN);
  }

  /** Resolves when the workers have taken what they were told before. */
  async #known(workers: readonly number[]): Promise<void> {
    const nothing = encodeInterest({ topics: [], patterns: [] });
    await this.#context.calls.request(REQUEST_TOPIC_INTEREST, workers, () => nothing);
  }

  #ownerOf(topic: string): number {
    return this.#context.links.table.ownerOf(partitionOf(fnv1a(topic)));
  }

  #assertRoom(name: string): void {
    assertName(name);
    if (this.#subscribers.count >= SUBSCRIPTIONS_MAX) throw new GridError('OVERLOADED', 'too many subscriptions on this server');
  }

  #refuse(session: Session, code: 'BAD_REQUEST' | 'OVERLOADED', text: string): CallStatus {
    this.#context.sendError(session, new GridError(code, text).status, `${code}: ${text}`);
    return 'RESPONSE';
  }
}

const NOT_A_NAME = 'the name of a topic is 1 to 256 of A-Z a-z 0-9 _ . : / -';

function tooLarge(bytesMax: number): string {
  return `a message of a topic has at most ${bytesMax} bytes`;
}

function assertName(name: string): void {
  if (name.length === 0 || name.length > NAME_CHARACTERS_MAX || !name.isWellFormed()) {
    throw new GridError('BAD_REQUEST', `a topic or pattern has 1 to ${NAME_CHARACTERS_MAX} characters`);
  }
}
