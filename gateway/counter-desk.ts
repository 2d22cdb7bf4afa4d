/**
 * PN counters at a gateway: which session watches which counter, and the way to the worker that has it.
 *
 *   COUNTER_REQUEST ─▶ worker of the name ─▶ COUNTER_RESPONSE          the session watches from now on
 *   COUNTER_SYNC    ─▶ worker of the name ─▶ COUNTER_UPDATE to the sender
 *   PUSH_COUNTER    ─▶ COUNTER_UPDATE to every other session that watches
 *
 * The worker frames what clients are told. What it writes for several increments at once goes to those who made them, too.
 *
 * The worker is told of the first session here that watches a counter, and of the last one that leaves. A sum is written in
 * the name of the session's device; a session that never said which it is gets a name for its life.
 *
 * Source: docs/PROTOCOL.md §8.3.
 */
import { randomUUID } from 'node:crypto';
import type { CallStatus } from '../engine/operation/operation.ts';
import { fnv1aUtf8, partitionOf } from '../engine/partition/hash.ts';
import { decode, encode, isData } from '../engine/protocol/codec.ts';
import type { CounterMessage } from '../engine/protocol/counter-messages.ts';
import {
  CALL_NONE,
  PUSH_COUNTER,
  REQUEST_COUNTER_LEAVE,
  REQUEST_COUNTER_READ,
  REQUEST_COUNTER_SYNC,
  REQUEST_COUNTER_WATCH,
} from '../engine/protocol/envelope.ts';
import { ERROR_CODES, errorNumber, GridError } from '../engine/protocol/errors.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import { encodeText } from '../engine/protocol/wire-text.ts';
import type { Gather } from './call-table.ts';
import type { Desk, DeskContext } from './desk.ts';
import type { Session } from './session.ts';

const NAME_BYTES_MAX = 256;
/** Counters that one session watches. */
const WATCHED_MAX = 1000;
/** Names in one request to a worker that was replaced. */
const NAMES_TOGETHER = 500;

export class CounterDesk implements Desk {
  readonly types = ['COUNTER_REQUEST', 'COUNTER_SYNC'] as const;
  readonly pushKinds = [PUSH_COUNTER];
  readonly #context: DeskContext;
  readonly #watchers = new Map<string, Set<Session>>();
  readonly #watched = new Map<Session, Set<string>>();
  /** Names of sessions without a device. */
  readonly #guests = new WeakMap<Session, string>();

  constructor(context: DeskContext) {
    this.#context = context;
  }

  ask(session: Session, message: ClientMessage): CallStatus {
    if (message.type !== 'COUNTER_REQUEST' && message.type !== 'COUNTER_SYNC') return 'VOID';
    const refusal = this.#refusal(session, message);
    if (refusal !== undefined) {
      this.#context.sendError(session, refusal.status, `${refusal.code}: ${refusal.message}`);
      return 'RESPONSE';
    }
    if (!this.#ask(session, message)) return 'HELD';
    if (session.access.may('readCounter', message.name)) this.#watch(session, message.name);
    return 'WAIT';
  }

  pushed(_worker: number, _session: Session | undefined, _kind: number, body: Uint8Array): void {
    const push = decode(body);
    if (!isData(push) || typeof push.name !== 'string' || !(push.frame instanceof Uint8Array)) return;
    for (const session of this.#watchers.get(push.name) ?? []) {
      if (session.id === push.origin || !session.access.may('readCounter', push.name)) continue;
      this.#context.enqueue(session, push.frame);
    }
  }

  closed(session: Session): void {
    for (const name of this.#watched.get(session) ?? []) this.#leave(session, name);
    this.#watched.delete(session);
  }

  workerReplaced(worker: number): void {
    const names = [...this.#watchers.keys()].filter((name) => this.#workerOf(name) === worker);
    for (let from = 0; from < names.length; from += NAMES_TOGETHER) {
      this.#tell(worker, REQUEST_COUNTER_WATCH, { names: names.slice(from, from + NAMES_TOGETHER) });
    }
  }

  #refusal(session: Session, { type, name }: CounterMessage): GridError | undefined {
    if (name === '' || !name.isWellFormed() || encodeText(name).length > NAME_BYTES_MAX) {
      return new GridError('BAD_REQUEST', `a counter's name has 1 to ${NAME_BYTES_MAX} bytes of UTF-8`);
    }
    if (!session.access.may(type === 'COUNTER_SYNC' ? 'writeCounter' : 'readCounter', name)) {
      return new GridError('FORBIDDEN', `counter ${name}`);
    }
    const worker = this.#workerOf(name);
    if (this.#context.links.firstRefused(1 << worker) >= 0)
      return new GridError('UNAVAILABLE', `worker ${worker} does not answer, try again later`);
    const watched = this.#watched.get(session);
    if (watched === undefined || watched.size < WATCHED_MAX || watched.has(name)) return undefined;
    return new GridError('TOO_MANY_COUNTERS', `a connection watches up to ${WATCHED_MAX} counters`);
  }

  /** False when no call is free now, or the worker takes nothing. */
  #ask(session: Session, message: CounterMessage): boolean {
    const { name } = message;
    const worker = this.#workerOf(name);
    if (!this.#context.links.takesOf(session, worker)) return false;
    const isSync = message.type === 'COUNTER_SYNC';
    const isBlind = !session.access.may('readCounter', name);
    const body = isSync ? { name, state: message.state, device: this.#deviceOf(session), isBlind } : { name };
    const kind = isSync ? REQUEST_COUNTER_SYNC : REQUEST_COUNTER_READ;
    const bytes = encode(body).slice();
    return this.#context.calls.ask(session, kind, [worker], () => bytes, new CounterGather(this.#context, session, message));
  }

  #deviceOf(session: Session): string {
    if (session.deviceId !== undefined) return session.deviceId;
    const known = this.#guests.get(session) ?? `guest:${randomUUID()}`;
    this.#guests.set(session, known);
    return known;
  }

  #watch(session: Session, name: string): void {
    const watchers = this.#watchers.get(name) ?? new Set();
    this.#watchers.set(name, watchers.add(session));
    const watched = this.#watched.get(session) ?? new Set();
    this.#watched.set(session, watched.add(name));
  }

  #leave(session: Session, name: string): void {
    const watchers = this.#watchers.get(name);
    watchers?.delete(session);
    if (watchers?.size !== 0) return;
    this.#watchers.delete(name);
    this.#tell(this.#workerOf(name), REQUEST_COUNTER_LEAVE, { name });
  }

  /** Nobody waits for the answer. */
  #tell(worker: number, kind: number, body: object): void {
    this.#context.links.request(worker, CALL_NONE, 0, kind, encode(body).slice(), Number.NaN);
  }

  #workerOf(name: string): number {
    const bytes = encodeText(name);
    return this.#context.links.table.ownerOf(partitionOf(fnv1aUtf8(bytes, 0, bytes.length)));
  }
}

/** Sends a session what the worker answers. */
class CounterGather implements Gather {
  readonly #context: DeskContext;
  readonly #session: Session;
  readonly #message: CounterMessage;
  #error = -1;
  #body: Uint8Array | undefined;

  constructor(context: DeskContext, session: Session, message: CounterMessage) {
    this.#context = context;
    this.#session = session;
    this.#message = message;
  }

  answered(_worker: number, error: number, body: Uint8Array): void {
    this.#error = error;
    this.#body = body;
  }

  complete(): void {
    if (this.#error >= 0 || this.#body === undefined) return this.#fail(this.#error);
    const { type, name } = this.#message;
    const answer = decode(this.#body);
    // Who only writes is not told what it meets there, nor who may not read any more.
    if (!isData(answer) || !(answer.frame instanceof Uint8Array) || !this.#session.access.may('readCounter', name)) return;
    this.#context.enqueue(this.#session, answer.frame);
    if (type === 'COUNTER_REQUEST' || answer.refused === 0) return;
    const message = `FORBIDDEN: ${String(answer.refused)} nodes of counter ${name} belong to other devices`;
    this.#context.sendError(this.#session, new GridError('FORBIDDEN', '').status, message);
  }

  expired(): void {
    this.#fail(errorNumber('DEADLINE_EXCEEDED'));
  }

  #fail(error: number): void {
    const code = ERROR_CODES[error] ?? 'INTERNAL';
    this.#context.sendError(this.#session, new GridError(code, '').status, `${code}: counter ${this.#message.name}`);
  }
}
