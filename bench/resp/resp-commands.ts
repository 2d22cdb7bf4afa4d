/**
 * The commands of the load, as redis-benchmark sends them, and what their replies must be.
 *
 *   SET   key:000000012345 xxx    +OK            every reply of a kind has the same bytes, so a chunk of replies is
 *   GET   key:000000012345        $3 xxx         compared as it came; only INCR has replies that are read
 *   INCR  counter:000000012345    :n
 */
const VALUE = 'xxx';

export const COMMAND_NAMES = ['GET', 'SET', 'INCR'] as const;
export type CommandName = (typeof COMMAND_NAMES)[number];
/** Commands of a write. */
export const PIPELINES = [1, 16] as const;
/** A reply of each; those of INCR have other digits. */
export const REPLIES: Readonly<Record<CommandName, string>> = {
  GET: `$${VALUE.length}\r\n${VALUE}\r\n`,
  SET: '+OK\r\n',
  INCR: ':100000\r\n',
};

export function keyOf(name: CommandName, number: number): string {
  return `${name === 'INCR' ? 'counter' : 'key'}:${String(number).padStart(12, '0')}`;
}

export function wordsOf(name: CommandName, number: number): readonly string[] {
  const key = keyOf(name, number);
  return name === 'SET' ? ['SET', key, VALUE] : [name, key];
}

/** Takes chunks of replies and tells how many are complete. Throws at the first that is not what it must be. */
export class ReplyChecker {
  readonly #expected: Buffer | undefined;
  /** Place in the expected reply; for INCR: whether a reply is under way. */
  #at = 0;

  constructor(name: CommandName) {
    this.#expected = name === 'INCR' ? undefined : Buffer.from(REPLIES[name]);
  }

  count(chunk: Buffer): number {
    return this.#expected === undefined ? this.#countIntegers(chunk) : this.#countSame(chunk, this.#expected);
  }

  #countSame(chunk: Buffer, expected: Buffer): number {
    let replies = 0;
    let at = this.#at;
    for (let index = 0; index < chunk.length; index++) {
      if (chunk[index] !== expected[at]) throw wrong(chunk, index);
      at += 1;
      if (at < expected.length) continue;
      at = 0;
      replies += 1;
    }
    this.#at = at;
    return replies;
  }

  #countIntegers(chunk: Buffer): number {
    let replies = 0;
    for (let index = 0; index < chunk.length; index++) {
      const byte = chunk[index] as number;
      const isRight = this.#at === 0 ? byte === COLON : (byte >= ZERO && byte <= NINE) || byte === CR || byte === LF;
      if (!isRight) throw wrong(chunk, index);
      this.#at = byte === LF ? 0 : 1;
      if (byte === LF) replies += 1;
    }
    return replies;
  }
}

function wrong(chunk: Buffer, index: number): Error {
  return new Error(`a reply is wrong at ${JSON.stringify(chunk.toString('latin1', Math.max(0, index - 20), index + 80))}`);
}

const COLON = 0x3a;
const ZERO = 0x30;
const NINE = 0x39;
const CR = 0x0d;
const LF = 0x0a;
