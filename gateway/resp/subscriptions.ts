/**
 * The topics and patterns of one connection, and how their messages reach it.
 *
 *   SUBSCRIBE ─ the workers know ─ confirmed ─▶ messages, as they come          UNSUBSCRIBE, RESET, the end ─▶ none any more
 *                    └ messages that come meanwhile are held: they follow the confirmation
 */
import { replyOf } from '../../engine/domains/kv/refused-reply.ts';
import type { Access } from '../../engine/domains/security/access.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { TopicListener, TopicMessage } from '../topic-desk.ts';
import type { RespConnection } from './resp-connection.ts';

/** A connection's share of the patterns that a server may have: each is looked at for every message. */
const PATTERNS_MAX = 100;

export type SubscriptionKind = 'topics' | 'patterns';

export class Subscriptions implements TopicListener {
  readonly #connection: RespConnection;
  readonly #names: Record<SubscriptionKind, Set<string>> = { topics: new Set(), patterns: new Set() };
  /** What came while a subscription was under way. */
  #held: Uint8Array[] | undefined;
  #heldBytes = 0;
  #isOver = false;

  constructor(connection: RespConnection) {
    this.#connection = connection;
  }

  get access(): Access {
    return this.#connection.access;
  }

  get topics(): number {
    return this.#names.topics.size;
  }

  get patterns(): number {
    return this.#names.patterns.size;
  }

  get count(): number {
    return this.topics + this.patterns;
  }

  received(message: TopicMessage): void {
    const connection = this.#connection;
    if (connection.isClosing) return;
    if (!connection.isKnown) return connection.kill(); // what a token allowed ends with it
    const frame = connection.context.frames.of(message, connection.isResp3);
    if (this.#held === undefined) return connection.push(frame);
    this.#held.push(frame);
    this.#heldBytes += frame.length;
    if (this.#heldBytes > connection.context.config.sessionBackpressureBytesMax) connection.killSlow();
  }

  /** Subscribes to all of them, and writes a confirmation, or an error, for each. */
  async add(kind: SubscriptionKind, names: readonly string[], out: RespWriter): Promise<void> {
    const { topicsPerSession } = this.#connection.context.config;
    const mine = this.#names[kind];
    const room = topicsPerSession - this.count;
    const newMax = kind === 'patterns' ? Math.min(room, PATTERNS_MAX - this.patterns) : room;
    this.#held = [];
    this.#heldBytes = 0;
    const begun = new Map<string, Promise<void>>();
    const beyond = new Set<string>();
    for (const name of names) {
      if (mine.has(name) || begun.has(name)) continue;
      if (begun.size < newMax) begun.set(name, this.#begin(kind, name));
      else beyond.add(name);
    }
    await Promise.allSettled(begun.values());
    const bound = newMax < room ? `${PATTERNS_MAX} patterns` : `${topicsPerSession} subscriptions`;
    const refusal = replyOf(new GridError('OVERLOADED', `a connection has at most ${bound}`));
    try {
      for (const name of names) {
        if (beyond.has(name)) out.error(refusal);
        else await this.#confirm(kind, name, begun.get(name), out);
      }
      for (const frame of this.#held) out.raw(frame);
    } finally {
      this.#held = undefined;
    }
    if (this.#isOver) this.end();
  }

  /** Ends some or, where none is named, all of that kind. */
  remove(kind: SubscriptionKind, named: readonly string[], out: RespWriter): void {
    const names = named.length > 0 ? named : [...this.#names[kind]];
    if (names.length === 0) this.#tell(kind === 'topics' ? 'unsubscribe' : 'punsubscribe', undefined, out);
    for (const name of names) {
      this.#forget(kind, name);
      this.#tell(kind === 'topics' ? 'unsubscribe' : 'punsubscribe', name, out);
    }
  }

  /** Ends all, without a word. */
  clear(): void {
    for (const kind of ['topics', 'patterns'] as const) for (const name of [...this.#names[kind]]) this.#forget(kind, name);
  }

  /** The connection is gone. */
  end(): void {
    this.#isOver = true;
    this.clear();
  }

  async #begin(kind: SubscriptionKind, name: string): Promise<void> {
    const { topics } = this.#connection.context;
    await (kind === 'topics' ? topics.subscribe(this, name) : topics.subscribePattern(this, name));
  }

  async #confirm(kind: SubscriptionKind, name: string, begun: Promise<void> | undefined, out: RespWriter): Promise<void> {
    try {
      await begun;
      this.#names[kind].add(name);
      this.#tell(kind === 'topics' ? 'subscribe' : 'psubscribe', name, out);
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      out.error(replyOf(error));
    }
  }

  #forget(kind: SubscriptionKind, name: string): void {
    const { topics } = this.#connection.context;
    if (!this.#names[kind].delete(name)) return;
    if (kind === 'topics') topics.unsubscribe(this, name);
    else topics.unsubscribePattern(this, name);
  }

  #tell(what: string, name: string | undefined, out: RespWriter): void {
    out.push(3);
    out.bulkText(what);
    if (name === undefined) out.nil();
    else out.bulkText(name);
    out.integer(this.count);
  }
}
