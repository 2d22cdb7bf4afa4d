/**
 * Splits a line as it is typed into arguments, after Redis' sdssplitargs.
 *
 *   set "a b" 'it\'s' \n       words between white space; "…" knows \n \r \t \b \a \\ \" and \xHH, '…' knows \' only
 *
 * A closing quote must end its word. A NUL ends the line.
 */
import type { RespCommand } from './resp-parser.ts';

const SPACE = 0x20;
const DOUBLE_QUOTE = 0x22;
const SINGLE_QUOTE = 0x27;
const BACKSLASH = 0x5c;

/** Fills `command` from `line[start, end)`; its bytes are new ones. False for quotes that do not match. */
export function splitInline(line: Uint8Array, start: number, end: number, command: RespCommand): boolean {
  const bytes = new Uint8Array(end - start);
  command.clear(bytes);
  let written = 0;
  let at = start;
  for (;;) {
    while (at < end && isSpace(line[at] as number)) at++;
    if (at === end || line[at] === 0) return true;
    const wordStart = written;
    let quote = 0;
    for (;;) {
      const byte = at < end ? (line[at] as number) : 0;
      if (quote === 0) {
        if (byte === 0 || isSpace(byte)) break;
        if (byte === DOUBLE_QUOTE || byte === SINGLE_QUOTE) quote = byte;
        else bytes[written++] = byte;
        at += 1;
        continue;
      }
      if (byte === 0) return false;
      if (byte === quote) {
        const after = at + 1 < end ? (line[at + 1] as number) : 0;
        if (after !== 0 && !isSpace(after)) return false;
        at += 1;
        break;
      }
      if (byte === BACKSLASH && quote === DOUBLE_QUOTE && at + 1 < end) {
        const value = hexPair(line, at + 1, end);
        if (value >= 0) {
          bytes[written++] = value;
          at += 4;
        } else {
          bytes[written++] = escaped(line[at + 1] as number);
          at += 2;
        }
      } else if (byte === BACKSLASH && quote === SINGLE_QUOTE && at + 1 < end && line[at + 1] === SINGLE_QUOTE) {
        bytes[written++] = SINGLE_QUOTE;
        at += 2;
      } else {
        bytes[written++] = byte;
        at += 1;
      }
    }
    command.add(wordStart, written - wordStart);
  }
}

function isSpace(byte: number): boolean {
  return byte === SPACE || (byte >= 0x09 && byte <= 0x0d);
}

/** The byte that `xHH` at `at` spells, or -1. */
function hexPair(line: Uint8Array, at: number, end: number): number {
  if (at + 2 >= end || line[at] !== 0x78) return -1;
  const high = hexDigit(line[at + 1] as number);
  const low = hexDigit(line[at + 2] as number);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function escaped(byte: number): number {
  switch (byte) {
    case 0x6e:
      return 0x0a;
    case 0x72:
      return 0x0d;
    case 0x74:
      return 0x09;
    case 0x62:
      return 0x08;
    case 0x61:
      return 0x07;
    default:
      return byte;
  }
}
