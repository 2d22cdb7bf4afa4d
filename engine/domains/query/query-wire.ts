/**
 * What gateways and workers say to each other about queries, in MessagePack.
 *
 *   SUB      {number, epoch, map, query, fields, rowsMax, bytesMax, after, scope, auth}       gateway → worker
 *   UNSUB    {number}
 *   PUSH     per query: number · epoch · items, one after the other                           worker → gateway
 *            [0 ENTER | 1 UPDATE, key, version, sort values, value as bytes]  [2 LEAVE, key]
 *            [3 GROUP, id, columns, count, [count, sum, min, max, …]]
 *            [4 READY, has more]  the first result, or one after a repair, is complete
 *            [5 FAILED, error code, reason]  the query is over here
 *
 * The number names the query at its gateway, the epoch which of the gateway's tries it is: what a worker says about an earlier
 * try is not heard.
 */
import { decode, encode, isData } from '../../protocol/codec.ts';
import { skipValue } from '../../protocol/msgpack-bounds.ts';
import { MessageWriter } from '../../protocol/msgpack-writer.ts';
import { assert } from '../../assert.ts';
import { type ErrorCode, ERROR_CODES } from '../../protocol/errors.ts';
import { fieldOf } from './attribute.ts';
import type { FieldSummary, GroupPartial } from './grouping.ts';
import type { QueryOwner } from './live-query.ts';
import type { Position } from './sort-order.ts';

export interface SubscribeBody {
  readonly number: number;
  readonly epoch: number;
  readonly mapName: string;
  readonly map: Uint8Array;
  readonly query: unknown;
  readonly fields: unknown;
  readonly rowsMax: number;
  readonly bytesMax: number;
  readonly after: Position | undefined;
  readonly scope: number;
  readonly auth: unknown;
}

export function encodeSubscribe(body: SubscribeBody): Uint8Array {
  return encode(body).slice();
}

export function decodeSubscribe(bytes: Uint8Array): SubscribeBody {
  const body = decode(bytes);
  const { number, epoch, mapName, map, rowsMax, bytesMax, scope } = fieldsOf(body);
  assert(
    typeof number === 'number' && typeof epoch === 'number' && typeof mapName === 'string' && map instanceof Uint8Array,
    'a subscription',
  );
  assert(typeof rowsMax === 'number' && typeof bytesMax === 'number' && typeof scope === 'number', 'bounds of a subscription');
  const after = fieldOf(body, 'after');
  const sort = fieldOf(after, 'sort');
  const key = fieldOf(after, 'key');
  return {
    number,
    epoch,
    mapName,
    map,
    query: fieldOf(body, 'query'),
    fields: fieldOf(body, 'fields') ?? undefined,
    rowsMax,
    bytesMax,
    after: Array.isArray(sort) && typeof key === 'string' ? { sort, key } : undefined,
    scope,
    auth: fieldOf(body, 'auth') ?? undefined,
  };
}

export function encodeUnsubscribe(number: number): Uint8Array {
  return encode({ number }).slice();
}

export function decodeUnsubscribe(bytes: Uint8Array): number {
  const number = fieldOf(decode(bytes), 'number');
  assert(typeof number === 'number', 'a number of a query');
  return number;
}

function fieldsOf(body: unknown): Readonly<Record<string, unknown>> {
  assert(isData(body), 'a body is a map');
  return body;
}

const ENTER = 0;
const UPDATE = 1;
const LEAVE = 2;
const GROUP = 3;
const READY = 4;
const FAILED = 5;

export type QueryItem =
  | {
      readonly type: 'ENTER' | 'UPDATE';
      readonly key: string;
      readonly version: number;
      readonly sort: readonly unknown[];
      readonly value: Uint8Array;
    }
  | { readonly type: 'LEAVE'; readonly key: string }
  | { readonly type: 'GROUP'; readonly partial: GroupPartial }
  | { readonly type: 'READY'; readonly hasMore: boolean }
  | { readonly type: 'FAILED'; readonly code: ErrorCode; readonly reason: string };

/** Builds the pushes for one gateway, item after item; a push ends when it is long enough. */
export class QueryPushWriter {
  readonly #writer = new MessageWriter(1024);
  readonly #send: (body: Uint8Array) => void;
  readonly #bytesMax: number;
  #openOwner: QueryOwner | undefined;
  #itemsAt = 0;
  #items = 0;

  /** @param bytesMax after how many bytes a push is sent; one item may exceed it. */
  constructor(send: (body: Uint8Array) => void, bytesMax = 256 * 1024) {
    this.#send = send;
    this.#bytesMax = bytesMax;
  }

  /** Bytes that were not sent yet. */
  get length(): number {
    return this.#writer.length;
  }

  row(
    owner: QueryOwner,
    type: 'ENTER' | 'UPDATE',
    key: string,
    version: number,
    sort: readonly unknown[],
    value: { source: Uint8Array; start: number; length: number },
  ): void {
    const out = this.#item(owner, 5, type === 'ENTER' ? ENTER : UPDATE);
    out.string(key);
    out.number(version);
    out.arrayHeader(sort.length);
    for (const field of sort) writeScalar(out, field);
    out.bin(value.source, value.start, value.length);
  }

  leave(owner: QueryOwner, key: string): void {
    this.#item(owner, 2, LEAVE).string(key);
  }

  group(owner: QueryOwner, { id, columns, count, fields }: GroupPartial): void {
    const out = this.#item(owner, 5, GROUP);
    out.string(id);
    const encoded = encode(columns);
    out.raw(encoded, 0, encoded.length);
    out.number(count);
    out.arrayHeader(fields.length * 4);
    for (const field of fields) for (const number of [field.count, field.sum, field.min, field.max]) out.number(number);
  }

  ready(owner: QueryOwner, hasMore: boolean): void {
    this.#item(owner, 2, READY).bool(hasMore);
  }

  failed(owner: QueryOwner, code: ErrorCode, reason: string): void {
    const out = this.#item(owner, 3, FAILED);
    out.number(ERROR_CODES.indexOf(code));
    out.string(reason.slice(0, 1000));
  }

  flush(): void {
    this.#endItems();
    if (this.#writer.length === 0) return;
    this.#send(this.#writer.bytes.slice(0, this.#writer.length));
    this.#writer.reset();
  }

  #item(owner: QueryOwner, fields: number, type: number): MessageWriter {
    if (this.#writer.length > this.#bytesMax) this.flush();
    if (this.#openOwner !== owner) {
      this.#endItems();
      this.#writer.number(owner.number);
      this.#writer.number(owner.epoch);
      this.#itemsAt = this.#writer.reserveArray();
      this.#openOwner = owner;
    }
    this.#items += 1;
    this.#writer.arrayHeader(fields);
    this.#writer.number(type);
    return this.#writer;
  }

  #endItems(): void {
    if (this.#openOwner === undefined) return;
    this.#writer.patchArray(this.#itemsAt, this.#items);
    this.#openOwner = undefined;
    this.#items = 0;
  }
}

function writeScalar(out: MessageWriter, value: unknown): void {
  if (typeof value === 'string') out.string(value);
  else if (typeof value === 'number') out.number(value);
  else if (typeof value === 'boolean') out.bool(value);
  else if (value === null) out.nil();
  else out.arrayHeader(0); // has no order of its own (sort-order.ts)
}

/** Calls `take` with the items of each query in a push. */
export function readPush(body: Uint8Array, take: (number: number, epoch: number, items: readonly QueryItem[]) => void): void {
  for (let at = 0; at < body.length; ) {
    const numberEnd = valueEnd(body, at);
    const epochEnd = valueEnd(body, numberEnd);
    const end = valueEnd(body, epochEnd);
    const number = decode(body, at, numberEnd);
    const epoch = decode(body, numberEnd, epochEnd);
    const items = decode(body, epochEnd, end);
    assert(typeof number === 'number' && typeof epoch === 'number' && Array.isArray(items), 'items of a query');
    take(number, epoch, items.map(itemOf));
    at = end;
  }
}

function valueEnd(body: Uint8Array, at: number): number {
  const end = skipValue(body, at, body.length);
  assert(end > at, 'a push is well formed');
  return end;
}

function itemOf(item: unknown): QueryItem {
  assert(Array.isArray(item), 'an item');
  const [type, first, second, third, fourth] = item;
  switch (type) {
    case ENTER:
    case UPDATE:
      assert(
        typeof first === 'string' && typeof second === 'number' && Array.isArray(third) && fourth instanceof Uint8Array,
        'a row',
      );
      return { type: type === ENTER ? 'ENTER' : 'UPDATE', key: first, version: second, sort: third, value: fourth };
    case LEAVE:
      assert(typeof first === 'string', 'a key');
      return { type: 'LEAVE', key: first };
    case GROUP:
      assert(typeof first === 'string' && Array.isArray(second) && typeof third === 'number' && Array.isArray(fourth), 'a group');
      return { type: 'GROUP', partial: { id: first, columns: second, count: third, fields: summariesOf(fourth) } };
    case READY:
      return { type: 'READY', hasMore: first === true };
    default:
      assert(type === FAILED && typeof first === 'number' && typeof second === 'string', `item of type ${String(type)}`);
      return { type: 'FAILED', code: ERROR_CODES[first] ?? 'INTERNAL', reason: second };
  }
}

function summariesOf(numbers: readonly unknown[]): FieldSummary[] {
  const summaries: FieldSummary[] = [];
  for (let at = 0; at + 3 < numbers.length; at += 4) {
    const [count, sum, min, max] = numbers.slice(at, at + 4);
    assert(
      typeof count === 'number' && typeof sum === 'number' && typeof min === 'number' && typeof max === 'number',
      'a summary',
    );
    summaries.push({ count, sum, min, max });
  }
  return summaries;
}
