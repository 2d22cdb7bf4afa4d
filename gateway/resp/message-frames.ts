/**
 * Messages of topics as Redis clients get them, each written once for all who are told.
 *
 *   by name      message  topic  data                by pattern    pmessage  pattern  topic  data
 *
 * A push in RESP3, an array in RESP2. All listeners get the same message one after the other, so the last frames are kept.
 */
import { decodeValue } from '../../engine/domains/kv/value.ts';
import { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { TopicMessage } from '../topic-desk.ts';

export class MessageFrames {
  readonly #writer = new RespWriter();
  /** By protocol: RESP2, RESP3. */
  readonly #frames: (Uint8Array | undefined)[] = [];
  #last: TopicMessage | undefined;

  of(message: TopicMessage, isResp3: boolean): Uint8Array {
    const last = this.#last;
    if (last?.data !== message.data || last.pattern !== message.pattern || last.topic !== message.topic) {
      this.#last = message;
      this.#frames.length = 0;
    }
    const protocol = isResp3 ? 1 : 0;
    const frame = this.#frames[protocol] ?? this.#frameOf(message, isResp3);
    this.#frames[protocol] = frame;
    return frame;
  }

  #frameOf({ topic, pattern, data }: TopicMessage, isResp3: boolean): Uint8Array {
    const writer = this.#writer;
    writer.reset();
    writer.isResp3 = isResp3;
    writer.push(pattern === undefined ? 3 : 4);
    writer.bulkText(pattern === undefined ? 'message' : 'pmessage');
    if (pattern !== undefined) writer.bulkText(pattern);
    writer.bulkText(topic);
    writer.bulk(decodeValue(data, 0, data.length));
    return writer.bytes.slice(0, writer.length);
  }
}
