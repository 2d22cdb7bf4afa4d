/**
 * How each server is spoken to in a fan-out: how a subscriber subscribes, how the writer opens, and the bytes of its writes.
 *
 * Values are the same everywhere: the marker of the write and 48 letters from a seed, under one of 64 keys. Writes are made
 * before the clock starts. Where writes carry clocks, each is a millisecond later than the one before, and none is ahead of the server.
 */
import { encode } from '../../engine/protocol/codec.ts';
import { importPeer } from '../peer-packages.ts';
import { commandText } from '../redis-peer.ts';
import { binaryFrame, textFrame, upgrade, varString, varUint } from '../client-frames.ts';
import type { Step } from './byte-stream.ts';
import { markerText } from './marker.ts';

const KEYS = 64;
const LETTERS = 48;

export const FAN_OUT_WIRES = [
  'event',
  'query',
  'topic',
  'raw',
  'raw-joined',
  'socket.io',
  'redis',
  'y-websocket',
  'hocuspocus',
  'gun',
] as const;
export type FanOutWireName = (typeof FAN_OUT_WIRES)[number];

export interface FanOutWire {
  readonly subscriber: readonly Step[];
  readonly writer: readonly Step[];
  /** How often a subscriber gets each write: the client of a live query gets the event of the map, too. */
  readonly copies: number;
  /** Keys that the writes go round, where the second copies of a key's writes may be joined into the last one. */
  readonly joinedKeys: number;
  /** The bytes of `count` writes, with markers from 0 on. */
  writes(count: number): Promise<Uint8Array[]>;
}

/** @param room name of the map, topic, room or document: each run has its own */
export function fanOutWire(name: FanOutWireName, room: string): FanOutWire {
  switch (name) {
    case 'event':
      return ours('/ws', [], (value, number) => opBatch(room, value, number));
    case 'query': {
      const query = message({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: room, query: {} } });
      const steps = [{ send: query, expect: 'QUERY_RESP' }];
      return {
        ...ours('/ws?events=interest', steps, (value, number) => opBatch(room, value, number)),
        copies: 2,
        joinedKeys: KEYS,
      };
    }
    case 'topic': {
      const steps = [{ send: message({ type: 'TOPIC_SUB', payload: { topic: room } }), expect: '' }];
      return ours('/ws?events=interest', steps, (data) => message({ type: 'TOPIC_PUB', payload: { topic: room, data } }));
    }
    case 'raw':
    case 'raw-joined': {
      const writer = [upgrade(name === 'raw' ? '/writer' : '/joining-writer')];
      return { ...ours('/subscriber', [], (value, number) => event(room, value, number)), writer };
    }
    case 'socket.io': {
      const steps = [upgrade('/socket.io/?EIO=4&transport=websocket', '"sid"'), { send: textFrame('40'), expect: '40{' }];
      return plain(steps, (value) => textFrame(`42${JSON.stringify(['write', value])}`));
    }
    case 'redis':
      return {
        ...plain([{ send: commandText(['SUBSCRIBE', room]), expect: 'subscribe' }], (value) =>
          Buffer.from(commandText(['PUBLISH', room, JSON.stringify(value)])),
        ),
        writer: [{ send: commandText(['PING']), expect: 'PONG' }],
      };
    case 'y-websocket':
      return yjs([upgrade(`/${room}`)], '');
    case 'hocuspocus': {
      const login = binaryFrame([...varString(room), 2, 0, ...varString('')]);
      return yjs([upgrade('/'), { send: login, expect: 'read-write' }], room);
    }
    case 'gun': {
      const ask = textFrame(JSON.stringify({ '#': `ask${Math.random()}`, get: { '#': room } }));
      return { ...plain([upgrade('/gun'), { send: ask, expect: '' }], gunWrites(room)), writer: [upgrade('/gun')] };
    }
  }
}

interface Value {
  readonly text: string;
  readonly done: boolean;
}

type WriteOf = (value: Value, number: number) => Uint8Array;

function plain(steps: readonly Step[], write: WriteOf): FanOutWire {
  const writes = async (count: number): Promise<Uint8Array[]> => values(count).map(write);
  return { subscriber: steps, writer: steps, copies: 1, joinedKeys: Number.POSITIVE_INFINITY, writes };
}

function ours(path: string, steps: readonly Step[], write: WriteOf): FanOutWire {
  return { ...plain([upgrade(path), ...steps], write), writer: [upgrade('/ws?events=interest')] };
}

/** Values of the writes, the same on each call. */
function values(count: number): Value[] {
  let seed = 0x9e3779b9;
  const letter = (): string => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return String.fromCharCode(97 + ((seed >>> 16) % 26));
  };
  return Array.from({ length: count }, (_, number) => ({
    text: markerText(number) + Array.from({ length: LETTERS }, letter).join(''),
    done: false,
  }));
}

// Stamped a day back, so that no write is from the future however many there are.
const FIRST_MILLIS = Date.now() - 86_400_000;

function recordOf(value: Value, number: number): object {
  return { value, timestamp: { millis: FIRST_MILLIS + number, counter: 0, nodeId: 'bench-01' } };
}

function opBatch(mapName: string, value: Value, number: number): Uint8Array {
  const key = `k${number % KEYS}`;
  const record = recordOf(value, number);
  const op = { id: String(number + 1), mapName, opType: 'PUT', key, record };
  return message({ type: 'OP_BATCH', payload: { ops: [op] } });
}

/** What subscribers of Lattice get for such an op: the raw server moves the same bytes. */
function event(mapName: string, value: Value, number: number): Uint8Array {
  const key = `k${number % KEYS}`;
  return message({ type: 'SERVER_EVENT', payload: { mapName, eventType: 'PUT', key, record: recordOf(value, number) } });
}

function message(body: object): Uint8Array {
  return binaryFrame(encode(body));
}

/** A write in the graph of GUN: one node per key, linked by nothing, with a state per field. */
function gunWrites(room: string): WriteOf {
  return (value, number) => {
    const field = `k${number % KEYS}`;
    const node = { _: { '#': room, '>': { [field]: FIRST_MILLIS + number } }, [field]: value.text };
    return textFrame(JSON.stringify({ '#': `w${number.toString(36).padStart(6, '0')}x`, put: { [room]: node } }));
  };
}

interface Yjs {
  Doc: new () => {
    clientID: number;
    getMap(name: string): { set(key: string, value: unknown): void };
    on(name: 'update', listener: (update: Uint8Array) => void): void;
  };
}

/** Updates of a Y.Map. Messages of Hocuspocus begin with the document's name. */
function yjs(steps: readonly Step[], room: string): FanOutWire {
  const head = room === '' ? [] : varString(room);
  const writes = async (count: number): Promise<Uint8Array[]> => {
    const { Doc } = await importPeer<Yjs>('yjs');
    const doc = new Doc();
    doc.clientID = 1;
    const frames: Uint8Array[] = [];
    doc.on('update', (update) => {
      frames.push(binaryFrame(Buffer.concat([Uint8Array.from([...head, 0, 2, ...varUint(update.length)]), update])));
    });
    const map = doc.getMap('bench');
    for (const [number, value] of values(count).entries()) map.set(`k${number % KEYS}`, value);
    return frames;
  };
  return { subscriber: steps, writer: steps, copies: 1, joinedKeys: Number.POSITIVE_INFINITY, writes };
}
