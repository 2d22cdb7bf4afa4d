/**
 * Body and answer of POST /sync (docs/PROTOCOL.md §11), from their bytes and back: MessagePack, or JSON for people with curl.
 *
 * Unknown fields are ignored, as everywhere in the protocol. The ops are not decoded: their bytes go into the frame as they
 * came, so that an op that is sent again by another way is the same to the byte.
 */
import { z } from 'zod';
import { decode, encode } from '../../engine/protocol/codec.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { arrayCount, containerHeaderBytes, isArray, mapCount, skipKey, skipValue } from '../../engine/protocol/msgpack-bounds.ts';
import { MessageWriter } from '../../engine/protocol/msgpack-writer.ts';
import { JSON_TYPE, type HttpReply } from './http-reply.ts';
import { jsonValue, parseJson, valueOfJson } from './json-value.ts';

const MAPS_MAX = 1000;
const QUERIES_MAX = 100;

const TIMESTAMP = z.looseObject({ millis: z.number(), counter: z.number(), nodeId: z.string() });
const optional = <Type extends z.ZodType>(type: Type): z.ZodOptional<z.ZodNullable<Type>> => type.nullable().optional();

export const SYNC_REQUEST = z.looseObject({
  clientId: optional(z.string()),
  clientHlc: optional(TIMESTAMP),
  operations: optional(z.array(z.unknown()).describe('Client ops, as in OP_BATCH')),
  syncMaps: optional(
    z
      .array(
        z.looseObject({
          mapName: z.string(),
          lastSyncTimestamp: TIMESTAMP.describe('`serverSyncTimestamp` of the answer before; millis 0 for everything'),
          cursor: optional(z.string().describe('`nextCursor` of an answer with `hasMore`')),
        }),
      )
      .max(MAPS_MAX),
  ),
  queries: optional(
    z
      .array(
        z.looseObject({
          queryId: z.string(),
          mapName: z.string(),
          filter: optional(z.unknown().describe('A map of equalities; anything else matches all')),
          limit: optional(z.number()),
          offset: optional(z.number()),
          cursor: optional(z.string()),
        }),
      )
      .max(QUERIES_MAX),
  ),
  searches: optional(z.array(z.looseObject({ searchId: z.string() })).max(QUERIES_MAX)),
});
export type SyncRequest = z.output<typeof SYNC_REQUEST>;

const STAMP = z.object({ millis: z.number(), counter: z.number(), nodeId: z.string() });
const RECORD = z.object({
  key: z.string(),
  record: z.object({ value: z.unknown(), timestamp: STAMP, ttlMs: z.number().optional() }),
  eventType: z.enum(['PUT', 'REMOVE']),
});

export const SYNC_RESPONSE = z.object({
  serverHlc: STAMP,
  ack: z
    .object({ lastId: z.string(), achievedLevel: z.string().optional(), results: z.array(z.unknown()).optional() })
    .optional(),
  deltas: z
    .array(
      z.object({
        mapName: z.string(),
        records: z.array(RECORD),
        serverSyncTimestamp: STAMP,
        hasMore: z.boolean().optional(),
        nextCursor: z.string().optional(),
      }),
    )
    .optional(),
  queryResults: z
    .array(
      z.object({
        queryId: z.string(),
        results: z.array(z.unknown()),
        hasMore: z.boolean().optional(),
        nextCursor: z.string().optional(),
      }),
    )
    .optional(),
  searchResults: z.array(z.unknown()).optional(),
  errors: z.array(z.object({ code: z.int(), message: z.string(), context: z.string().optional() })).optional(),
});
export type SyncResponse = z.output<typeof SYNC_RESPONSE>;
export type SyncError = NonNullable<SyncResponse['errors']>[number];

export interface SyncBody {
  readonly request: SyncRequest;
  /** MessagePack of the list of operations; undefined when there are none. */
  readonly operations: Uint8Array | undefined;
  readonly isJson: boolean;
}

/** Throws GridError BAD_REQUEST with what is wrong. No body at all is a request for nothing. */
export function parseSync(body: Uint8Array, contentType: string): SyncBody {
  const isJson = contentType.toLowerCase().includes('json');
  if (body.length === 0) return { request: {}, operations: undefined, isJson };
  const packed = isJson ? valueOfJson(body) : body;
  const parsed = SYNC_REQUEST.safeParse(isJson ? parseJson(body) : decoded(packed));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new GridError('BAD_REQUEST', `invalid body: ${issue?.path.join('.') || 'the whole'}: ${issue?.message ?? ''}`);
  }
  const count = parsed.data.operations?.length ?? 0;
  return { request: parsed.data, operations: count > 0 ? spanOf(packed, 'operations') : undefined, isJson };
}

function decoded(body: Uint8Array): unknown {
  try {
    return decode(body);
  } catch (error) {
    if (!(error instanceof GridError)) throw error;
    throw new GridError('BAD_REQUEST', `invalid MsgPack body: ${error.message}`, { cause: error });
  }
}

/** A frame of the ops in a list. */
export function opsFrame(operations: Uint8Array): Uint8Array {
  const out = new MessageWriter();
  out.mapHeader(2);
  out.string('type');
  out.string('OP_BATCH');
  out.string('payload');
  out.mapHeader(1);
  out.string('ops');
  out.raw(operations, 0, operations.length);
  return out.bytes.slice(0, out.length);
}

/** The ids of the ops, '' where there is none. */
export function opIds(request: SyncRequest): string[] {
  return (request.operations ?? []).map((op) => {
    const id = typeof op === 'object' && op !== null && 'id' in op ? op.id : '';
    return typeof id === 'string' ? id : '';
  });
}

export function syncReply(response: SyncResponse, isJson: boolean): HttpReply {
  const packed = encode(response).slice();
  if (!isJson) return { status: 200, body: packed, contentType: 'application/msgpack' };
  return { status: 200, body: JSON.stringify(jsonValue(packed)), contentType: JSON_TYPE };
}

/** The bytes of the last value of that name in a map that is known to be well formed. */
function spanOf(map: Uint8Array, name: string): Uint8Array | undefined {
  let span: Uint8Array | undefined;
  let at = containerHeaderBytes(map[0] as number);
  for (let entry = mapCount(map, 0, map.length); entry > 0; entry--) {
    const valueAt = skipKey(map, at, map.length);
    const end = skipValue(map, valueAt, map.length);
    if (decode(map, at, valueAt) === name && isArray(map[valueAt] as number) && arrayCount(map, valueAt, end) > 0)
      span = map.subarray(valueAt, end);
    at = end;
  }
  return span;
}
