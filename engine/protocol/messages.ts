/**
 * What clients send, as types, and the parser that makes them of decoded frames.
 *
 * The parser is lenient where the protocol is (docs/PROTOCOL.md §1.2): unknown keys are ignored, null is absent, an integer
 * may come as float64, bytes as bin or as a map of numbered bytes. It is strict about what handlers rely on: a message
 * without a field that it needs is no message. Parsed messages are flat: for the types that wrap their fields in
 * `payload`, the wrapping is gone.
 *
 * OP_BATCH and CLIENT_OP are not here: the scanner reads them (scanner.ts). Requests of domains that are not built yet are
 * parsed as far as their refusal needs (refusals.ts).
 */
import { type Data, isData, toBytes } from './codec.ts';
import { type CoordinationMessage, parseCoordination } from './coordination-messages.ts';
import { type MessagingMessage, parseMessaging } from './messaging-messages.ts';
import { type CounterMessage, parseCounterMessage } from './counter-messages.ts';
import { type JournalMessage, parseJournalMessage } from './journal-messages.ts';
import { parseQueryMessage, type QueryMessage } from './query-messages.ts';
import { parseUnbuilt, type UnbuiltRequest } from './refusals.ts';

export { refusalOf } from './refusals.ts';

/** A record of an OR-Map as a client pushes it, its timestamp beside the rest. */
export interface PushedRecord {
  readonly tag: string;
  readonly value: unknown;
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
  readonly ttlMs?: number | undefined;
}

/** A key of an OR-Map with its live records and removed tags. */
export interface PushEntry {
  readonly key: string;
  readonly records: readonly PushedRecord[];
  readonly tombstones: readonly string[];
}

export interface AuthMessage {
  readonly type: 'AUTH';
  readonly token: string;
  readonly protocolVersion?: number | undefined;
  readonly deviceToken?: string | undefined;
}

export interface DeviceHelloMessage {
  readonly type: 'DEVICE_HELLO';
  readonly deviceToken?: string | undefined;
}

export interface PingMessage {
  readonly type: 'PING';
  readonly timestamp?: number | undefined;
}

export interface SyncInitMessage {
  readonly type: 'SYNC_INIT';
  readonly mapName: string;
  /** Wall-clock ms of any server timestamp that the client saw; 0 or absent the first time. */
  readonly lastSyncTimestamp?: number | undefined;
}

export interface OrMapSyncInitMessage {
  readonly type: 'ORMAP_SYNC_INIT';
  readonly mapName: string;
  readonly rootHash?: number | undefined;
  readonly lastSyncTimestamp?: number | undefined;
  readonly claimedEpoch?: number | undefined;
}

export interface BucketMessage {
  readonly type: 'MERKLE_REQ_BUCKET' | 'ORMAP_MERKLE_REQ_BUCKET';
  readonly mapName: string;
  /** Hex digits, '' for the root; not checked here. */
  readonly path: string;
}

export interface OrMapDiffRequestMessage {
  readonly type: 'ORMAP_DIFF_REQUEST';
  readonly mapName: string;
  readonly keys: readonly string[];
}

export interface OrMapPushDiffMessage {
  readonly type: 'ORMAP_PUSH_DIFF';
  readonly mapName: string;
  readonly entries: readonly PushEntry[];
}

export interface ClientApplyAckMessage {
  readonly type: 'CLIENT_APPLY_ACK';
  readonly cursor: number;
}

export interface BatchMessage {
  readonly type: 'BATCH';
  /** Framed messages: see batch-frame.ts. The frame's own `count` says nothing. */
  readonly data: Uint8Array;
}

export type ClientMessage =
  | AuthMessage
  | DeviceHelloMessage
  | PingMessage
  | SyncInitMessage
  | OrMapSyncInitMessage
  | BucketMessage
  | OrMapDiffRequestMessage
  | OrMapPushDiffMessage
  | ClientApplyAckMessage
  | BatchMessage
  | MessagingMessage
  | CounterMessage
  | JournalMessage
  | QueryMessage
  | CoordinationMessage
  | UnbuiltRequest;

/** The message that a decoded frame is, or undefined: an unknown type, not a client's, or a needed field is missing or wrong. */
export function parseMessage(decoded: unknown): ClientMessage | undefined {
  if (!isData(decoded)) return undefined;
  const type = decoded.type;
  switch (type) {
    case 'AUTH':
      return parseAuth(decoded);
    case 'DEVICE_HELLO':
      return { type, deviceToken: text(decoded.deviceToken) };
    case 'PING':
      return { type, timestamp: amount(decoded.timestamp) };
    case 'SYNC_INIT':
      return parseSyncInit(decoded);
    case 'ORMAP_SYNC_INIT':
      return parseOrMapSyncInit(decoded);
    case 'MERKLE_REQ_BUCKET':
    case 'ORMAP_MERKLE_REQ_BUCKET':
      return parseBucket(type, bodyOf(decoded));
    case 'ORMAP_DIFF_REQUEST':
      return parseDiffRequest(bodyOf(decoded));
    case 'ORMAP_PUSH_DIFF':
      return parsePushDiff(bodyOf(decoded));
    case 'CLIENT_APPLY_ACK':
      return parseApplyAck(decoded);
    case 'COUNTER_REQUEST':
    case 'COUNTER_SYNC':
      return parseCounterMessage(type, bodyOf(decoded));
    case 'JOURNAL_SUBSCRIBE':
    case 'JOURNAL_UNSUBSCRIBE':
    case 'JOURNAL_READ':
      return parseJournalMessage(type, decoded);
    case 'QUERY_SUB':
    case 'QUERY_UNSUB':
    case 'QUERY_SYNC_INIT':
      return parseQueryMessage(type, bodyOf(decoded));
    case 'BATCH':
      return parseBatch(decoded);
    case 'TOPIC_SUB':
    case 'TOPIC_UNSUB':
    case 'TOPIC_PUB':
      return parseMessaging(type, bodyOf(decoded));
    case 'LOCK_REQUEST':
    case 'LOCK_RELEASE':
    case 'PARTITION_MAP_REQUEST':
      return parseCoordination(type, bodyOf(decoded));
    default:
      return typeof type === 'string' ? parseUnbuilt(type, decoded) : undefined;
  }
}

function parseAuth(body: Data): AuthMessage | undefined {
  const token = text(body.token);
  if (token === undefined) return undefined;
  return { type: 'AUTH', token, protocolVersion: amount(body.protocolVersion), deviceToken: text(body.deviceToken) };
}

function parseSyncInit(body: Data): SyncInitMessage | undefined {
  const mapName = text(body.mapName);
  if (mapName === undefined) return undefined;
  return { type: 'SYNC_INIT', mapName, lastSyncTimestamp: amount(body.lastSyncTimestamp) };
}

function parseOrMapSyncInit(body: Data): OrMapSyncInitMessage | undefined {
  const mapName = text(body.mapName);
  if (mapName === undefined) return undefined;
  return {
    type: 'ORMAP_SYNC_INIT',
    mapName,
    rootHash: amount(body.rootHash),
    lastSyncTimestamp: amount(body.lastSyncTimestamp),
    claimedEpoch: amount(body.claimedEpoch),
  };
}

function parseBucket(type: BucketMessage['type'], body: Data): BucketMessage | undefined {
  const mapName = text(body.mapName);
  const path = text(body.path);
  return mapName === undefined || path === undefined ? undefined : { type, mapName, path };
}

function parseDiffRequest(body: Data): OrMapDiffRequestMessage | undefined {
  const mapName = text(body.mapName);
  if (mapName === undefined || !Array.isArray(body.keys)) return undefined;
  return { type: 'ORMAP_DIFF_REQUEST', mapName, keys: body.keys.filter(isText) };
}

/** Entries and records that are not whole are left out, so that one bad record does not keep the others from the server. */
function parsePushDiff(body: Data): OrMapPushDiffMessage | undefined {
  const mapName = text(body.mapName);
  if (mapName === undefined || !Array.isArray(body.entries)) return undefined;
  return { type: 'ORMAP_PUSH_DIFF', mapName, entries: body.entries.map(parseEntry).filter((entry) => entry !== undefined) };
}

function parseEntry(entry: unknown): PushEntry | undefined {
  if (!isData(entry)) return undefined;
  const key = text(entry.key);
  if (key === undefined) return undefined;
  const records = Array.isArray(entry.records) ? entry.records.map(parseRecord).filter((record) => record !== undefined) : [];
  const tombstones = Array.isArray(entry.tombstones) ? entry.tombstones.filter(isText) : [];
  return { key, records, tombstones };
}

/** Holds records to what the scanner asks of those in ops: see `isStamp` in record-scanner.ts. */
function parseRecord(record: unknown): PushedRecord | undefined {
  if (!isData(record) || !isData(record.timestamp)) return undefined;
  const tag = text(record.tag);
  const millis = amount(record.timestamp.millis);
  const counter = amount(record.timestamp.counter);
  const nodeId = text(record.timestamp.nodeId);
  if (tag === undefined || tag === '' || millis === undefined || counter === undefined || nodeId === undefined) return undefined;
  if (counter > 0xffff_ffff || nodeId === '' || nodeId.includes(':')) return undefined;
  const value = record.value ?? null;
  const ttlMs = record.ttlMs ?? undefined;
  if (ttlMs === undefined) return { tag, value, millis, counter, nodeId };
  return typeof ttlMs === 'number' && ttlMs >= 0 && Number.isFinite(ttlMs)
    ? { tag, value, millis, counter, nodeId, ttlMs }
    : undefined;
}

function parseApplyAck(body: Data): ClientApplyAckMessage | undefined {
  const cursor = amount(body.cursor);
  return cursor === undefined ? undefined : { type: 'CLIENT_APPLY_ACK', cursor };
}

function parseBatch(body: Data): BatchMessage | undefined {
  const data = toBytes(body.data);
  return data === undefined ? undefined : { type: 'BATCH', data };
}

/** The fields of a message that wraps them in `payload`. */
function bodyOf(message: Data): Data {
  return isData(message.payload) ? message.payload : message;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

/** A safe integer from 0, whatever its encoding was. */
function amount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
