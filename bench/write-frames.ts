/**
 * Frames of writes, built once and sent many times: each connection owns a slice of the keys and goes round it.
 *
 *   slice:  [frame 0][frame 1] … [frame n-1]      one buffer, frames back to back, all of the same size
 *   frame:  WebSocket header (binary, masked with the key 0, so that the payload travels as it is)
 *           OP_BATCH map, ops array, [op][op]…    every op of the same size
 *   op:     id "CCCCCCIIIIII" · mapName · opType · key · record{value, timestamp} · timestamp · synced
 *
 * Since all sizes are fixed, every field stands at a computed place. Before a frame is sent again, each op gets the
 * number of the round in its id (six digits CCCCCC; IIIIII, the place in the slice, stays) and a millisecond later
 * in both timestamps: four stores an op. So ids rise on the connection, every op is newer than the last one of its
 * key, and, because no other connection writes that key, wins its merge. Rounds are slower than one a millisecond,
 * so stamps never run ahead of the clock.
 *
 * With a mix (op-mix.ts) every op of every round has a key and a clock of its own: those are written before each sending, too.
 *
 * The bytes are those of the TopGun client (docs/PROTOCOL.md §1.2, §5.2): map16 headers, millis as float64.
 */
import { assert } from '../engine/assert.ts';
import { KEY_DIGITS, type OpMix } from './op-mix.ts';

/** First value of the id's round digits: keeps the decimal text at twelve digits, without leading zeros. */
export const FIRST_ROUND = 100_000;
export const ROUNDS_MAX = 900_000;
/** Ops of a slice are below this: the low six digits of an id. */
export const SLICE_OPS_MAX = 1_000_000;

const NODE_ID = 'bench-01';
const TEXT = new TextEncoder();

/** What to build. */
export interface FrameShape {
  readonly mapName: string;
  /** Start of every key; key sets of different scenarios differ by it. */
  readonly keyPrefix: string;
  /** Number of the first key; keys are numbered on from here, six digits each. */
  readonly firstKey: number;
  readonly frames: number;
  readonly opsPerFrame: number;
  readonly mix?: OpMix | undefined;
  /** Level asked for each batch. */
  readonly writeConcern?: string | undefined;
}

/** Where the changing fields stand inside an op. */
interface OpLayout {
  readonly bytes: Uint8Array;
  readonly idAt: number;
  readonly keyDigitsAt: number;
  readonly titleDigitsAt: number;
  readonly recordMillisAt: number;
  readonly opMillisAt: number;
}

const MILLIS_TO_COUNTER = 8 + 1 + 'counter'.length + 1;

/** The frames of one connection. */
export class FrameSlice {
  /** Frames back to back, headers included. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly frameBytes: number;
  /** Bytes before a frame's payload. */
  readonly headerBytes: number;
  readonly frames: number;
  readonly opsPerFrame: number;
  readonly #view: DataView;
  readonly #layout: OpLayout;
  readonly #opsAt: number;
  readonly #mix: OpMix | undefined;

  constructor(shape: FrameShape) {
    assert(shape.frames > 0 && shape.opsPerFrame > 0);
    assert(shape.frames * shape.opsPerFrame <= SLICE_OPS_MAX, 'too many ops for the digits of an id');
    assert(shape.firstKey + shape.frames * shape.opsPerFrame <= 1_000_000, 'too many keys for six digits');
    this.frames = shape.frames;
    this.opsPerFrame = shape.opsPerFrame;
    this.#mix = shape.mix;
    this.#layout = layOutOp(shape.mapName, shape.keyPrefix, shape.mix);
    const envelope = envelopeHead(shape.opsPerFrame, shape.writeConcern);
    const payloadBytes = envelope.length + shape.opsPerFrame * this.#layout.bytes.length;
    const header = clientFrameHeader(payloadBytes);
    this.headerBytes = header.length;
    this.frameBytes = header.length + payloadBytes;
    this.#opsAt = header.length + envelope.length;
    this.bytes = new Uint8Array(this.frameBytes * shape.frames);
    this.#view = new DataView(this.bytes.buffer);
    for (let frame = 0; frame < shape.frames; frame++) {
      this.bytes.set(header, frame * this.frameBytes);
      this.bytes.set(envelope, frame * this.frameBytes + header.length);
      this.#fillOps(frame, shape.firstKey);
    }
  }

  #fillOps(frame: number, firstKey: number): void {
    const layout = this.#layout;
    for (let op = 0; op < this.opsPerFrame; op++) {
      const at = frame * this.frameBytes + this.#opsAt + op * layout.bytes.length;
      const place = frame * this.opsPerFrame + op;
      this.bytes.set(layout.bytes, at);
      writeDigits(this.bytes, at + layout.idAt + 6, place);
      if (this.#mix === undefined) writeDigits(this.bytes, at + layout.keyDigitsAt, firstKey + place);
      writeDigits(this.bytes, at + layout.titleDigitsAt, firstKey + place);
    }
  }

  /** Makes `frame` ready for a round: ids and clocks of every op. `millis` is what the round's stamps say. */
  stamp(frame: number, round: number, millis: number): void {
    assert(round < ROUNDS_MAX, 'the digits of an id are used up');
    const view = this.#view;
    const layout = this.#layout;
    const { high, low } = roundDigits(FIRST_ROUND + round);
    let at = frame * this.frameBytes + this.#opsAt;
    for (let op = 0; op < this.opsPerFrame; op++) {
      view.setUint32(at + layout.idAt, high);
      view.setUint16(at + layout.idAt + 4, low);
      view.setFloat64(at + layout.recordMillisAt, millis);
      view.setFloat64(at + layout.opMillisAt, millis);
      at += layout.bytes.length;
    }
    if (this.#mix !== undefined) this.#mixOps(this.#mix, frame, round);
  }

  #mixOps(mix: OpMix, frame: number, round: number): void {
    const layout = this.#layout;
    const first = (round * this.frames + frame) * this.opsPerFrame;
    let at = frame * this.frameBytes + this.#opsAt;
    for (let op = first; op < first + this.opsPerFrame; op++) {
      writeDigits(this.bytes, at + layout.keyDigitsAt, mix.keyOf(op), KEY_DIGITS);
      writeDigits(this.bytes, at + layout.titleDigitsAt, op % 1_000_000);
      for (const millisAt of [layout.recordMillisAt, layout.opMillisAt]) {
        this.#view.setFloat64(at + millisAt, mix.millisOf(op));
        this.#view.setUint32(at + millisAt + MILLIS_TO_COUNTER, op);
      }
      at += layout.bytes.length;
    }
  }

  /** Frames of this slice, counted over all rounds, that an ack with this `lastId` covers. */
  framesHandled(lastId: number): number {
    const round = Math.floor(lastId / SLICE_OPS_MAX) - FIRST_ROUND;
    if (round < 0) return 0; // "0": nothing yet
    return round * this.frames + Math.floor(((lastId % SLICE_OPS_MAX) + 1) / this.opsPerFrame);
  }
}

// Digits of the last round asked for: a round is stamped frame by frame, so it is nearly always the same one.
const digits = { of: -1, high: 0, low: 0 };

/** Six decimal digits as the two big-endian words that the id is patched with. */
function roundDigits(number: number): { readonly high: number; readonly low: number } {
  if (digits.of !== number) {
    const text = TEXT.encode(String(number).padStart(6, '0'));
    const view = new DataView(text.buffer, text.byteOffset);
    digits.of = number;
    digits.high = view.getUint32(0);
    digits.low = view.getUint16(4);
  }
  return digits;
}

/** Writes `number` as decimal digits. */
function writeDigits(bytes: Uint8Array, at: number, number: number, digitCount = 6): void {
  let rest = number;
  for (let place = digitCount - 1; place >= 0; place--) {
    bytes[at + place] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}

/** Header of a masked binary frame whose mask key is 0 (RFC 6455 §5.2). */
export function clientFrameHeader(payloadBytes: number): Uint8Array {
  if (payloadBytes < 126) return Uint8Array.of(0x82, 0x80 | payloadBytes, 0, 0, 0, 0);
  if (payloadBytes < 65536) return Uint8Array.of(0x82, 0xfe, payloadBytes >> 8, payloadBytes & 0xff, 0, 0, 0, 0);
  const header = new Uint8Array(14);
  header[0] = 0x82;
  header[1] = 0xff;
  new DataView(header.buffer).setUint32(6, payloadBytes);
  return header;
}

/** `{type: 'OP_BATCH', payload: {ops: [` … with room for nothing else. */
function envelopeHead(ops: number, writeConcern: string | undefined): Uint8Array {
  const writer = new PackWriter();
  writer.map(2);
  writer.text('type');
  writer.text('OP_BATCH');
  writer.text('payload');
  writer.map(writeConcern === undefined ? 1 : 2);
  if (writeConcern !== undefined) {
    writer.text('writeConcern');
    writer.text(writeConcern);
  }
  writer.text('ops');
  writer.array(ops);
  return writer.bytes();
}

/** One op with zeros where keys, ids and clocks go. The value is a small document of 52 bytes. */
function layOutOp(mapName: string, keyPrefix: string, mix: OpMix | undefined): OpLayout {
  const writer = new PackWriter();
  writer.map(7);
  writer.text('id');
  const idAt = writer.text('000000000000');
  writer.text('mapName');
  writer.text(mapName);
  writer.text('opType');
  writer.text('PUT');
  writer.text('key');
  const keyDigitsAt = writer.text(keyPrefix + '0'.repeat(mix === undefined ? 6 : KEY_DIGITS)) + keyPrefix.length;
  writer.text('record');
  writer.map(2);
  writer.text('value');
  writer.map(4);
  writer.text('title');
  const titleDigitsAt = writer.text('item 000000') + 5;
  writer.text('count');
  writer.byte(42);
  writer.text('done');
  writer.byte(0xc2);
  writer.text('owner');
  writer.text('u-1234');
  writer.text('timestamp');
  const recordMillisAt = writer.timestamp(mix?.nodeId);
  writer.text('timestamp');
  const opMillisAt = writer.timestamp(mix?.nodeId);
  writer.text('synced');
  writer.byte(0xc2);
  return { bytes: writer.bytes(), idAt, keyDigitsAt, titleDigitsAt, recordMillisAt, opMillisAt };
}

/** Just enough of a MessagePack encoder to spell an op as the TopGun client does, and to know where fields stand. */
class PackWriter {
  readonly #bytes: number[] = [];

  byte(value: number): void {
    this.#bytes.push(value);
  }

  map(entries: number): void {
    this.#bytes.push(0xde, entries >> 8, entries & 0xff);
  }

  array(items: number): void {
    if (items < 16) this.#bytes.push(0x90 | items);
    else this.#bytes.push(0xdc, items >> 8, items & 0xff);
  }

  /** Writes a string and returns where its first byte stands. */
  text(value: string): number {
    const utf8 = TEXT.encode(value);
    if (utf8.length < 32) this.#bytes.push(0xa0 | utf8.length);
    else this.#bytes.push(0xd9, utf8.length);
    const at = this.#bytes.length;
    this.#bytes.push(...utf8);
    return at;
  }

  /** Writes a clock and returns where the eight bytes of its millis stand. With a node the counter is a word to be filled in. */
  timestamp(nodeId: string | undefined): number {
    this.map(3);
    this.text('millis');
    this.byte(0xcb);
    const at = this.#bytes.length;
    this.#bytes.push(0, 0, 0, 0, 0, 0, 0, 0);
    this.text('counter');
    if (nodeId === undefined) this.byte(0);
    else this.#bytes.push(0xce, 0, 0, 0, 0);
    this.text('nodeId');
    this.text(nodeId ?? NODE_ID);
    return at;
  }

  bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}
