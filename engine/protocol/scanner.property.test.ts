/**
 * The scanner against decoding: what it finds in place must be what a full decode finds, on frames of every form and on
 * damaged ones. The reference for "well formed" is a recursive reader of its own, below.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fnv1a, fnv1aUtf8 } from '../partition/hash.ts';
import { type Data, decode, isData } from './codec.ts';
import { checkBounds } from './msgpack-bounds.ts';
import {
  CONCERN_NAMES,
  CONCERN_SHIFT,
  FLAG_EMPTY,
  FLAG_FENCED,
  FLAG_INVALID,
  FLAG_UNSTAMPED,
  OP,
  OP_OR_ADD,
  OP_OR_REMOVE,
} from './op-index.ts';
import { OP_PUT, OP_REMOVE, OP_WORDS } from './op-index.ts';
import { SCAN_CLIENT_OP, SCAN_MALFORMED, SCAN_OP_BATCH, SCAN_OTHER, SCAN_PING, Scanner } from './scanner.ts';
import { encodeWild, Pairs, Random } from './wild-encoder.ts';
import { decodeText } from './wire-text.ts';

const RUNS = 2000;
const scanner = new Scanner();

test('a scan finds what a full decode finds, for any order, width and repetition of keys', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Random(seed);
      expectScanLikeDecode(encodeWild(wildMessage(random), random));
    }),
    { numRuns: RUNS },
  );
});

test('a damaged frame is malformed for the scan exactly when it is for a full walk, and is else read like any other', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Random(seed);
      expectScanLikeDecode(damage(encodeWild(wildMessage(random), random), random));
    }),
    { numRuns: 4 * RUNS },
  );
});

test('a scan depends on no byte behind the length that it is given', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Random(seed);
      const frame = random.chance(2)
        ? damage(encodeWild(wildMessage(random), random), random)
        : encodeWild(wildMessage(random), random);
      const alone = describe(frame, frame.length);
      const followed = new Uint8Array(frame.length + 64).fill(random.below(256));
      followed.set(frame);
      assert.deepEqual(describe(followed, frame.length), alone);
    }),
    { numRuns: RUNS },
  );
});

function describe(frame: Uint8Array, length: number): unknown {
  const result = scanner.scan(frame, length);
  const { index, writeConcern, timeoutMs, batchInvalid, pingStart, pingBytes } = scanner;
  const rows = Array.from(index.words.subarray(0, index.count * OP_WORDS));
  return { result, rows, writeConcern, timeoutMs, batchInvalid, pingStart, pingBytes };
}

function expectScanLikeDecode(frame: Uint8Array): void {
  const result = scanner.scan(frame, frame.length);
  const isWell = isWellFormed(frame);
  assert.equal(checkBounds(frame, 0, frame.length) === 0, isWell);
  assert.equal(result !== SCAN_MALFORMED, isWell);
  if (!isWell) return;
  const message = decode(frame);
  assert.equal(result, expectedResult(message));
  if (!isData(message)) return;
  if (result === SCAN_OP_BATCH) expectBatch(frame, message.payload);
  else if (result === SCAN_CLIENT_OP) {
    assert.equal(scanner.index.count, 1);
    expectRow(frame, 0, message.payload);
  } else assert.equal(scanner.index.count, 0);
  if (result === SCAN_PING) expectPing(frame, message.timestamp);
}

function expectedResult(message: unknown): number {
  if (!isData(message)) return SCAN_OTHER;
  if (message.type === 'OP_BATCH') return SCAN_OP_BATCH;
  if (message.type === 'CLIENT_OP') return SCAN_CLIENT_OP;
  return message.type === 'PING' ? SCAN_PING : SCAN_OTHER;
}

function expectPing(frame: Uint8Array, timestamp: unknown): void {
  const { pingStart, pingBytes } = scanner;
  if (typeof timestamp !== 'number') assert.equal(pingBytes, 0);
  else assert.deepEqual(decode(frame, pingStart, pingStart + pingBytes), timestamp);
}

function expectBatch(frame: Uint8Array, payload: unknown): void {
  const ops = isData(payload) && Array.isArray(payload.ops) ? payload.ops : [];
  assert.equal(scanner.index.count, ops.length);
  for (const [ordinal, op] of ops.entries()) expectRow(frame, ordinal, op);
  const concern = isData(payload) ? expectedConcern(payload.writeConcern) : 0;
  const timeoutMs = isData(payload) ? expectedTimeout(payload.timeout) : 0;
  const isWhole = isData(payload) && Array.isArray(payload.ops) && concern >= 0 && timeoutMs >= 0;
  assert.equal(scanner.batchInvalid, !isWhole);
  assert.equal(scanner.writeConcern, Math.max(0, concern));
  assert.equal(scanner.timeoutMs, Math.max(0, timeoutMs));
}

/** What an op must look like in the index, from its decoded form. */
function expectRow(frame: Uint8Array, ordinal: number, op: unknown): void {
  const row = ordinal * OP_WORDS;
  const { words, floats } = scanner.index;
  const word = (at: number): number => words[row + at] as number;
  const text = (start: number, bytes: number): string => decodeText(frame, word(start), word(start) + word(bytes));
  const millis = floats[row / 2 + OP.MILLIS_F64];
  const ttlMs = floats[row / 2 + OP.TTL_MS_F64];
  assert.equal(word(OP.ORDINAL), ordinal);
  if (!isData(op)) {
    assert.equal(word(OP.FLAGS), OP_PUT | FLAG_INVALID);
    assert.equal(word(OP.KEY_BYTES) + word(OP.MAP_BYTES) + word(OP.ID_BYTES) + word(OP.VALUE_BYTES), 0);
    return;
  }
  const expected = expectedOp(op);
  assert.equal(word(OP.FLAGS), expected.flags, `flags of ${JSON.stringify(op)}`);
  const fenceStart = word(OP.FENCE_START);
  if (isFenceLike(op.fence)) assert.deepEqual(decode(frame, fenceStart, fenceStart + word(OP.FENCE_BYTES)), op.fence);
  else assert.equal(word(OP.FENCE_BYTES), 0);
  assert.equal(text(OP.ID_START, OP.ID_BYTES), typeof op.id === 'string' ? op.id : '');
  assert.equal(text(OP.MAP_START, OP.MAP_BYTES), typeof op.mapName === 'string' ? op.mapName : '');
  assert.equal(text(OP.KEY_START, OP.KEY_BYTES), typeof op.key === 'string' ? op.key : '');
  assert.equal(word(OP.TIMEOUT_MS), Math.max(0, expectedTimeout(op.timeout)));
  if (typeof op.key === 'string') {
    const start = word(OP.KEY_START);
    const hash = fnv1aUtf8(frame, start, start + word(OP.KEY_BYTES));
    assert.equal(word(OP.KEY_HASH) >>> 0, hash);
    if (!op.key.includes('\ufffd')) assert.equal(hash, fnv1a(op.key));
  }
  assert.equal(text(OP.TAG_START, OP.TAG_BYTES), expected.tag);
  assert.equal(millis, expected.millis);
  assert.equal(word(OP.COUNTER) >>> 0, expected.counter);
  assert.equal(text(OP.NODE_START, OP.NODE_BYTES), expected.nodeId);
  assert.equal(ttlMs, expected.ttlMs);
  if (expected.value === null) assert.equal(word(OP.VALUE_BYTES), 0);
  else assert.deepEqual(decode(frame, word(OP.VALUE_START), word(OP.VALUE_START) + word(OP.VALUE_BYTES)), expected.value);
}

interface ExpectedOp {
  flags: number;
  millis: number;
  counter: number;
  nodeId: string;
  ttlMs: number;
  value: unknown;
  tag: string;
}

function expectedOp(op: Data): ExpectedOp {
  const concern = expectedConcern(op.writeConcern);
  const isWrong =
    typeof op.mapName !== 'string' ||
    op.mapName === '' ||
    typeof op.key !== 'string' ||
    !(op.opType === undefined || op.opType === null || typeof op.opType === 'string') ||
    concern < 0 ||
    expectedTimeout(op.timeout) < 0;
  const fence = op.fence ?? null;
  const isFence = isFenceLike(fence);
  const fenced = isFence ? FLAG_FENCED : 0;
  const base = (isWrong || (fence !== null && !isFence) ? FLAG_INVALID : 0) | fenced | (Math.max(0, concern) << CONCERN_SHIFT);
  const none = { millis: Number.NaN, counter: 0, nodeId: '', ttlMs: Number.NaN, value: null, tag: '' };
  const invalidIf = (isInvalid: boolean): number => base | (isInvalid ? FLAG_INVALID : 0);

  if (op.opType === 'REMOVE' || op.record === null) {
    const { isRecord, isBadStamp, isStamped, ...record } = recordOf(op.record ?? null);
    const isBad = (op.record ?? null) !== null && (!isRecord || isBadStamp);
    const flags = OP_REMOVE | invalidIf(isBad) | (!isBad && !isStamped ? FLAG_UNSTAMPED : 0);
    return { ...record, flags, ttlMs: Number.NaN, value: null, tag: '' };
  }
  if ((op.orRecord ?? null) !== null) {
    const { isRecord, isStamped, isBadTtl, isBadStamp: _, ...record } = recordOf(op.orRecord);
    return { ...record, flags: OP_OR_ADD | invalidIf(!isRecord || !isStamped || isBadTtl || record.tag === '') };
  }
  if ((op.orTag ?? null) !== null) {
    const tag = typeof op.orTag === 'string' ? op.orTag : '';
    return { ...none, tag, flags: OP_OR_REMOVE | invalidIf(tag === '') };
  }
  if (op.record === undefined) return { ...none, flags: OP_PUT | base | FLAG_EMPTY };
  const { isRecord, isStamped, isBadTtl, isBadStamp: _, ...record } = recordOf(op.record);
  const ttlMs = record.value === null ? Number.NaN : record.ttlMs;
  return { ...record, ttlMs, tag: '', flags: OP_PUT | invalidIf(!isRecord || !isStamped || isBadTtl) };
}

function recordOf(record: unknown) {
  const none = { millis: Number.NaN, counter: 0, nodeId: '', ttlMs: Number.NaN, value: null as unknown, tag: '' };
  if (!isData(record)) return { ...none, isRecord: false, isStamped: false, isBadStamp: false, isBadTtl: false };
  const stamp = record.timestamp ?? null;
  const isStamped = isData(stamp) && isStampLike(stamp);
  const ttl = record.ttlMs ?? null;
  const isGoodTtl = typeof ttl === 'number' && ttl >= 0 && Number.isFinite(ttl);
  return {
    isRecord: true,
    isStamped,
    isBadStamp: stamp !== null && !isStamped,
    isBadTtl: ttl !== null && !isGoodTtl,
    millis: isStamped ? Number(stamp.millis) + 0 : Number.NaN,
    counter: isStamped ? Number(stamp.counter) + 0 : 0,
    nodeId: isStamped ? String(stamp.nodeId) : '',
    ttlMs: isGoodTtl ? ttl + 0 : Number.NaN,
    value: record.value ?? null,
    tag: typeof record.tag === 'string' ? record.tag : '',
  };
}

function isStampLike(stamp: Data): boolean {
  const { millis, counter, nodeId } = stamp;
  const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
  return isCount(millis) && isCount(counter) && counter < 2 ** 32 && typeof nodeId === 'string' && /^[^:]+$/s.test(nodeId);
}

function isFenceLike(fence: unknown): boolean {
  if (!isData(fence)) return false;
  const { lock, token } = fence;
  return typeof lock === 'string' && lock !== '' && typeof token === 'number' && Number.isSafeInteger(token) && token > 0;
}

/** -1 for what is no level. */
function expectedConcern(value: unknown): number {
  if (value === undefined || value === null) return 0;
  return CONCERN_NAMES.findIndex((name) => value === name && name !== '');
}

function expectedTimeout(value: unknown): number {
  if (value === undefined || value === null) return 0;
  return typeof value === 'number' && value >= 0 ? Math.floor(Math.min(value, 2 ** 31 - 1)) : -1;
}

// Messages that are mostly as they should be, with everything else mixed in.

function wildMessage(random: Random): unknown {
  if (random.chance(40)) return wildValue(random, 3);
  const type = random.pick([
    'OP_BATCH',
    'OP_BATCH',
    'OP_BATCH',
    'OP_BATCH',
    'OP_BATCH',
    'OP_BATCH',
    'CLIENT_OP',
    'PING',
    'SYNC_INIT',
    'OP_BATCHES',
    '',
    7,
  ]);
  const payload = type === 'CLIENT_OP' ? wildOp(random) : wildBatch(random);
  const fields: [unknown, unknown][] = [['type', type]];
  if (!random.chance(20)) fields.push(['payload', random.chance(30) ? wildValue(random, 2) : payload]);
  if (random.chance(3)) fields.push(['timestamp', random.chance(6) ? wildValue(random, 1) : 1_706_000_000_000]);
  return new Pairs(mixed(random, fields, () => [wildKey(random), random.chance(4) ? wildBatch(random) : wildValue(random, 2)]));
}

function wildBatch(random: Random): unknown {
  const fields: [unknown, unknown][] = [
    ['ops', random.chance(30) ? wildValue(random, 2) : Array.from({ length: random.below(6) }, () => wildOp(random))],
  ];
  if (random.chance(4))
    fields.push(['writeConcern', random.chance(5) ? wildValue(random, 1) : random.pick(CONCERN_NAMES.slice(1))]);
  if (random.chance(4)) fields.push(['timeout', random.chance(5) ? wildValue(random, 1) : random.below(100_000)]);
  return new Pairs(mixed(random, fields, () => ['ops', [wildOp(random)]]));
}

function wildOp(random: Random): unknown {
  if (random.chance(25)) return wildValue(random, 2);
  const fields: [unknown, unknown][] = [
    ['id', random.chance(8) ? 17 : String(random.below(5000))],
    ['mapName', 'todos'],
    ['key', random.pick(['todo-1', '', 'Ünïcödé', '日本語 😀', 'k'.repeat(40), 'k'.repeat(300)])],
  ];
  if (random.chance(2)) fields.push(['opType', random.pick(['PUT', 'REMOVE', 'OR_ADD', 'OR_REMOVE', 'DROP', null])]);
  if (!random.chance(4)) fields.push(['record', random.chance(6) ? null : wildRecord(random, false)]);
  if (random.below(4) === 0) fields.push(['orRecord', random.chance(6) ? null : wildRecord(random, true)]);
  if (random.below(4) === 0) fields.push(['orTag', random.chance(6) ? null : '1700000000000:0:node-a']);
  if (random.chance(2)) fields.push(['timestamp', wildStamp(random)], ['synced', random.chance(12) ? null : random.chance(2)]);
  if (random.chance(8)) fields.push(['writeConcern', random.pick(CONCERN_NAMES)]);
  if (random.chance(8)) fields.push(['timeout', random.pick([0, 5000, -1, 2 ** 40, null])]);
  if (random.chance(6)) fields.push(['fence', random.chance(4) ? wildValue(random, 2) : wildFence(random)]);
  if (random.chance(6)) fields.splice(random.below(fields.length), 1);
  const ordered = random.chance(2) ? random.shuffle(fields) : fields;
  return new Pairs(
    mixed(random, ordered, () => [random.pick(OP_KEYS), random.chance(2) ? wildRecord(random, true) : wildValue(random, 2)]),
  );
}

function wildFence(random: Random): Pairs {
  const fields: [unknown, unknown][] = [
    ['lock', random.chance(8) ? random.pick(['', 7, null]) : random.pick(['orders', 'x'.repeat(300), 'Ü'])],
    ['token', random.chance(8) ? random.pick([0, -1, 1.5, 2 ** 60, 'one', null]) : random.pick([1, 70_000, 7 * 2 ** 32 + 5])],
  ];
  if (random.chance(10)) fields.pop();
  return new Pairs(mixed(random, fields, () => [random.pick(['lock', 'token', 'locks']), wildValue(random, 0)]));
}

const OP_KEYS = [
  'fence',
  'fencf',
  'id',
  'key',
  'mapName',
  'opType',
  'record',
  'orRecord',
  'orTag',
  'timeout',
  'writeConcern',
  'recorb',
  'mapNamf',
  'timestamq',
];

function wildRecord(random: Random, isOr: boolean): Pairs {
  const fields: [unknown, unknown][] = [
    ['value', wildValue(random, 3)],
    ['timestamp', random.chance(12) ? wildValue(random, 1) : wildStamp(random)],
  ];
  if (isOr || random.chance(12)) fields.push(['tag', random.chance(12) ? wildValue(random, 1) : '1700000000001:2:node-b']);
  if (random.chance(4))
    fields.push(['ttlMs', random.pick([0, 5000, 60_000.5, -1, Number.NaN, Number.POSITIVE_INFINITY, null, 'soon'])]);
  if (random.chance(12)) fields.splice(random.below(fields.length), 1);
  return new Pairs(
    mixed(random, fields, () => [random.pick(['value', 'timestamp', 'tag', 'ttlMs', 'timestomp']), wildValue(random, 2)]),
  );
}

function wildStamp(random: Random): Pairs {
  const fields: [unknown, unknown][] = [
    [
      'millis',
      random.chance(10) ? random.pick([-1, 1.5, Number.NaN, 2 ** 53, 'now', null]) : 1_700_000_000_000 + random.below(1000),
    ],
    [
      'counter',
      random.chance(10) ? random.pick([-1, 0.5, 2 ** 32, null]) : random.pick([0, 0, 0, 3, 9, 127, 128, 70_000, 2 ** 32 - 1]),
    ],
    [
      'nodeId',
      random.chance(10)
        ? random.pick(['', ':', 'node:a', 'a:cd', 'abc:efgh', 7, null])
        : random.pick(['node-a', 'n', '7f3a9c21-5b1e-4a57-9df4-6a1b2c3d4e5f', 'é']),
    ],
  ];
  if (random.chance(15)) fields.pop();
  return new Pairs(
    mixed(random, fields, () => [random.pick(['millis', 'counter', 'nodeId', 'nodeIt', 'x']), wildValue(random, 1)]),
  );
}

/** Often the fields as they are; else in another order, with more of them before, between and behind. */
function mixed(random: Random, fields: [unknown, unknown][], extra: () => [unknown, unknown]): [unknown, unknown][] {
  if (random.plain ? !random.chance(4) : random.chance(2)) return fields;
  const more = Array.from({ length: random.below(random.plain ? 2 : 3) }, extra);
  return random.shuffle([...fields, ...more]);
}

function wildKey(random: Random): unknown {
  return random.pick(['type', 'payload', 'timestamp', 'extra', '__proto__', 3, null, true, 'k'.repeat(33)]);
}

function wildValue(random: Random, levels: number): unknown {
  const kind = random.below(levels > 0 ? 9 : 6);
  if (kind === 0) return null;
  if (kind === 1) return random.chance(2);
  if (kind === 2) return random.below(2 ** 31) - 2 ** 30;
  if (kind === 3) return random.pick([1.5, -0.25, 2 ** 40, Number.NaN, 1e300]);
  if (kind === 4) return random.pick(['', 'abc', 'Ünï', 'x'.repeat(40), 'y'.repeat(260)]);
  if (kind === 5) return Uint8Array.from({ length: random.below(5) }, () => random.below(256));
  if (kind === 6) return Array.from({ length: random.below(4) }, () => wildValue(random, levels - 1));
  return new Pairs(Array.from({ length: random.below(4) }, () => [wildKey(random), wildValue(random, levels - 1)]));
}

/** Flips, cuts, splices and repeats bytes; a few places, so that much of what it was remains. */
function damage(frame: Uint8Array, random: Random): Uint8Array {
  let bytes = [...frame];
  for (let times = 1 + random.below(3); times > 0; times--) {
    const at = random.below(bytes.length + 1);
    const kind = random.below(5);
    if (kind === 0 && at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
    else if (kind === 1 && at < bytes.length)
      bytes[at] = random.pick([0xc1, 0xc7, 0xd4, 0xd8, 0xdf, 0xdd, 0xdb, 0xc6, 0xff, 0x80, 0xc0]);
    else if (kind === 2) bytes = bytes.slice(0, at);
    else if (kind === 3) bytes.splice(at, random.below(4), ...Array.from({ length: random.below(4) }, () => random.below(256)));
    else bytes.splice(at, 0, ...bytes.slice(0, random.below(12)));
  }
  return Uint8Array.from(bytes);
}

/** One whole value and nothing behind it, by recursive descent: a second opinion on msgpack-bounds.ts. */
function isWellFormed(bytes: Uint8Array): boolean {
  return endOf(bytes, 0, 0, false) === bytes.length;
}

function endOf(bytes: Uint8Array, at: number, depth: number, isKey: boolean): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const uint = (width: number): number => {
    if (at + 1 + width > bytes.length) return Number.POSITIVE_INFINITY;
    return width === 1 ? view.getUint8(at + 1) : width === 2 ? view.getUint16(at + 1) : view.getUint32(at + 1);
  };
  const span = (size: number): number => (at + size <= bytes.length ? at + size : Number.NaN);
  const items = (header: number, count: number, isMap: boolean): number => {
    if (isKey || depth === 256 || count > bytes.length) return Number.NaN;
    let next = at + header;
    for (let item = 0; item < count; item++) {
      if (isMap) next = endOf(bytes, next, depth + 1, true);
      next = endOf(bytes, next, depth + 1, false);
    }
    return next;
  };
  const token = bytes[at];
  if (token === undefined || !(at < bytes.length)) return Number.NaN;
  if (token < 0x80 || token >= 0xe0) return at + 1;
  if (token < 0x90) return items(1, token & 15, true);
  if (token < 0xa0) return items(1, token & 15, false);
  if (token < 0xc0) return span(1 + (token & 31));
  switch (token) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return at + 1;
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return isKey ? Number.NaN : span(1 + 2 ** (token - 0xc4) + uint(2 ** (token - 0xc4)));
    case 0xca:
      return span(5);
    case 0xcb:
      return span(9);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
      return span(1 + 2 ** (token - 0xcc));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return span(1 + 2 ** (token - 0xd0));
    case 0xd9:
    case 0xda:
    case 0xdb:
      return span(1 + 2 ** (token - 0xd9) + uint(2 ** (token - 0xd9)));
    case 0xdc:
      return items(3, uint(2), false);
    case 0xdd:
      return items(5, uint(4), false);
    case 0xde:
      return items(3, uint(2), true);
    case 0xdf:
      return items(5, uint(4), true);
    default:
      return Number.NaN; // 0xc1 and extension types
  }
}
