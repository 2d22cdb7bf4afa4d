/**
 * Typed reading of what a server sent. A field of a wrong type is a bug of the server and ends the test: it throws.
 */
import type { Stamp } from '../../engine/crdt/hlc.ts';
import { isMessage, type Message } from './client-codec.ts';
import type { LwwRecord, OrRecord } from './client-maps.ts';

/** One change as SERVER_EVENT carries it. */
export interface ServerEvent {
  readonly mapName: string;
  readonly eventType: string;
  readonly key: string;
  readonly record?: LwwRecord | undefined;
  readonly orRecord?: OrRecord | undefined;
  readonly orTag?: string | undefined;
}

export interface OrEntry {
  readonly key: string;
  readonly records: readonly OrRecord[];
  readonly tombstones: readonly string[];
}

export interface OpResult {
  readonly opId: string;
  readonly success: boolean;
  readonly achievedLevel: string;
  readonly error?: string | undefined;
}

export interface OpAck {
  readonly lastId: string;
  readonly achievedLevel?: string | undefined;
  readonly results: readonly OpResult[];
}

export function payloadOf(message: Message): Message {
  return mapIn(message, 'payload');
}

export function mapIn(message: Message, name: string): Message {
  const value = message[name];
  return isMessage(value) ? value : wrong(message, name, 'a map');
}

export function textIn(message: Message, name: string): string {
  const value = message[name];
  return typeof value === 'string' ? value : wrong(message, name, 'a text');
}

export function numberIn(message: Message, name: string): number {
  const value = message[name];
  return typeof value === 'number' ? value : wrong(message, name, 'a number');
}

export function listIn(message: Message, name: string): readonly unknown[] {
  const value = message[name];
  return Array.isArray(value) ? value : wrong(message, name, 'a list');
}

export function mapsIn(message: Message, name: string): readonly Message[] {
  return listIn(message, name).map((item) => (isMessage(item) ? item : wrong(message, name, 'a list of maps')));
}

export function textsIn(message: Message, name: string): readonly string[] {
  return listIn(message, name).map((item) => (typeof item === 'string' ? item : wrong(message, name, 'a list of texts')));
}

export function stampIn(message: Message, name = 'timestamp'): Stamp {
  const stamp = mapIn(message, name);
  return { millis: numberIn(stamp, 'millis'), counter: numberIn(stamp, 'counter'), nodeId: textIn(stamp, 'nodeId') };
}

/** `ttlMs` must be left out where there is none: the client hashes a null. */
export function lwwRecord(record: Message): LwwRecord {
  if (!('value' in record)) return wrong(record, 'value', 'there');
  return { value: record.value, timestamp: stampIn(record), ...ttlOf(record) };
}

export function orRecord(record: Message): OrRecord {
  return { ...lwwRecord(record), tag: textIn(record, 'tag') };
}

export function orEntry(entry: Message): OrEntry {
  return {
    key: textIn(entry, 'key'),
    records: mapsIn(entry, 'records').map(orRecord),
    tombstones: textsIn(entry, 'tombstones'),
  };
}

export function serverEvent(event: Message): ServerEvent {
  return {
    mapName: textIn(event, 'mapName'),
    eventType: textIn(event, 'eventType'),
    key: textIn(event, 'key'),
    record: 'record' in event ? lwwRecord(mapIn(event, 'record')) : undefined,
    orRecord: 'orRecord' in event ? orRecord(mapIn(event, 'orRecord')) : undefined,
    orTag: 'orTag' in event ? textIn(event, 'orTag') : undefined,
  };
}

export function opAck(payload: Message): OpAck {
  const results = 'results' in payload ? mapsIn(payload, 'results').map(opResult) : [];
  const achievedLevel = 'achievedLevel' in payload ? textIn(payload, 'achievedLevel') : undefined;
  return { lastId: textIn(payload, 'lastId'), achievedLevel, results };
}

function opResult(result: Message): OpResult {
  const { success } = result;
  if (typeof success !== 'boolean') return wrong(result, 'success', 'a boolean');
  const error = 'error' in result ? textIn(result, 'error') : undefined;
  return { opId: textIn(result, 'opId'), success, achievedLevel: textIn(result, 'achievedLevel'), error };
}

function ttlOf(record: Message): { ttlMs?: number } {
  return 'ttlMs' in record ? { ttlMs: numberIn(record, 'ttlMs') } : {};
}

function wrong(message: Message, name: string, expected: string): never {
  throw new TypeError(`${name} is not ${expected} in ${JSON.stringify(message).slice(0, 500)}`);
}
