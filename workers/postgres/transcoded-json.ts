/** The JSON copies of values for people who read Postgres: the transcoder's text, one value at a time. */
import { JsonTranscoder, NOT_JSON } from '../../engine/protocol/json-transcoder.ts';
import type { JsonSource } from './postgres-batch.ts';

export class TranscodedJson implements JsonSource {
  readonly #transcoder = new JsonTranscoder();

  toJson(bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
    this.#transcoder.reset();
    const length = this.#transcoder.transcode(bytes, start, end);
    return length === NOT_JSON ? undefined : this.#transcoder.bytes.subarray(0, length);
  }
}
