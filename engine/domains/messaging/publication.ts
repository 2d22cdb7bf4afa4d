/**
 * A message of a topic as it crosses the rings, gateway → worker → gateways: what is looked at stands in front, and the frame that
 * subscribers get is ready behind it.
 *
 *   byte  0  number u32        counts the publications of a gateway: one that comes twice is told
 *         4  origin session u32, 0 = none
 *         8  origin gateway u16 · topic bytes u16
 *        12  data start u32 · data bytes u32       the payload's MessagePack, in the frame
 *        20  topic, UTF-8 · then the frame: a whole TOPIC_MESSAGE
 */
import { encode } from '../../protocol/codec.ts';
import { MessageWriter } from '../../protocol/msgpack-writer.ts';
import { decodeText, encodeText } from '../../protocol/wire-text.ts';

const TOPIC_START = 20;

export interface NewPublication {
  readonly number: number;
  readonly gateway: number;
  /** The publishing session, which does not get the message; 0 for a door without sessions. */
  readonly session: number;
  readonly topic: string;
  /** The payload in MessagePack. */
  readonly data: Uint8Array;
  /** Who publishes, as subscribers are told. */
  readonly publisherId: string;
  readonly timestampMs: number;
}

export function encodePublication(publication: NewPublication): Uint8Array {
  const { data, publisherId, timestampMs } = publication;
  const topic = encodeText(publication.topic);
  const frame = new MessageWriter(TOPIC_START + topic.length * 2 + data.length + 128);
  frame.raw(new Uint8Array(TOPIC_START), 0, TOPIC_START);
  frame.raw(topic, 0, topic.length);
  frame.mapHeader(2);
  frame.string('type');
  frame.string('TOPIC_MESSAGE');
  frame.string('payload');
  frame.mapHeader(4);
  frame.string('topic');
  frame.stringBytes(topic, 0, topic.length);
  frame.string('data');
  const dataStart = frame.length;
  frame.raw(data, 0, data.length);
  frame.string('publisherId');
  frame.string(publisherId);
  frame.string('timestamp');
  frame.number(timestampMs);
  const view = new DataView(frame.bytes.buffer);
  view.setUint32(0, publication.number, true);
  view.setUint32(4, publication.session, true);
  view.setUint16(8, publication.gateway, true);
  view.setUint16(10, topic.length, true);
  view.setUint32(12, dataStart, true);
  view.setUint32(16, data.length, true);
  return frame.bytes.subarray(0, frame.length);
}

/** The payload of a message, as a door without decoded values hands it on. */
export function encodeData(data: unknown): Uint8Array {
  return encode(data).slice();
}

/** A publication, read in place. */
export class Publication {
  readonly body: Uint8Array;
  readonly number: number;
  readonly session: number;
  readonly gateway: number;
  readonly topic: string;
  readonly #view: DataView;
  readonly #frameStart: number;

  constructor(body: Uint8Array) {
    this.body = body;
    this.#view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    this.number = this.#view.getUint32(0, true);
    this.session = this.#view.getUint32(4, true);
    this.gateway = this.#view.getUint16(8, true);
    this.#frameStart = TOPIC_START + this.#view.getUint16(10, true);
    this.topic = decodeText(body, TOPIC_START, this.#frameStart);
  }

  /** The TOPIC_MESSAGE. */
  get frame(): Uint8Array {
    return this.body.subarray(this.#frameStart);
  }

  /** The payload in MessagePack. */
  get data(): Uint8Array {
    const start = this.#view.getUint32(12, true);
    return this.body.subarray(start, start + this.#view.getUint32(16, true));
  }
}
