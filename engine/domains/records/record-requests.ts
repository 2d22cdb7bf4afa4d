/**
 * Requests about single records and pages of them, on their way from a door to a worker and back: MessagePack lists and
 * maps of our own making. Both ends are this program; a body that is not as it should be is a bug.
 *
 *   READ     map, key, scope                      ─▶  nothing, or a record
 *   WRITE    map, key, value | removal, condition  ─▶  what became of it
 *   PAGE     map, position, limit, since           ─▶  records, and where the next page begins
 */
import { assert } from '../../assert.ts';
import { type Data, decode, encode, isData } from '../../protocol/codec.ts';

/** A record as a door sees it. */
export interface SeenRecord {
  /** UTF-8. */
  readonly key: Uint8Array;
  /** MessagePack of the value; undefined of a removal, and where only keys were asked for. */
  readonly value: Uint8Array | undefined;
  readonly millis: number;
  readonly counter: number;
  /** UTF-8. */
  readonly node: Uint8Array;
  /** Undefined when it does not expire. */
  readonly ttlMs: number | undefined;
  readonly isRemoval: boolean;
}

export interface ReadQuestion {
  readonly map: Uint8Array;
  readonly key: Uint8Array;
  /** Number of the reader's row rules (security/access.ts). */
  readonly scope: number;
}

/** What must hold of the stored record for a write to be done: texts of stamps, or '*' for any record that is there. */
export interface WriteCondition {
  /** One of these is the stored record's. */
  readonly match?: readonly string[] | undefined;
  /** None of these is. */
  readonly noneMatch?: readonly string[] | undefined;
}

export interface WriteQuestion extends WriteCondition {
  readonly map: Uint8Array;
  readonly key: Uint8Array;
  /** MessagePack; undefined removes the record. */
  readonly value: Uint8Array | undefined;
  readonly ttlMs: number | undefined;
  readonly scope: number;
}

/** What became of a write. */
export type WriteOutcome =
  | { readonly outcome: 'written'; readonly created: boolean; readonly stamp: string }
  /** The condition does not hold; nothing was written. `stamp` is the stored record's, if there is one. */
  | { readonly outcome: 'condition'; readonly stamp?: string | undefined }
  /** There is nothing to remove. */
  | { readonly outcome: 'absent' }
  /** Refused for good; `code` is one of errors.ts. */
  | { readonly outcome: 'refused'; readonly code: string; readonly detail: string };

/** A place in the order of a map's records: by Merkle leaf, in a leaf by the bytes of the key. */
export interface PagePosition {
  readonly leaf: number;
  readonly key: Uint8Array;
}

/** Records that are newer than a stamp, removals included. */
export interface PageSince {
  readonly millis: number;
  readonly counter: number;
  readonly node: Uint8Array;
  /** Records that came to this server at this second or later count as newer whatever their stamp; undefined: none. */
  readonly arrivedS?: number | undefined;
}

export interface PageQuestion {
  readonly map: Uint8Array;
  /** The page begins behind it. */
  readonly after: PagePosition | undefined;
  readonly limit: number;
  /** A page with more than this ends; it has one record at least. */
  readonly bytesMax: number;
  readonly withValues: boolean;
  readonly since: PageSince | undefined;
  readonly scope: number;
}

/** One worker's page. */
export interface PagePart {
  readonly records: readonly SeenRecord[];
  /** Where the next page begins; undefined when this one is the last. */
  readonly next: PagePosition | undefined;
}

/** The bytes of a request or an answer. */
export function encodeBody(body: ReadQuestion | WriteQuestion | PageQuestion | WriteOutcome): Uint8Array {
  return encode(body).slice();
}

/** An answer to READ. */
export function encodeRecord(record: SeenRecord): Uint8Array {
  return encode(rowOf(record)).slice();
}

export function parseRecord(body: Uint8Array): SeenRecord {
  return recordOf(decode(body));
}

export function encodePart({ records, next }: PagePart): Uint8Array {
  return encode({ next, records: records.map(rowOf) }).slice();
}

export function parseRead(body: Uint8Array): ReadQuestion {
  const fields = fieldsOf(body);
  return { map: bytes(fields.map), key: bytes(fields.key), scope: number(fields.scope) };
}

export function parseWrite(body: Uint8Array): WriteQuestion {
  const fields = fieldsOf(body);
  return {
    map: bytes(fields.map),
    key: bytes(fields.key),
    value: fields.value === undefined ? undefined : bytes(fields.value),
    ttlMs: fields.ttlMs === undefined ? undefined : number(fields.ttlMs),
    match: texts(fields.match),
    noneMatch: texts(fields.noneMatch),
    scope: number(fields.scope),
  };
}

export function parseOutcome(body: Uint8Array): WriteOutcome {
  const fields = fieldsOf(body);
  switch (fields.outcome) {
    case 'written':
      return { outcome: 'written', created: fields.created === true, stamp: String(fields.stamp) };
    case 'condition':
      return { outcome: 'condition', stamp: fields.stamp === undefined ? undefined : String(fields.stamp) };
    case 'absent':
      return { outcome: 'absent' };
    default:
      return { outcome: 'refused', code: String(fields.code), detail: String(fields.detail) };
  }
}

export function parsePage(body: Uint8Array): PageQuestion {
  const { map, after, limit, bytesMax, withValues, since, scope } = fieldsOf(body);
  return {
    map: bytes(map),
    after: positionOf(after),
    limit: number(limit),
    bytesMax: number(bytesMax),
    withValues: withValues === true,
    since: isData(since) ? sinceOf(since) : undefined,
    scope: number(scope),
  };
}

export function parsePart(body: Uint8Array): PagePart {
  const { records, next } = fieldsOf(body);
  assert(Array.isArray(records), 'a list of records');
  return { records: records.map(recordOf), next: positionOf(next) };
}

function positionOf(value: unknown): PagePosition | undefined {
  return isData(value) ? { leaf: number(value.leaf), key: bytes(value.key) } : undefined;
}

function sinceOf(fields: Data): PageSince {
  return {
    millis: number(fields.millis),
    counter: number(fields.counter),
    node: bytes(fields.node),
    arrivedS: fields.arrivedS === undefined ? undefined : number(fields.arrivedS),
  };
}

function rowOf({ key, value, millis, counter, node, ttlMs, isRemoval }: SeenRecord): unknown[] {
  return [key, value ?? null, millis, counter, node, ttlMs ?? null, isRemoval];
}

function recordOf(row: unknown): SeenRecord {
  assert(Array.isArray(row), 'a record');
  const [key, value, millis, counter, node, ttlMs, isRemoval] = row;
  return {
    key: bytes(key),
    value: value === null ? undefined : bytes(value),
    millis: number(millis),
    counter: number(counter),
    node: bytes(node),
    ttlMs: ttlMs === null ? undefined : number(ttlMs),
    isRemoval: isRemoval === true,
  };
}

function fieldsOf(body: Uint8Array): Data {
  const fields = decode(body);
  assert(isData(fields), 'a map');
  return fields;
}

function bytes(value: unknown): Uint8Array {
  assert(value instanceof Uint8Array, 'bytes');
  return value;
}

function number(value: unknown): number {
  assert(typeof value === 'number', 'a number');
  return value;
}

function texts(value: unknown): string[] | undefined {
  if (value === undefined) return undefined;
  assert(Array.isArray(value), 'a list');
  return value.map(String);
}
