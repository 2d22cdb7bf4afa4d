/**
 * Records for people with curl:
 *
 *   GET /maps/{map}            a page of records, or of keys; with `where` or `sort`, of the rows that a query finds (map-query.ts)
 *   GET /maps/{map}/{key}      the value, its clock as ETag
 *   PUT, DELETE                a write by the server's clock, strictly behind the stored one; If-Match, If-None-Match
 *
 * A write goes the way of every other: the owner's merge, the log, the events. It is answered when the log has it.
 */
import { z } from 'zod';
import type { SeenRecord, WriteCondition, WriteOutcome } from '../../engine/domains/records/record-requests.ts';
import { stampText } from '../../engine/domains/records/stamp-text.ts';
import type { Action } from '../../engine/domains/security/access.ts';
import { encode } from '../../engine/protocol/codec.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { checkBounds } from '../../engine/protocol/msgpack-bounds.ts';
import { CONCERN_NAMES } from '../../engine/protocol/op-index.ts';
import { decodeText, encodeText } from '../../engine/protocol/wire-text.ts';
import { doorRefusalOf } from '../map-names.ts';
import { entityTag, stampsOf } from './entity-tag.ts';
import type { HttpQuestion } from './exchange.ts';
import { emptyReply, errorReply, type Headers, type HttpReply, jsonReply, JSON_TYPE } from './http-reply.ts';
import { jsonValue, valueOfJson } from './json-value.ts';
import { cursorText, positionOfCursor } from './page-cursor.ts';
import type { HttpDoor } from './http-door.ts';
import { MAP_QUERY, queryMap } from './map-query.ts';
import { type Page, RecordDoor, type Written } from './record-door.ts';
import { type Asked, type Endpoint, queried, type Route } from './route.ts';

const OCTETS = 'application/octet-stream';
const MSGPACK_TYPES = ['application/msgpack', 'application/x-msgpack'];
const PAGE_LIMIT = 100;
const PAGE_LIMIT_MAX = 1000;
const PAGE_BYTES_MAX = 1024 * 1024;
const TTL_MS_MAX = Number.MAX_SAFE_INTEGER;

const READ_QUERY = z.strictObject({});
const TTL = z.coerce.number().int().min(1).max(TTL_MS_MAX).describe('The record expires after so many ms');
const LEVEL = z.enum(CONCERN_NAMES.slice(1)).describe('Durability level to be reached before the answer');
const WRITE_QUERY = z.strictObject({ ttlMs: TTL.optional(), level: LEVEL.optional() });
const REMOVE_QUERY = z.strictObject({ level: LEVEL.optional() });
const PAGE_QUERY = z.strictObject({
  limit: z.coerce.number().int().min(1).max(PAGE_LIMIT_MAX).default(PAGE_LIMIT).describe('Records of a page'),
  cursor: z.string().max(4096).optional().describe('Where the page begins: `cursor` of the one before'),
  keys: z.enum(['on', 'off']).default('off').describe('Keys without their values'),
  ...MAP_QUERY,
});
const PAGE = z.object({
  map: z.string(),
  entries: z.array(
    z.object({ key: z.string(), value: z.unknown().optional(), etag: z.string().optional(), ttlMs: z.number().optional() }),
  ),
  cursor: z.string().optional().describe('Where the next page begins; left out after the last'),
});

const TAG_HEADER = { ETag: 'The clock of the record' };
const WRITE_HEADERS = { ...TAG_HEADER, 'Lattice-Level': 'The durability level that was reached' };
const CONDITIONS = {
  'If-Match': 'Only if the stored record has one of these entity tags; * for any record',
  'If-None-Match': 'Only if it has none of these; * for no record',
};
const LEVEL_HEADER = { 'Lattice-Level': 'As the parameter `level`' };

export function mapRoutes(door: () => HttpDoor, valueBytesMax: number): Route[] {
  const records = (): RecordDoor => new RecordDoor(door());
  return [
    { path: '/maps/{map}', summary: 'Records of a map', methods: { get: pageEndpoint(door) } },
    {
      path: '/maps/{map}/{key}',
      summary: 'One record',
      methods: {
        get: readEndpoint(records),
        put: writeEndpoint(records, valueBytesMax),
        delete: removeEndpoint(records),
      },
    },
  ];
}

function readEndpoint(records: () => RecordDoor): Endpoint {
  return queried({
    summary: 'Read a record',
    access: 'subject',
    query: READ_QUERY,
    headers: {
      'If-None-Match': 'Answers 304 when the record still has this entity tag',
      Accept: 'application/msgpack: the value as it is stored; application/octet-stream: a byte string as it is',
    },
    answers: {
      200: { about: 'the value; a byte string in JSON is {"$binary": base64}', schema: z.unknown(), headers: TAG_HEADER },
      304: { about: 'it is as the client has it', type: '', headers: TAG_HEADER },
      404: { about: 'there is no such record' },
      406: { about: 'the value has no such form' },
    },
    answer: async ({ question, subject }) => {
      const { map, key } = named(question, subject.access.may.bind(subject.access), 'read');
      const noneMatch = stampsOf(question.header('if-none-match'), 'If-None-Match');
      const record = await records().read(map, key, subject.access.scope);
      if (record?.value === undefined) return noSuchRecord(map, key);
      const stamp = stampOf(record);
      const headers: Headers = [['ETag', entityTag(stamp)], ['Cache-Control', 'no-cache'], ...ttlHeader(record)];
      if (noneMatch?.some((one) => one === '*' || one === stamp) === true) return emptyReply(304, headers);
      return { ...valueReply(record.value, question.header('accept')), headers };
    },
  });
}

function writeEndpoint(records: () => RecordDoor, valueBytesMax: number): Endpoint {
  return queried({
    summary: 'Write a record',
    access: 'subject',
    query: WRITE_QUERY,
    headers: { ...CONDITIONS, ...LEVEL_HEADER, 'Lattice-TTL-Ms': 'As the parameter `ttlMs`' },
    body: {
      bytesMax: valueBytesMax,
      about: 'The value. In JSON an object {"$binary": base64} is a byte string',
      types: { 'application/json': z.unknown(), [OCTETS]: undefined, 'application/msgpack': undefined },
    },
    answers: {
      201: { about: 'written; there was no record', type: '', headers: WRITE_HEADERS },
      204: { about: 'written over another', type: '', headers: WRITE_HEADERS },
      412: { about: 'the condition does not hold; nothing was written' },
      413: { about: 'value or key are too large' },
      415: { about: 'a media type that is not taken' },
      504: { about: 'written, but not as safe as asked in time' },
    },
    answer: async ({ question, subject, query, body }) => {
      const { map, key } = named(question, subject.access.may.bind(subject.access), 'write');
      const value = packedBody(body, question.header('content-type'));
      const ttlMs = query.ttlMs ?? ttlOf(question.header('lattice-ttl-ms'));
      const wish = { value, ttlMs, scope: subject.access.scope, ...conditionOf(question) };
      return writeReply(await records().write(wish, map, key, levelOf(question, query.level)), map, key);
    },
  });
}

function removeEndpoint(records: () => RecordDoor): Endpoint {
  return queried({
    summary: 'Remove a record',
    access: 'subject',
    query: REMOVE_QUERY,
    headers: { ...CONDITIONS, ...LEVEL_HEADER },
    answers: {
      204: { about: 'removed; the entity tag is that of the removal', type: '', headers: WRITE_HEADERS },
      404: { about: 'there is no such record' },
      412: { about: 'the condition does not hold; nothing was removed' },
      504: { about: 'removed, but not as safe as asked in time' },
    },
    answer: async ({ question, subject, query }) => {
      const { map, key } = named(question, subject.access.may.bind(subject.access), 'remove');
      const wish = { value: undefined, ttlMs: undefined, scope: subject.access.scope, ...conditionOf(question) };
      return writeReply(await records().write(wish, map, key, levelOf(question, query.level)), map, key);
    },
  });
}

function pageEndpoint(door: () => HttpDoor): Endpoint {
  return queried({
    summary: 'A page of the records of a map: in no order that means anything, or in that of `sort`',
    access: 'subject',
    query: PAGE_QUERY,
    answers: { 200: { about: 'the page; it may have fewer records than asked for', schema: PAGE } },
    answer: async ({ question, subject, query }: Asked<z.output<typeof PAGE_QUERY>>) => {
      const { map } = named(question, subject.access.may.bind(subject.access), 'read');
      const withValues = query.keys === 'off';
      const whole = <Answer>(read: () => Promise<Answer>): Promise<Answer> => door().wholeReads.read([encodeText(map)], read);
      if (query.where !== undefined || query.sort !== undefined) {
        const { rows, cursor } = await whole(() => queryMap(door(), subject.principal, map, query));
        const entries = withValues ? rows : rows.map(({ key }) => ({ key }));
        return jsonReply(200, { map, entries, ...(cursor === undefined ? {} : { cursor }) });
      }
      const wish = {
        after: positionOfCursor(query.cursor),
        limit: query.limit,
        bytesMax: PAGE_BYTES_MAX,
        withValues,
        since: undefined,
        scope: subject.access.scope,
      };
      const page = await whole(() => new RecordDoor(door()).page(map, wish));
      return jsonReply(200, pageDocument(map, page));
    },
  });
}

/** Map and key of the path. Throws GridError for names that nobody may use, and for subjects who may not do this. */
function named(
  { parameters }: HttpQuestion,
  may: (action: Action, name: string) => boolean,
  action: Action,
): { readonly map: string; readonly key: string } {
  const [map = '', key = ''] = parameters;
  const refusal = doorRefusalOf(encodeText(map));
  if (refusal !== undefined) throw new GridError(refusal, `the name of map ${map.slice(0, 64)} is empty, too long or reserved`);
  // A write is answered by what was there.
  for (const needed of [action, 'read'] as const)
    if (!may(needed, map)) throw new GridError('FORBIDDEN', `${needed} access denied for map: ${map}`);
  return { map, key };
}

function conditionOf(question: HttpQuestion): WriteCondition {
  return {
    match: stampsOf(question.header('if-match'), 'If-Match'),
    noneMatch: stampsOf(question.header('if-none-match'), 'If-None-Match'),
  };
}

function levelOf(question: HttpQuestion, parameter: string | undefined): string {
  return parameter ?? question.header('lattice-level');
}

function ttlOf(header: string): number | undefined {
  if (header === '') return undefined;
  const ttlMs = TTL.safeParse(header);
  if (!ttlMs.success) throw new GridError('BAD_REQUEST', 'Lattice-TTL-Ms is no whole number of ms above 0');
  return ttlMs.data;
}

/** MessagePack of a body. */
function packedBody(body: Uint8Array, contentType: string): Uint8Array {
  const [type = ''] = contentType.toLowerCase().split(';');
  const media = type.trim();
  if (media === OCTETS) return encode(body).slice();
  if (MSGPACK_TYPES.includes(media)) return checkedValue(body);
  const isJson = media === '' || media === 'application/json' || media.endsWith('+json');
  // What curl says by itself of -d: people write JSON.
  if (!isJson && media !== 'application/x-www-form-urlencoded')
    throw new GridError('UNSUPPORTED_MEDIA_TYPE', `${media} is not taken: application/json, ${OCTETS}, application/msgpack`);
  return checkedValue(valueOfJson(body));
}

/** A removal is DELETE: nil is no value of a record. */
function checkedValue(value: Uint8Array): Uint8Array {
  if (checkBounds(value, 0, value.length) !== 0) throw new GridError('BAD_REQUEST', 'the body is no MessagePack value');
  if (value.length === 1 && value[0] === 0xc0)
    throw new GridError('BAD_REQUEST', 'null is no value of a record: DELETE removes it');
  return value;
}

function valueReply(value: Uint8Array, accept: string): HttpReply {
  const wanted = accept.toLowerCase();
  if (wanted.includes('msgpack')) return { status: 200, body: value, contentType: 'application/msgpack' };
  try {
    const decoded = jsonValue(value);
    if (wanted.includes(OCTETS)) return bytesReply(decoded);
    return { status: 200, body: JSON.stringify(decoded), contentType: JSON_TYPE };
  } catch (error) {
    if (!(error instanceof GridError)) throw error;
    return errorReply('NOT_ACCEPTABLE', 'the value has no JSON: ask with Accept: application/msgpack');
  }
}

function bytesReply(decoded: unknown): HttpReply {
  const binary = typeof decoded === 'object' && decoded !== null && '$binary' in decoded ? decoded.$binary : undefined;
  if (typeof binary !== 'string') return errorReply('NOT_ACCEPTABLE', 'the value is no byte string');
  return { status: 200, body: Buffer.from(binary, 'base64'), contentType: OCTETS };
}

function writeReply({ outcome, level }: Written, map: string, key: string): HttpReply {
  switch (outcome.outcome) {
    case 'written':
      return {
        status: outcome.created ? 201 : 204,
        headers: [
          ['ETag', entityTag(outcome.stamp)],
          ['Lattice-Level', level],
        ],
      };
    case 'condition':
      return conditionReply(outcome);
    case 'absent':
      return noSuchRecord(map, key);
  }
}

function conditionReply({ stamp }: Extract<WriteOutcome, { outcome: 'condition' }>): HttpReply {
  const reply = errorReply('CONDITION_FAILED', 'the stored record does not meet the condition; nothing was written');
  return stamp === undefined ? reply : { ...reply, headers: [['ETag', entityTag(stamp)]] };
}

function noSuchRecord(map: string, key: string): HttpReply {
  return errorReply('NOT_FOUND', `no record ${key.slice(0, 256)} in map ${map}`);
}

function pageDocument(map: string, { records, next }: Page): z.output<typeof PAGE> {
  const entries = records.map((record) => ({
    key: decodeText(record.key, 0, record.key.length),
    ...(record.value === undefined ? {} : { value: readable(record.value) }),
    etag: entityTag(stampOf(record)),
    ...(record.ttlMs === undefined ? {} : { ttlMs: record.ttlMs }),
  }));
  return { map, entries, ...(next === undefined ? {} : { cursor: cursorText(next) }) };
}

/** A value that has no JSON reads as null in a list. */
function readable(value: Uint8Array): unknown {
  try {
    return jsonValue(value);
  } catch (error) {
    if (error instanceof GridError) return null;
    throw error;
  }
}

function stampOf({ millis, counter, node }: SeenRecord): string {
  return stampText(millis, counter, node, 0, node.length);
}

function ttlHeader({ ttlMs }: SeenRecord): Headers {
  return ttlMs === undefined ? [] : [['Lattice-TTL-Ms', String(ttlMs)]];
}
