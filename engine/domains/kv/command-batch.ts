/**
 * Commands on their way to a worker, and replies on their way back: what the requests of kind 70 carry.
 *
 *   request   word 0 count · per command: word spec | resp3 << 16 | db << 17, word hash of argument 1 or 0, word arguments,
 *             a word of length each, their bytes padded to words
 *   reply     word 0 count · a word of length a reply · the replies, back to back
 *
 * Little-endian words as the machine has them: both ends are this process.
 */
import { assert } from '../../assert.ts';
import type { RespCommand } from '../../protocol/resp-parser.ts';
import type { BodyPool } from './body-pool.ts';

const FIRST_BYTES = 4096;
const KEPT_BYTES = 1 << 20;
/** Shorter ones are copied by a loop: it costs less than the call of a copy. */
const LOOP_BYTES_MAX = 48;
const RESP3_BIT = 1 << 16;
const DB_SHIFT = 17;
const SPEC_MASK = 0xffff;
/** Of a command, before the lengths of its arguments. */
const HEAD_WORDS = 3;

/** Collects the commands of one request. */
export class CommandBatchWriter {
  count = 0;
  #bytes = new Uint8Array(FIRST_BYTES);
  #words = new Int32Array(this.#bytes.buffer);
  #length = 4;
  #lengthsAt = 0;

  /** Begins a command of `argumentCount` arguments, which `argument` adds one by one. `keyHash`: of argument 1, if it is a key and known. */
  begin(spec: number, isResp3: boolean, db: number, argumentCount: number, keyHash = 0): void {
    const start = this.#length;
    this.#claim(4 * (HEAD_WORDS + argumentCount));
    const word = start >>> 2;
    this.#words[word] = spec | (isResp3 ? RESP3_BIT : 0) | (db << DB_SHIFT);
    this.#words[word + 1] = keyHash;
    this.#words[word + 2] = argumentCount;
    this.#lengthsAt = word + HEAD_WORDS;
    this.count += 1;
  }

  argument(source: Uint8Array, start: number, length: number): void {
    const at = this.#length;
    this.#claim(length);
    this.#words[this.#lengthsAt] = length;
    this.#lengthsAt += 1;
    const bytes = this.#bytes;
    if (length > LOOP_BYTES_MAX) bytes.set(source.subarray(start, start + length), at);
    else for (let index = 0; index < length; index++) bytes[at + index] = source[start + index] as number;
  }

  /** Ends a command. */
  end(): void {
    this.#claim(-this.#length & 3);
  }

  /** Adds a whole command. */
  add(spec: number, isResp3: boolean, db: number, command: RespCommand, keyHash = 0): void {
    const { bytes: source, count, starts, lengths } = command;
    let bytes = 0;
    for (let index = 0; index < count; index++) bytes += lengths[index] as number;
    let at = this.#length + 4 * (HEAD_WORDS + count);
    let word = this.#length >>> 2;
    this.#claim(4 * (HEAD_WORDS + count) + ((bytes + 3) & ~3));
    const words = this.#words;
    const target = this.#bytes;
    words[word++] = spec | (isResp3 ? RESP3_BIT : 0) | (db << DB_SHIFT);
    words[word++] = keyHash;
    words[word++] = count;
    for (let index = 0; index < count; index++) {
      const start = starts[index] as number;
      const length = lengths[index] as number;
      words[word++] = length;
      if (length > LOOP_BYTES_MAX) target.set(source.subarray(start, start + length), at);
      else for (let offset = 0; offset < length; offset++) target[at + offset] = source[start + offset] as number;
      at += length;
    }
    this.count += 1;
  }

  get bytesLength(): number {
    return this.#length;
  }

  /** The body of the request, a copy; the writer begins anew. */
  take(): Uint8Array {
    const body = this.view().slice();
    this.clear();
    return body;
  }

  /** The body of the request where it lies: valid until more is added. `clear` follows it. */
  view(): Uint8Array {
    this.#words[0] = this.count;
    return this.#bytes.subarray(0, this.#length);
  }

  /** Begins anew. */
  clear(): void {
    this.count = 0;
    this.#length = 4;
    if (this.#bytes.length > KEPT_BYTES) this.#allocate(FIRST_BYTES);
  }

  #claim(bytes: number): void {
    const end = this.#length + bytes;
    if (end > this.#bytes.length) {
      const old = this.#bytes;
      let capacity = old.length;
      while (capacity < end) capacity *= 2;
      this.#allocate(capacity);
      this.#bytes.set(old.subarray(0, this.#length));
    }
    this.#length = end;
  }

  #allocate(bytes: number): void {
    this.#bytes = new Uint8Array(bytes);
    this.#words = new Int32Array(this.#bytes.buffer);
  }
}

/** Walks the commands of a request. */
export class CommandBatchReader {
  readonly count: number;
  spec = 0;
  isResp3 = false;
  db = 0;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  #at = 1;
  #before = 1;

  constructor(body: Uint8Array) {
    assert((body.byteOffset & 3) === 0 && (body.length & 3) === 0, 'commands stand on words');
    this.#bytes = body;
    this.#words = new Int32Array(body.buffer, body.byteOffset, body.length >>> 2);
    this.count = this.#words[0] as number;
  }

  /** Points `command` at the next one. Called `count` times. */
  next(command: RespCommand): void {
    const words = this.#words;
    this.#before = this.#at;
    const head = words[this.#at] as number;
    const argumentCount = words[this.#at + 2] as number;
    const lengthsAt = this.#at + HEAD_WORDS;
    this.spec = head & SPEC_MASK;
    this.isResp3 = (head & RESP3_BIT) !== 0;
    this.db = head >>> DB_SHIFT;
    command.clear(this.#bytes);
    command.keyHash = (words[this.#at + 1] as number) >>> 0;
    let at = (lengthsAt + argumentCount) << 2;
    for (let index = 0; index < argumentCount; index++) {
      const length = words[lengthsAt + index] as number;
      command.add(at, length);
      at += length;
    }
    this.#at = (at + 3) >>> 2;
  }

  /** Has the next `next` give the same command again. */
  back(): void {
    this.#at = this.#before;
  }
}

/** Puts replies together: their lengths are known at the end only. */
export function packReplies(pool: BodyPool, lengths: readonly number[], replies: Uint8Array, bytes: number): Uint8Array {
  const count = lengths.length;
  const head = 4 * (1 + count);
  const at = pool.cut(head + bytes);
  const { words } = pool;
  const word = at >>> 2;
  words[word] = count;
  for (let index = 0; index < count; index++) words[word + 1 + index] = lengths[index] as number;
  pool.bytes.set(replies.subarray(0, bytes), at + head);
  return pool.bytes.subarray(at, at + head + bytes);
}

/** Where the first reply of the body that begins at `start` lies; the others follow it. */
export function firstReplyAt(source: Uint8Array, start: number): number {
  const low = (source[start] as number) | ((source[start + 1] as number) << 8);
  const count = low | ((source[start + 2] as number) << 16) | ((source[start + 3] as number) << 24);
  return start + 4 * (1 + count);
}

/** Where the replies of a body lie: `starts[n]` to `starts[n + 1]`. */
export function replyStarts(body: Uint8Array): Int32Array {
  const words = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const count = words.getInt32(0, true);
  const starts = new Int32Array(count + 1);
  let at = 4 * (1 + count);
  for (let index = 0; index < count; index++) {
    starts[index] = at;
    at += words.getInt32(4 * (1 + index), true);
  }
  starts[count] = at;
  return starts;
}
