/**
 * What a golden data directory holds beside records of clients: keys of Redis, PN counters, and the fencing token of a lock.
 *
 *   stored   before Postgres went away        logged   while it was
 */
import assert from 'node:assert/strict';
import { readCounterState } from '../../engine/crdt/pn-counter.ts';
import type { Message } from './client-codec.ts';
import { numberIn, opAck, payloadOf } from './client-fields.ts';
import { RespClient } from './resp-client.ts';
import { nextStamp, put } from './wire-ops.ts';
import { WireSession } from './wire-session.ts';

const COUNTER = 'golden-count';
const LOCK = 'golden-lock';
const FENCED_MAP = 'golden-fenced';
const CENTURY_S = 100 * 365 * 86_400;

/** What a later version must find. */
export interface GoldenDoors {
  /** Replies to GET and the like, by the command. */
  readonly replies: Readonly<Record<string, string>>;
  readonly counter: { readonly positive: Readonly<Record<string, number>>; readonly negative: Readonly<Record<string, number>> };
  /** Two tokens that were granted, one after the other. */
  readonly tokens: readonly [number, number];
}

const QUESTIONS = ['GET text', 'GET json', 'GET number', 'GET bytes', 'GET only-logged', 'HGET golden-hash k', 'EXISTS gone'];

export class GoldenWriter {
  readonly #session: WireSession;
  readonly #redis: RespClient;

  private constructor(session: WireSession, redis: RespClient) {
    this.#session = session;
    this.#redis = redis;
  }

  static async open(port: number, respPort: number): Promise<GoldenWriter> {
    const session = await WireSession.open({ port });
    session.send({ type: 'DEVICE_HELLO' });
    await session.next('DEVICE_ACK');
    return new GoldenWriter(session, await RespClient.open(respPort));
  }

  async writeStored(): Promise<void> {
    await this.#run('SET', 'text', 'plain', 'EX', String(CENTURY_S));
    await this.#run('SET', 'json', '{"a":[1,"ключ"]}');
    await this.#run('SET', 'number', '41');
    await this.#run('SET', 'bytes', Buffer.from([0xff, 0, 0xfe]));
    await this.#run('HSET', 'golden-hash', 'k', '{"b":true}');
    await this.#count({ positive: { ann: 5 }, negative: { ann: 1.5 } });
  }

  async writeLogged(): Promise<void> {
    await this.#run('INCR', 'number');
    await this.#run('SET', 'only-logged', 'while Postgres was away');
    await this.#run('HSET', 'golden-hash', 'k', '{"b":false}');
    await this.#count({ positive: { ann: 8 }, negative: {} });
    await this.#count({ positive: { ben: 3 }, negative: {} });
  }

  async lockTwice(): Promise<[number, number]> {
    const first = await this.#lock();
    this.#session.send({ type: 'LOCK_RELEASE', payload: { requestId: 'r', name: LOCK, fencingToken: first } });
    await this.#session.next('LOCK_RELEASED');
    return [first, await this.#lock()];
  }

  async #run(...words: readonly (string | Buffer)[]): Promise<void> {
    const reply = await this.#redis.text(...words);
    assert.ok(!reply.startsWith('-'), reply);
  }

  async #count(state: Message): Promise<void> {
    this.#session.send({ type: 'COUNTER_SYNC', payload: { name: COUNTER, state } });
    await this.#session.next('COUNTER_UPDATE');
  }

  async #lock(): Promise<number> {
    this.#session.send({ type: 'LOCK_REQUEST', payload: { requestId: 'l', name: LOCK, ttl: 600_000 } });
    return numberIn(payloadOf(await this.#session.next('LOCK_GRANTED')), 'fencingToken');
  }

  close(): void {
    this.#session.socket.terminate();
    this.#redis.close();
  }
}

/** What clients of these doors see. */
export async function seenAtDoors(port: number, respPort: number): Promise<Omit<GoldenDoors, 'tokens'>> {
  const session = await WireSession.open({ port });
  const redis = await RespClient.open(respPort);
  try {
    const replies: Record<string, string> = {};
    for (const question of QUESTIONS) replies[question] = await redis.text(...question.split(' '));
    session.send({ type: 'COUNTER_REQUEST', payload: { name: COUNTER } });
    const state = readCounterState(payloadOf(await session.next('COUNTER_RESPONSE')).state);
    const sideOf = (side: ReadonlyMap<string, number> | undefined): Record<string, number> =>
      Object.fromEntries([...(side ?? [])].sort(([left], [right]) => (left < right ? -1 : 1)));
    return { replies, counter: { positive: sideOf(state?.positive), negative: sideOf(state?.negative) } };
  } finally {
    session.socket.terminate();
    redis.close();
  }
}

/** Which of the tokens a write is still taken under. */
export async function tokensTaken(port: number, tokens: readonly number[]): Promise<boolean[]> {
  const session = await WireSession.open({ port });
  try {
    const taken: boolean[] = [];
    for (const [index, token] of tokens.entries()) {
      const id = String(index + 1);
      session.sendOps({ ...put(id, FENCED_MAP, 'k', token, nextStamp()), fence: { lock: LOCK, token } });
      taken.push(opAck(payloadOf(await session.next('OP_ACK'))).results.every(({ success }) => success));
    }
    return taken;
  } finally {
    session.socket.terminate();
  }
}
