/**
 * Who listens to what at one gateway: sessions and listeners of other doors, by topic and by pattern.
 *
 *   byTopic     topic → sessions, listeners
 *   byPattern   pattern → listeners               sessions have no patterns
 *
 * `onCount` hears of each new number of subscribers: the workers are told. The number of all subscriptions is bounded.
 */
import type { Access } from '../engine/domains/security/access.ts';
import { TopicPattern } from '../engine/domains/messaging/topic-pattern.ts';
import type { Session } from './session.ts';

/** A message of a topic, as a door without sessions gets it. */
export interface TopicMessage {
  readonly topic: string;
  /** The pattern that it was asked for by; undefined: by the topic's name. */
  readonly pattern: string | undefined;
  /** The payload in MessagePack. Shared by all listeners: to be read only. */
  readonly data: Uint8Array;
}

/** A subscriber that is no session: a Redis client, an event stream. */
export interface TopicListener {
  /** Asked at each message: it may have changed since the subscription. */
  readonly access: Access;
  received(message: TopicMessage): void;
}

interface Subscribers {
  readonly sessions: Set<Session>;
  readonly listeners: Set<TopicListener>;
}

interface PatternListeners {
  readonly pattern: TopicPattern;
  readonly listeners: Set<TopicListener>;
}

export type InterestKind = 'topics' | 'patterns';

/** Told how many subscribers a topic, or a pattern, has now. */
export type OnCount = (kind: InterestKind, name: string, count: number) => void;

export class TopicSubscribers {
  readonly #byTopic = new Map<string, Subscribers>();
  readonly #byPattern = new Map<string, PatternListeners>();
  readonly #topicsOf = new Map<Session, Set<string>>();
  readonly #onCount: OnCount;
  /** All subscriptions. */
  count = 0;

  constructor(onCount: OnCount) {
    this.#onCount = onCount;
  }

  /** Topics that the session is subscribed to. */
  topicsOf(session: Session): number {
    return this.#topicsOf.get(session)?.size ?? 0;
  }

  addSession(session: Session, topic: string): void {
    const topics = this.#topicsOf.get(session) ?? new Set();
    this.#topicsOf.set(session, topics.add(topic));
    const subscribers = this.#subscribers(topic);
    if (subscribers.sessions.has(session)) return;
    subscribers.sessions.add(session);
    this.#changed(topic, 1);
  }

  removeSession(session: Session, topic: string): void {
    this.#topicsOf.get(session)?.delete(topic);
    if (this.#byTopic.get(topic)?.sessions.delete(session) === true) this.#changed(topic, -1);
  }

  /** The session is gone. */
  leave(session: Session): void {
    for (const topic of this.#topicsOf.get(session) ?? []) this.removeSession(session, topic);
    this.#topicsOf.delete(session);
  }

  addListener(listener: TopicListener, topic: string): void {
    const subscribers = this.#subscribers(topic);
    if (subscribers.listeners.has(listener)) return;
    subscribers.listeners.add(listener);
    this.#changed(topic, 1);
  }

  removeListener(listener: TopicListener, topic: string): void {
    if (this.#byTopic.get(topic)?.listeners.delete(listener) === true) this.#changed(topic, -1);
  }

  addPattern(listener: TopicListener, pattern: string): void {
    const known = this.#byPattern.get(pattern) ?? { pattern: new TopicPattern(pattern), listeners: new Set() };
    this.#byPattern.set(pattern, known);
    if (known.listeners.has(listener)) return;
    known.listeners.add(listener);
    this.count += 1;
    this.#onCount('patterns', pattern, known.listeners.size);
  }

  removePattern(listener: TopicListener, pattern: string): void {
    const known = this.#byPattern.get(pattern);
    if (known?.listeners.delete(listener) !== true) return;
    if (known.listeners.size === 0) this.#byPattern.delete(pattern);
    this.count -= 1;
    this.#onCount('patterns', pattern, known.listeners.size);
  }

  /** True for a pattern that somebody listens by. */
  knows(pattern: string): boolean {
    return this.#byPattern.has(pattern);
  }

  get patterns(): number {
    return this.#byPattern.size;
  }

  sessionsOf(topic: string): ReadonlySet<Session> | undefined {
    return this.#byTopic.get(topic)?.sessions;
  }

  /** Hands a message to everybody who is no session and may have it. Returns how many got it. */
  tellListeners(topic: string, data: Uint8Array): number {
    let told = 0;
    for (const listener of [...(this.#byTopic.get(topic)?.listeners ?? [])]) {
      if (!listener.access.may('subscribe', topic)) continue;
      listener.received({ topic, pattern: undefined, data });
      told += 1;
    }
    for (const [pattern, known] of this.#byPattern) {
      if (!known.pattern.matches(topic)) continue;
      for (const listener of [...known.listeners]) {
        if (!listener.access.may('subscribe', topic)) continue;
        listener.received({ topic, pattern, data });
        told += 1;
      }
    }
    return told;
  }

  /** Every topic with its subscribers, then every pattern. */
  *interests(): Generator<[kind: InterestKind, name: string, count: number]> {
    for (const [topic, { sessions, listeners }] of this.#byTopic) yield ['topics', topic, sessions.size + listeners.size];
    for (const [pattern, { listeners }] of this.#byPattern) yield ['patterns', pattern, listeners.size];
  }

  #subscribers(topic: string): Subscribers {
    const known = this.#byTopic.get(topic) ?? { sessions: new Set(), listeners: new Set() };
    this.#byTopic.set(topic, known);
    return known;
  }

  #changed(topic: string, by: 1 | -1): void {
    this.count += by;
    const subscribers = this.#byTopic.get(topic);
    const count = subscribers === undefined ? 0 : subscribers.sessions.size + subscribers.listeners.size;
    if (count === 0) this.#byTopic.delete(topic);
    this.#onCount('topics', topic, count);
  }
}
