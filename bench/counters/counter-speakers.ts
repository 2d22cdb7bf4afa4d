/**
 * How a connection counts: the bytes of its n-th increment, and how many are acknowledged by what has come back.
 *
 *   pn    COUNTER_SYNC with the sum of the connection's own node. Everybody who counts watches, so a hot counter's answers come among the
 *         updates that the others cause: an increment is done when a state says the sum. The connection alone counts a cold one,
 *         so there each COUNTER_UPDATE is an answer.
 *   incr  INCR, one line for each
 *   raw   the frames of pn, to a server that answers each with a COUNTER_UPDATE: those are counted, whatever they say
 *
 * A hot counter is one name for all; cold ones are 10 000 names, of which each connection has its share.
 */
import { encode } from '../../engine/protocol/codec.ts';
import { commandText } from '../redis-peer.ts';
import { clientFrameHeader } from '../write-frames.ts';

export const CONNECTIONS = 64;
export const COLD_COUNTERS = 10_000;

export type CounterProtocol = 'pn' | 'incr' | 'raw';
export const COUNTER_HEATS = ['hot', 'cold'] as const;
export type CounterHeat = (typeof COUNTER_HEATS)[number];

/** Which counters a connection counts. */
export interface CounterShare {
  readonly heat: CounterHeat;
  /** Sets the counters of a run apart. */
  readonly room: string;
  readonly connection: number;
}

export interface Speaker {
  /** The bytes of the increment with that number, from 0 on. */
  increment(number: number): Uint8Array;
  /** Takes what came; returns how many increments are acknowledged in all. */
  take(chunk: Buffer): number;
}

export function speakerOf(protocol: CounterProtocol, share: CounterShare): Speaker {
  if (protocol === 'incr') return new IncrSpeaker(share);
  return new PnSpeaker(share, protocol === 'pn' && share.heat === 'hot');
}

/** Every name that is counted in a run. */
export function counterNames(heat: CounterHeat, room: string): string[] {
  const count = heat === 'hot' ? 1 : COLD_COUNTERS;
  return Array.from({ length: count }, (_, number) => counterName(room, number));
}

function counterName(room: string, number: number): string {
  return `${room}-${String(number).padStart(5, '0')}`;
}

/** The names that a connection goes round. */
function namesOf({ heat, room, connection }: CounterShare): string[] {
  if (heat === 'hot') return [counterName(room, 0)];
  const first = Math.floor((COLD_COUNTERS * connection) / CONNECTIONS);
  const end = Math.floor((COLD_COUNTERS * (connection + 1)) / CONNECTIONS);
  return Array.from({ length: end - first }, (_, place) => counterName(room, first + place));
}

const UPDATE = Buffer.from('COUNTER_UPDATE');
/** Longer than a type's name, or a node's and its sum. */
const CUT_BYTES = 32;

class PnSpeaker implements Speaker {
  readonly #isAckedBySum: boolean;
  readonly #names: readonly string[];
  readonly #node: string;
  readonly #nodeBytes: Buffer;
  #acked = 0;
  #rest: Buffer = Buffer.alloc(0);

  /** @param isAckedBySum the first state that says the sum acknowledges, else each update one increment */
  constructor(share: CounterShare, isAckedBySum: boolean) {
    this.#isAckedBySum = isAckedBySum;
    this.#names = namesOf(share);
    this.#node = `n-${share.room}-${String(share.connection).padStart(3, '0')}`;
    this.#nodeBytes = Buffer.from(this.#node);
  }

  increment(number: number): Uint8Array {
    const name = this.#names[number % this.#names.length] as string;
    const sum = Math.floor(number / this.#names.length) + 1;
    const state = { positive: { [this.#node]: sum }, negative: {} };
    const payload = encode({ type: 'COUNTER_SYNC', payload: { name, state } });
    return Buffer.concat([clientFrameHeader(payload.length), payload]);
  }

  take(chunk: Buffer): number {
    const bytes = Buffer.concat([this.#rest, chunk]);
    const usable = Math.max(0, bytes.length - CUT_BYTES); // what begins later may be cut, and is looked at with the next read
    if (this.#isAckedBySum) this.#takeSums(bytes);
    else this.#countUpdates(bytes, usable);
    this.#rest = Buffer.from(bytes.subarray(usable));
    return this.#acked;
  }

  /** Seen twice or not, the largest sum counts. */
  #takeSums(bytes: Buffer): void {
    for (let at = bytes.indexOf(this.#nodeBytes); at >= 0; at = bytes.indexOf(this.#nodeBytes, at + 1)) {
      const sumAt = at + this.#nodeBytes.length;
      if (sumAt + 9 <= bytes.length) this.#acked = Math.max(this.#acked, numberAt(bytes, sumAt));
    }
  }

  #countUpdates(bytes: Buffer, usable: number): void {
    for (let at = bytes.indexOf(UPDATE); at >= 0 && at < usable; at = bytes.indexOf(UPDATE, at + 1)) this.#acked += 1;
  }
}

/** A whole number above 0 in MessagePack. */
function numberAt(bytes: Buffer, at: number): number {
  const head = bytes.readUInt8(at);
  if (head < 0x80) return head;
  if (head === 0xcc) return bytes.readUInt8(at + 1);
  if (head === 0xcd) return bytes.readUInt16BE(at + 1);
  if (head === 0xce) return bytes.readUInt32BE(at + 1);
  return head === 0xcb ? bytes.readDoubleBE(at + 1) : 0;
}

class IncrSpeaker implements Speaker {
  readonly #names: readonly string[];
  #acked = 0;

  constructor(share: CounterShare) {
    this.#names = namesOf(share);
  }

  increment(number: number): Uint8Array {
    return Buffer.from(commandText(['INCR', this.#names[number % this.#names.length] as string]));
  }

  take(chunk: Buffer): number {
    if (chunk[0] === 0x2d) throw new Error(chunk.toString('latin1', 0, 200));
    for (const byte of chunk) if (byte === 0x0a) this.#acked += 1;
    return this.#acked;
  }
}
