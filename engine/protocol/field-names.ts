/**
 * The names that the scanner knows, recognised in place.
 *
 * Each function gets the span of a key or value, header included, and answers with a number. A name is told by its
 * length and by its first and last four bytes as words (for three to eight letters that is every byte), which is
 * cheaper than a loop and makes no string.
 */
import { STRING_HEADER_BYTES } from './msgpack-bounds.ts';
import { CONCERN_NAMES, CONCERN_NONE } from './op-index.ts';
import { SCAN_CLIENT_OP, SCAN_OP_BATCH, SCAN_OTHER, SCAN_PING, type ScanResult } from './scan-result.ts';

/** The answer for a value that has the wrong type or is none of the known ones. */
export const WRONG = -1;

const NIL = 0xc0;

export const FIELD_NONE = 0;
export const FIELD_TYPE = 1;
export const FIELD_PAYLOAD = 2;
export const FIELD_TIMESTAMP = 3;
export const FIELD_OPS = 4;
export const FIELD_CONCERN = 5;
export const FIELD_TIMEOUT = 6;
export const FIELD_ID = 7;
export const FIELD_KEY = 8;
export const FIELD_MAP_NAME = 9;
export const FIELD_OP_TYPE = 10;
export const FIELD_RECORD = 11;
export const FIELD_OR_RECORD = 12;
export const FIELD_OR_TAG = 13;
export const FIELD_VALUE = 14;
export const FIELD_TTL = 15;
export const FIELD_TAG = 16;
export const FIELD_MILLIS = 17;
export const FIELD_COUNTER = 18;
export const FIELD_NODE_ID = 19;
export const FIELD_FENCE = 20;

export function messageField(bytes: Uint8Array, at: number, end: number): number {
  const header = STRING_HEADER_BYTES[bytes[at] as number] as number;
  const start = at + header;
  const length = header === 0 ? 0 : end - start;
  if (length === 4) return word(bytes, start) === TYPE ? FIELD_TYPE : FIELD_NONE;
  if (length === 7) return word(bytes, start) === PAYL && word(bytes, end - 4) === LOAD ? FIELD_PAYLOAD : FIELD_NONE;
  if (length === 9) return isTimestamp(bytes, start) ? FIELD_TIMESTAMP : FIELD_NONE;
  return FIELD_NONE;
}

export function batchField(bytes: Uint8Array, at: number, end: number): number {
  const header = STRING_HEADER_BYTES[bytes[at] as number] as number;
  const start = at + header;
  const length = header === 0 ? 0 : end - start;
  if (length === 3) return word3(bytes, start) === OPS ? FIELD_OPS : FIELD_NONE;
  if (length === 7) return isTimeout(bytes, start) ? FIELD_TIMEOUT : FIELD_NONE;
  if (length === 12) return isWriteConcern(bytes, start) ? FIELD_CONCERN : FIELD_NONE;
  return FIELD_NONE;
}

export function opField(bytes: Uint8Array, at: number, end: number): number {
  const header = STRING_HEADER_BYTES[bytes[at] as number] as number;
  const start = at + header;
  const length = header === 0 ? 0 : end - start;
  switch (length) {
    case 2:
      return bytes[start] === 0x69 && bytes[start + 1] === 0x64 ? FIELD_ID : FIELD_NONE;
    case 3:
      return word3(bytes, start) === KEY ? FIELD_KEY : FIELD_NONE;
    case 5:
      if (word(bytes, start) === FENC) return bytes[start + 4] === 0x65 ? FIELD_FENCE : FIELD_NONE;
      return word(bytes, start) === ORTA && word(bytes, start + 1) === RTAG ? FIELD_OR_TAG : FIELD_NONE;
    case 6: {
      const first = word(bytes, start);
      if (first === RECO) return word(bytes, start + 2) === CORD ? FIELD_RECORD : FIELD_NONE;
      return first === OPTY && word(bytes, start + 2) === TYPE_END ? FIELD_OP_TYPE : FIELD_NONE;
    }
    case 7:
      if (word(bytes, start) === MAPN) return word(bytes, start + 3) === NAME ? FIELD_MAP_NAME : FIELD_NONE;
      return isTimeout(bytes, start) ? FIELD_TIMEOUT : FIELD_NONE;
    case 8:
      return word(bytes, start) === ORRE && word(bytes, start + 4) === CORD ? FIELD_OR_RECORD : FIELD_NONE;
    case 12:
      return isWriteConcern(bytes, start) ? FIELD_CONCERN : FIELD_NONE;
    default:
      return FIELD_NONE;
  }
}

export function recordField(bytes: Uint8Array, at: number, end: number): number {
  const header = STRING_HEADER_BYTES[bytes[at] as number] as number;
  const start = at + header;
  const length = header === 0 ? 0 : end - start;
  if (length === 5) {
    if (word(bytes, start) === VALU) return bytes[start + 4] === 0x65 ? FIELD_VALUE : FIELD_NONE;
    return word(bytes, start) === TTLM && bytes[start + 4] === 0x73 ? FIELD_TTL : FIELD_NONE;
  }
  if (length === 9) return isTimestamp(bytes, start) ? FIELD_TIMESTAMP : FIELD_NONE;
  if (length === 3) return word3(bytes, start) === TAG ? FIELD_TAG : FIELD_NONE;
  return FIELD_NONE;
}

export function timestampField(bytes: Uint8Array, at: number, end: number): number {
  const header = STRING_HEADER_BYTES[bytes[at] as number] as number;
  const start = at + header;
  const length = header === 0 ? 0 : end - start;
  if (length === 6) {
    if (word(bytes, start) === MILL) return word(bytes, start + 2) === LLIS ? FIELD_MILLIS : FIELD_NONE;
    return word(bytes, start) === NODE && word(bytes, start + 2) === DE_ID ? FIELD_NODE_ID : FIELD_NONE;
  }
  if (length === 7) return word(bytes, start) === COUN && word(bytes, start + 3) === NTER ? FIELD_COUNTER : FIELD_NONE;
  return FIELD_NONE;
}

function isTimestamp(bytes: Uint8Array, at: number): boolean {
  return word(bytes, at) === TIME && word(bytes, at + 4) === STAM && bytes[at + 8] === 0x70;
}

function isTimeout(bytes: Uint8Array, at: number): boolean {
  return word(bytes, at) === TIME && word(bytes, at + 3) === EOUT;
}

function isWriteConcern(bytes: Uint8Array, at: number): boolean {
  return word(bytes, at) === WRIT && word(bytes, at + 4) === ECON && word(bytes, at + 8) === CERN;
}

export function messageType(bytes: Uint8Array, at: number, end: number): ScanResult {
  if (spells(bytes, at, end, OP_BATCH_TEXT)) return SCAN_OP_BATCH;
  if (spells(bytes, at, end, PING_TEXT)) return SCAN_PING;
  return spells(bytes, at, end, CLIENT_OP_TEXT) ? SCAN_CLIENT_OP : SCAN_OTHER;
}

/** 1 for REMOVE, 0 for any other text or nil, WRONG for what is no text. */
export function opTypeOf(bytes: Uint8Array, at: number, end: number): number {
  if (STRING_HEADER_BYTES[bytes[at] as number] === 0) return bytes[at] === NIL ? 0 : WRONG;
  return spells(bytes, at, end, REMOVE_TEXT) ? 1 : 0;
}

/** Number of a durability level, CONCERN_NONE for nil, WRONG for anything that is no level: asking for one we do not know is refused. */
export function concernOf(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at] === NIL) return CONCERN_NONE;
  for (let concern = 1; concern < CONCERN_TEXTS.length; concern++) {
    if (spells(bytes, at, end, CONCERN_TEXTS[concern] as Uint8Array)) return concern;
  }
  return WRONG;
}

function spells(bytes: Uint8Array, at: number, end: number, text: Uint8Array): boolean {
  const header = STRING_HEADER_BYTES[bytes[at] as number] as number;
  if (header === 0 || end - at - header !== text.length) return false;
  for (let index = 0; index < text.length; index++) if (bytes[at + header + index] !== text[index]) return false;
  return true;
}

/** Four bytes as one number, to compare names by. */
function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

function word3(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
}

const TYPE = wordOf('type');
const PAYL = wordOf('payl');
const LOAD = wordOf('load');
const OPS = wordOf('ops');
const KEY = wordOf('key');
const FENC = wordOf('fenc');
const ORTA = wordOf('orTa');
const RTAG = wordOf('rTag');
const RECO = wordOf('reco');
const CORD = wordOf('cord');
const OPTY = wordOf('opTy');
const TYPE_END = wordOf('Type');
const MAPN = wordOf('mapN');
const NAME = wordOf('Name');
const ORRE = wordOf('orRe');
const VALU = wordOf('valu');
const TTLM = wordOf('ttlM');
const TAG = wordOf('tag');
const MILL = wordOf('mill');
const LLIS = wordOf('llis');
const NODE = wordOf('node');
const DE_ID = wordOf('deId');
const COUN = wordOf('coun');
const NTER = wordOf('nter');
const TIME = wordOf('time');
const STAM = wordOf('stam');
const EOUT = wordOf('eout');
const WRIT = wordOf('writ');
const ECON = wordOf('eCon');
const CERN = wordOf('cern');

const OP_BATCH_TEXT = ascii('OP_BATCH');
const CLIENT_OP_TEXT = ascii('CLIENT_OP');
const PING_TEXT = ascii('PING');
const REMOVE_TEXT = ascii('REMOVE');
const CONCERN_TEXTS: readonly Uint8Array[] = CONCERN_NAMES.map(ascii);

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function wordOf(text: string): number {
  return ascii(text).reduce((sum, letter, index) => sum | (letter << (8 * index)), 0);
}
