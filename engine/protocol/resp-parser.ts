/**
 * Takes commands out of a stream of bytes in the Redis protocol: `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`, or a typed line.
 *
 *   #bytes   … done │ *3 $3 SET $1 k $4096 xxxxxx │ free          spans of the arguments point into it
 *                   ▲ #start                      ▲ #end
 *
 * A command that has arrived as a whole, as most do, is read in one pass. What has arrived of any other is read once more, then never
 * again: the count of arguments still to come and the length of the one at hand are kept between chunks. A chunk that begins with a command is parsed where it lies; only the beginning of an unfinished
 * command is copied. Lengths are checked when they are announced, and room is made for what has arrived, not for what was
 * announced: a client that says much and sends little costs little.
 */
import { splitInline } from './resp-inline.ts';

export interface RespLimits {
  /** Arguments of one command. */
  readonly argumentsMax: number;
  /** Bytes of one argument. */
  readonly bulkBytesMax: number;
  /** Bytes of all arguments of a command. */
  readonly commandBytesMax: number;
}

/** A line without its end, a count or a length may be so long. */
const LINE_BYTES_MAX = 64 * 1024;
const UNAUTHENTICATED_ARGUMENTS_MAX = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX = 16_384;
/** Of a count or length that is read in one pass. */
const WHOLE_DIGITS_MAX = 9;
const BUFFER_BYTES_MIN = 1024;
/** A larger buffer goes when little or nothing of it is pending. */
const KEPT_BYTES = 64 * 1024;
/** Of arguments whose spans are kept room for. */
const KEPT_ARGUMENTS = 1024;
const KEPT_SHARE = 4;
const NO_BYTES = new Uint8Array(0);
const ARGUMENTS_MIN = 16;

const STAR = 0x2a;
const DOLLAR = 0x24;
const MINUS = 0x2d;
const CR = 0x0d;
const LF = 0x0a;

/** Answers of `next`. */
export const RESP_NEEDS_MORE = 0;
export const RESP_COMMAND = 1;
/** `error` says what is wrong; nothing more is to be read from this client. */
export const RESP_ERROR = 2;
export type RespStep = typeof RESP_NEEDS_MORE | typeof RESP_COMMAND | typeof RESP_ERROR;

/** The arguments of one command, as spans of `bytes`. Filled again and again. */
export class RespCommand {
  bytes: Uint8Array = NO_BYTES;
  count = 0;
  /** Hash (fnv1a) of argument 1, where whoever filled this knows it; else 0. */
  keyHash = 0;
  starts: Int32Array<ArrayBuffer>;
  lengths: Int32Array<ArrayBuffer>;

  /** @param room for so many arguments, at least 1; it grows. */
  constructor(room = ARGUMENTS_MIN) {
    this.starts = new Int32Array(room);
    this.lengths = new Int32Array(room);
  }

  /** Forgets everything, and gives back the room that many arguments took. */
  release(): void {
    this.clear(NO_BYTES);
    if (this.starts.length <= KEPT_ARGUMENTS) return;
    this.starts = new Int32Array(ARGUMENTS_MIN);
    this.lengths = new Int32Array(ARGUMENTS_MIN);
  }

  clear(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.count = 0;
    this.keyHash = 0;
  }

  add(start: number, length: number): void {
    if (this.count === this.starts.length) {
      this.starts = grown(this.starts);
      this.lengths = grown(this.lengths);
    }
    this.starts[this.count] = start;
    this.lengths[this.count] = length;
    this.count += 1;
  }

  /** One argument, not copied. */
  argument(index: number): Uint8Array {
    const start = this.starts[index] as number;
    return this.bytes.subarray(start, start + (this.lengths[index] as number));
  }

  /** One argument as text; bytes that are not UTF-8 become U+FFFD. */
  text(index: number): string {
    const start = this.starts[index] as number;
    const end = start + (this.lengths[index] as number);
    let text = '';
    if (end - start > 64) return decoder.decode(this.bytes.subarray(start, end));
    for (let at = start; at < end; at++) {
      const byte = this.bytes[at] as number;
      if (byte >= 0x80) return decoder.decode(this.bytes.subarray(start, end));
      text += String.fromCharCode(byte);
    }
    return text;
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true }); // a name with a BOM is another name

export class RespParser {
  /** The command that `next` found. Its bytes are valid until the next `feed`. */
  readonly command = new RespCommand();
  /** What is wrong, as the client is told behind "Protocol error: ". */
  error = '';
  /** Before a client has authenticated it may only send little. */
  isTrusted = true;
  readonly #limits: RespLimits;
  #bytes: Uint8Array = NO_BYTES;
  /** True when `#bytes` is a buffer of ours with room behind `#end`. */
  #isOwn = false;
  #start = 0;
  #at = 0;
  #end = 0;
  /** Where the search for the end of the line at hand goes on. */
  #searchAt = 0;
  /** Arguments still to come; 0 between commands. */
  #left = 0;
  /** Length of the argument at hand, -1 when it is not known yet. */
  #bulkBytes = -1;
  #commandBytes = 0;
  /** What `#number` has read. */
  #read = 0;

  constructor(limits: RespLimits) {
    this.#limits = limits;
  }

  /** Bytes that have arrived and belong to no command yet. */
  get pendingBytes(): number {
    return this.#end - this.#start;
  }

  /** Adds what has arrived; call `next` until it needs more. The chunk is kept and must not change. */
  feed(chunk: Uint8Array): void {
    const pending = this.#end - this.#start;
    if (pending === 0) {
      this.#bytes = chunk;
      this.#isOwn = false;
      this.#move(0, chunk.length);
      this.command.clear(chunk);
      return;
    }
    if (!this.#isOwn || this.#end + chunk.length > this.#bytes.length) this.#makeRoom(pending, chunk.length);
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** Parses on. After RESP_COMMAND, `command` holds it until the next call. */
  next(): RespStep {
    const step = this.#next();
    if (step === RESP_NEEDS_MORE && this.#bytes.length > KEPT_BYTES) this.#release();
    return step;
  }

  #next(): RespStep {
    for (;;) {
      if (this.#left === 0) {
        this.#start = this.#at;
        if (this.#at === this.#end) return RESP_NEEDS_MORE;
        if (this.#whole()) return RESP_COMMAND;
        const step = this.#bytes[this.#at] === STAR ? this.#begin() : this.#inline();
        if (step !== RESP_COMMAND) return step;
        if (this.#left === 0) {
          if (this.command.count > 0) return RESP_COMMAND;
          continue; // an empty command is not answered
        }
      }
      const step = this.#bulk();
      if (step !== RESP_COMMAND) return step;
      if (this.#left === 0) return RESP_COMMAND;
    }
  }

  /**
   * True, and `command` has it, when the command at hand is all there, has an argument and nothing wrong. False, and nothing done, for
   * all else: `#begin` and `#bulk` find out what it is.
   */
  #whole(): boolean {
    const bytes = this.#bytes;
    const end = this.#end;
    const { argumentsMax, bulkBytesMax, commandBytesMax } = this.#limits;
    const { command } = this;
    let at = this.#at;
    if (bytes[at] !== STAR) return false;
    at = this.#number(at + 1);
    const count = this.#read;
    if (at < 0 || count === 0 || count > argumentsMax || (!this.isTrusted && count > UNAUTHENTICATED_ARGUMENTS_MAX)) return false;
    command.clear(bytes);
    let commandBytes = 0;
    for (let index = 0; index < count; index++) {
      if (at >= end || bytes[at] !== DOLLAR) return false;
      at = this.#number(at + 1);
      const length = this.#read;
      if (at < 0 || length > bulkBytesMax || (!this.isTrusted && length > UNAUTHENTICATED_BULK_BYTES_MAX)) return false;
      commandBytes += length;
      if (commandBytes > commandBytesMax || end - at < length + 2) return false;
      command.add(at, length);
      at += length + 2;
    }
    this.#at = at;
    this.#searchAt = at;
    return true;
  }

  /** Reads a count or a length in its only spelling, with the end of its line, into `#read`; answers where it ends, -1 for all else. */
  #number(start: number): number {
    const bytes = this.#bytes;
    const end = this.#end;
    const digitsEnd = Math.min(end, start + WHOLE_DIGITS_MAX + 1);
    let value = 0;
    let at = start;
    for (; at < digitsEnd; at++) {
      const digit = (bytes[at] as number) - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    const digits = at - start;
    if (digits === 0 || digits > WHOLE_DIGITS_MAX || (digits > 1 && bytes[start] === 0x30)) return -1;
    if (at + 1 >= end || bytes[at] !== CR || bytes[at + 1] !== LF) return -1;
    this.#read = value;
    return at + 2;
  }

  /** `*count`. Afterwards `#left` arguments are to come, none for a count below 1. */
  #begin(): RespStep {
    const lineEnd = this.#lineEnd();
    if (lineEnd < 0) return this.#isLineTooLong() ? this.#fail('too big mbulk count string') : RESP_NEEDS_MORE;
    const count = integerOf(this.#bytes, this.#at + 1, lineEnd);
    if (!(count <= this.#limits.argumentsMax)) return this.#fail('invalid multibulk length');
    if (!this.isTrusted && count > UNAUTHENTICATED_ARGUMENTS_MAX) return this.#fail('unauthenticated multibulk length');
    this.#at = lineEnd + 2;
    this.#searchAt = this.#at;
    this.#left = Math.max(0, count);
    this.#bulkBytes = -1;
    this.#commandBytes = 0;
    this.command.clear(this.#bytes);
    return RESP_COMMAND;
  }

  /** One argument, its announcement or its bytes. RESP_COMMAND: it is there. */
  #bulk(): RespStep {
    if (this.#bulkBytes < 0) {
      const step = this.#announcement();
      if (step !== RESP_COMMAND) return step;
    }
    if (this.#end - this.#at < this.#bulkBytes + 2) return RESP_NEEDS_MORE;
    this.command.add(this.#at, this.#bulkBytes);
    this.#at += this.#bulkBytes + 2;
    this.#searchAt = this.#at;
    this.#bulkBytes = -1;
    this.#left -= 1;
    return RESP_COMMAND;
  }

  /** `$length`. */
  #announcement(): RespStep {
    const lineEnd = this.#lineEnd();
    if (lineEnd < 0) return this.#isLineTooLong() ? this.#fail('too big bulk count string') : RESP_NEEDS_MORE;
    const first = this.#bytes[this.#at] as number;
    if (first !== DOLLAR) return this.#fail(`expected '$', got '${String.fromCharCode(first)}'`);
    const length = integerOf(this.#bytes, this.#at + 1, lineEnd);
    if (!(length >= 0 && length <= this.#limits.bulkBytesMax)) return this.#fail('invalid bulk length');
    if (!this.isTrusted && length > UNAUTHENTICATED_BULK_BYTES_MAX) return this.#fail('unauthenticated bulk length');
    this.#commandBytes += length;
    if (this.#commandBytes > this.#limits.commandBytesMax) return this.#fail('too big command');
    this.#at = lineEnd + 2;
    this.#bulkBytes = length;
    return RESP_COMMAND;
  }

  /** Position of the CR that ends the line at hand and has its LF behind it, or -1. */
  #lineEnd(): number {
    const at = this.#find(CR);
    if (at >= 0) {
      this.#searchAt = at;
      return at + 1 < this.#end ? at : -1;
    }
    this.#searchAt = this.#end;
    return -1;
  }

  /** Where the byte is, from where the search goes on, in what has arrived; -1. Behind it a buffer has megabytes of what was there before. */
  #find(byte: number): number {
    const offset = this.#bytes.subarray(this.#searchAt, this.#end).indexOf(byte);
    return offset < 0 ? -1 : this.#searchAt + offset;
  }

  #isLineTooLong(): boolean {
    return this.#searchAt === this.#end && this.#end - this.#at > LINE_BYTES_MAX;
  }

  #inline(): RespStep {
    const at = this.#find(LF);
    if (at < 0) {
      this.#searchAt = this.#end;
      return this.#end - this.#at > LINE_BYTES_MAX ? this.#fail('too big inline request') : RESP_NEEDS_MORE;
    }
    if (at - this.#at > LINE_BYTES_MAX) return this.#fail('too big inline request');
    const lineEnd = at > this.#at && this.#bytes[at - 1] === CR ? at - 1 : at;
    const isWhole = splitInline(this.#bytes, this.#at, lineEnd, this.command);
    this.#at = at + 1;
    this.#searchAt = this.#at;
    return isWhole ? RESP_COMMAND : this.#fail('unbalanced quotes in request');
  }

  #fail(error: string): RespStep {
    this.error = error;
    return RESP_ERROR;
  }

  /** Gives back a large buffer of which little or nothing is pending. */
  #release(): void {
    const pending = this.#end - this.#start;
    if (pending === 0) {
      this.#bytes = NO_BYTES;
      this.#isOwn = false;
      this.#move(0, 0);
      this.command.release();
    } else if (this.#isOwn && this.#bytes.length > 2 * KEPT_BYTES && pending * KEPT_SHARE < this.#bytes.length) {
      this.#isOwn = false;
      this.#makeRoom(pending, 0);
    }
  }

  /** Moves what has arrived of the command at hand to the front of a buffer of ours with room for `bytes` more. */
  #makeRoom(pending: number, bytes: number): void {
    const from = this.#start;
    let target = this.#bytes;
    if (!this.#isOwn || pending + bytes > target.length) {
      let capacity = BUFFER_BYTES_MIN;
      while (capacity < pending + bytes) capacity *= 2;
      target = new Uint8Array(capacity);
    }
    if (target === this.#bytes) target.copyWithin(0, from, this.#end);
    else target.set(this.#bytes.subarray(from, this.#end));
    const { command } = this;
    for (let index = 0; index < command.count; index++) (command.starts[index] as number) -= from;
    command.bytes = target;
    this.#bytes = target;
    this.#isOwn = true;
    this.#at -= from;
    this.#searchAt -= from;
    this.#end = pending;
    this.#start = 0;
  }

  #move(start: number, end: number): void {
    this.#start = start;
    this.#at = start;
    this.#searchAt = start;
    this.#end = end;
  }
}

/** The integer that the bytes spell, as Redis reads it: no sign but `-`, no zero before other digits. NaN for all else. */
function integerOf(bytes: Uint8Array, start: number, end: number): number {
  const isNegative = bytes[start] === MINUS;
  const first = isNegative ? start + 1 : start;
  if (end <= first || end - first > 15) return Number.NaN;
  if (bytes[first] === 0x30) return end - first === 1 && !isNegative ? 0 : Number.NaN;
  let value = 0;
  for (let at = first; at < end; at++) {
    const digit = (bytes[at] as number) - 0x30;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return isNegative ? -value : value;
}

function grown(from: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const to = new Int32Array(from.length * 2);
  to.set(from);
  return to;
}
