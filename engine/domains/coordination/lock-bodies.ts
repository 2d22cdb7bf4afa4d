/** Requests and pushes of the lock domain, as MessagePack between gateways and workers. Both ends are this program: what is wrong is a bug. */
import { assert } from '../../assert.ts';
import { type Data, decode, encode, isData } from '../../protocol/codec.ts';

/** A request as it crosses the ring; the session stands in the envelope. */
export interface LockAsk {
  readonly requestId: string;
  readonly name: string;
  readonly ttlMs: number | undefined;
}

export interface LockToken {
  readonly name: string;
  readonly token: number;
}

export interface GrantTold extends LockToken {
  readonly requestId: string;
  /** ms; Infinity: it does not end by itself. */
  readonly remainingMs: number;
}

/** What a gateway knows of locks of a worker that was replaced; `isLast` ends the telling. */
export interface LockRoll {
  readonly held: readonly {
    readonly session: number;
    readonly name: string;
    readonly token: number;
    readonly remainingMs: number;
  }[];
  readonly waiting: readonly (LockAsk & { readonly session: number })[];
  readonly isLast: boolean;
}

export function encodeAsk({ requestId, name, ttlMs }: LockAsk): Uint8Array {
  return encode({ requestId, name, ttlMs: ttlMs ?? null }).slice();
}

export function decodeAsk(body: Uint8Array): LockAsk {
  return askIn(mapOf(decode(body)));
}

export function encodeToken({ name, token }: LockToken): Uint8Array {
  return encode({ name, token }).slice();
}

export function decodeToken(body: Uint8Array): LockToken {
  const told = mapOf(decode(body));
  return { name: textIn(told, 'name'), token: numberIn(told, 'token') };
}

export function encodeGrant({ requestId, name, token, remainingMs }: GrantTold): Uint8Array {
  return encode({ requestId, name, token, remainingMs }).slice();
}

export function decodeGrant(body: Uint8Array): GrantTold {
  const told = mapOf(decode(body));
  return {
    requestId: textIn(told, 'requestId'),
    name: textIn(told, 'name'),
    token: numberIn(told, 'token'),
    remainingMs: numberIn(told, 'remainingMs'),
  };
}

export function encodeRoll({ held, waiting, isLast }: LockRoll): Uint8Array {
  return encode({ held, waiting: waiting.map((ask) => ({ ...ask, ttlMs: ask.ttlMs ?? null })), isLast }).slice();
}

export function decodeRoll(body: Uint8Array): LockRoll {
  const told = mapOf(decode(body));
  return {
    held: listIn(told, 'held').map((lock) => ({
      session: numberIn(lock, 'session'),
      name: textIn(lock, 'name'),
      token: numberIn(lock, 'token'),
      remainingMs: numberIn(lock, 'remainingMs'),
    })),
    waiting: listIn(told, 'waiting').map((ask) => ({ ...askIn(ask), session: numberIn(ask, 'session') })),
    isLast: told.isLast === true,
  };
}

function askIn(told: Data): LockAsk {
  const ttlMs = told.ttlMs === null ? undefined : numberIn(told, 'ttlMs');
  return { requestId: textIn(told, 'requestId'), name: textIn(told, 'name'), ttlMs };
}

function mapOf(value: unknown): Data {
  assert(isData(value), 'a body of the lock domain is a map');
  return value;
}

function listIn(told: Data, field: string): Data[] {
  const list = told[field];
  assert(Array.isArray(list), `${field} is a list`);
  return list.map(mapOf);
}

function textIn(told: Data, field: string): string {
  const text = told[field];
  assert(typeof text === 'string', `${field} is a text`);
  return text;
}

function numberIn(told: Data, field: string): number {
  const number = told[field];
  assert(typeof number === 'number', `${field} is a number`);
  return number;
}
