import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encode as encodeByOther } from '@msgpack/msgpack';
import { fnv1a } from '../partition/hash.ts';
import { decode, encode } from './codec.ts';
import { CONCERN_MEMORY, CONCERN_PERSISTED, CONCERN_SHIFT, FLAG_EMPTY, FLAG_INVALID, FLAG_UNSTAMPED, OP } from './op-index.ts';
import { OP_OR_ADD, OP_OR_REMOVE, OP_PUT, OP_REMOVE, OP_WORDS } from './op-index.ts';
import { OPS_MAX, SCAN_CLIENT_OP, SCAN_MALFORMED, SCAN_OP_BATCH, SCAN_OTHER, SCAN_PING, Scanner } from './scanner.ts';
import { encodeWild, Pairs, Random } from './wild-encoder.ts';

const timestamp = { millis: 1_700_000_000_000, counter: 7, nodeId: 'node-a' };
const put = {
  id: '12',
  mapName: 'todos',
  opType: 'PUT',
  key: 'todo-1',
  record: { value: { done: true }, timestamp },
  timestamp,
  synced: false,
};

/** Rows of a batch of the ops, in both encodings: msgpackr's, as the real client's, and the shortest one. */
function scanOps(ops: readonly unknown[]): { flags: number; row: (ordinal: number) => ReturnType<typeof rowOf> } {
  const rows = [encode, encodeByOther].map((encoder) => {
    const frame = encoder({ type: 'OP_BATCH', payload: { ops } }).slice();
    const scanner = new Scanner();
    assert.equal(scanner.scan(frame, frame.length), SCAN_OP_BATCH);
    assert.equal(scanner.index.count, ops.length);
    return ops.map((_, ordinal) => rowOf(scanner, frame, ordinal));
  });
  assert.deepEqual(rows[0], rows[1]);
  const [first] = rows;
  return { flags: first?.[0]?.flags ?? -1, row: (ordinal) => first?.[ordinal] as ReturnType<typeof rowOf> };
}

function rowOf(scanner: Scanner, frame: Uint8Array, ordinal: number) {
  const { words, floats } = scanner.index;
  const row = ordinal * OP_WORDS;
  const word = (at: number): number => words[row + at] as number;
  const text = (at: number): string => new TextDecoder().decode(frame.slice(word(at), word(at) + word(at + 1)));
  return {
    flags: word(OP.FLAGS),
    millis: floats[row / 2 + OP.MILLIS_F64],
    counter: word(OP.COUNTER) >>> 0,
    nodeId: text(OP.NODE_START),
    ttlMs: floats[row / 2 + OP.TTL_MS_F64],
    keyHash: word(OP.KEY_HASH) >>> 0,
    map: text(OP.MAP_START),
    key: text(OP.KEY_START),
    id: text(OP.ID_START),
    tag: text(OP.TAG_START),
    value:
      word(OP.VALUE_BYTES) === 0 ? undefined : decode(frame, word(OP.VALUE_START), word(OP.VALUE_START) + word(OP.VALUE_BYTES)),
    ordinal: word(OP.ORDINAL),
    timeoutMs: word(OP.TIMEOUT_MS),
  };
}

function scan(bytes: Uint8Array): number {
  return new Scanner().scan(bytes, bytes.length);
}

test('a put leaves its map, key, hash, clock, value and id in the row', () => {
  const { row } = scanOps([put]);
  assert.deepEqual(
    { ...row(0), value: { ...(row(0).value as object) } },
    {
      flags: OP_PUT,
      millis: 1_700_000_000_000,
      counter: 7,
      nodeId: 'node-a',
      ttlMs: Number.NaN,
      keyHash: fnv1a('todo-1'),
      map: 'todos',
      key: 'todo-1',
      id: '12',
      tag: '',
      value: { done: true },
      ordinal: 0,
      timeoutMs: 0,
    },
  );
});

test('ops are classified in the order of the protocol, whatever their opType says', () => {
  const record = { value: 1, timestamp };
  const orRecord = { value: 1, timestamp, tag: '1:0:n' };
  const base = { mapName: 'm', key: 'k' };
  assert.equal(scanOps([{ ...base, record }]).flags, OP_PUT);
  assert.equal(scanOps([{ ...base, opType: 'OR_ADD', record }]).flags, OP_PUT);
  assert.equal(scanOps([{ ...base, opType: 'REMOVE', record }]).flags, OP_REMOVE);
  assert.equal(scanOps([{ ...base, opType: 'REMOVE', record, orRecord, orTag: '1:0:n' }]).flags, OP_REMOVE);
  assert.equal(scanOps([{ ...base, opType: 'PUT', record: null, orRecord }]).flags, OP_REMOVE | FLAG_UNSTAMPED);
  assert.equal(scanOps([{ ...base, opType: 'PUT', record, orRecord }]).flags, OP_OR_ADD);
  assert.equal(scanOps([{ ...base, orTag: '1:0:n', orRecord }]).flags, OP_OR_ADD);
  assert.equal(scanOps([{ ...base, orTag: '1:0:n', orRecord: null, record }]).flags, OP_OR_REMOVE);
  assert.equal(scanOps([{ ...base, opType: 'OR_REMOVE' }]).flags, OP_PUT | FLAG_EMPTY);
});

test('an op with both records is read from the one that counts, in either order', () => {
  const record = { value: 'lww', timestamp: { ...timestamp, nodeId: 'lww' } };
  const orRecord = { value: 'or', timestamp: { ...timestamp, nodeId: 'or' }, tag: '1:0:or' };
  const { row } = scanOps([
    { mapName: 'm', key: 'k', record, orRecord },
    { mapName: 'm', key: 'k', orRecord, record },
    { mapName: 'm', key: 'k', orRecord, record, opType: 'REMOVE' },
    { mapName: 'm', key: 'k', opType: 'REMOVE', record, orRecord },
  ]);
  assert.deepEqual([row(0).nodeId, row(0).value, row(0).tag], ['or', 'or', '1:0:or']);
  assert.deepEqual([row(1).nodeId, row(1).value, row(1).tag], ['or', 'or', '1:0:or']);
  assert.deepEqual([row(2).nodeId, row(2).value, row(2).tag], ['lww', undefined, '']);
  assert.deepEqual([row(3).nodeId, row(3).value, row(3).tag], ['lww', undefined, '']);
});

test('a removal keeps the clock of its record, and is unstamped when it has none', () => {
  const base = { mapName: 'm', key: 'k', opType: 'REMOVE' };
  const { row } = scanOps([
    { ...base, record: { value: null, timestamp } },
    { ...base, record: { value: 'x', timestamp, ttlMs: 5 } },
    base,
  ]);
  assert.deepEqual([row(0).flags, row(0).millis, row(0).value], [OP_REMOVE, timestamp.millis, undefined]);
  assert.deepEqual([row(1).flags, row(1).ttlMs, row(1).value], [OP_REMOVE, Number.NaN, undefined]);
  assert.deepEqual([row(2).flags, row(2).millis], [OP_REMOVE | FLAG_UNSTAMPED, Number.NaN]);
});

test('a put of nil is a tombstone without value or TTL; other puts keep their TTL', () => {
  const { row } = scanOps([
    { ...put, record: { value: null, timestamp, ttlMs: 1000 } },
    { ...put, record: { timestamp } },
    { ...put, record: { value: 0, timestamp, ttlMs: 60_000 } },
    { ...put, record: { value: 0, timestamp, ttlMs: null } },
  ]);
  assert.deepEqual([row(0).flags, row(0).value, row(0).ttlMs], [OP_PUT, undefined, Number.NaN]);
  assert.deepEqual([row(1).flags, row(1).value], [OP_PUT, undefined]);
  assert.deepEqual([row(2).value, row(2).ttlMs], [0, 60_000]);
  assert.deepEqual([row(3).flags, row(3).ttlMs], [OP_PUT, Number.NaN]);
});

test('clocks that no merge could use are invalid, each by itself', () => {
  const stamps = [
    { ...timestamp, millis: -1 },
    { ...timestamp, millis: 1.5 },
    { ...timestamp, millis: Number.NaN },
    { ...timestamp, millis: Number.POSITIVE_INFINITY },
    { ...timestamp, millis: 2 ** 53 },
    { ...timestamp, millis: '1700000000000' },
    { ...timestamp, counter: -1 },
    { ...timestamp, counter: 2 ** 32 },
    { ...timestamp, counter: 0.5 },
    { millis: 1, nodeId: 'n' },
    { millis: 1, counter: 0 },
    { ...timestamp, nodeId: '' },
    { ...timestamp, nodeId: 7 },
    'now',
  ];
  for (const stamp of stamps) {
    assert.equal(
      scanOps([{ ...put, record: { value: 1, timestamp: stamp } }]).flags,
      OP_PUT | FLAG_INVALID,
      JSON.stringify(stamp),
    );
  }
});

test('a colon is found at every place of a node id', () => {
  for (let length = 1; length <= 13; length++) {
    for (let colon = 0; colon < length; colon++) {
      const nodeId = `${'x'.repeat(colon)}:${'x'.repeat(length - colon - 1)}`;
      assert.equal(
        scanOps([{ ...put, record: { value: 1, timestamp: { ...timestamp, nodeId } } }]).flags,
        OP_PUT | FLAG_INVALID,
        nodeId,
      );
    }
    const nodeId = ';9\u00ba\u007f'.repeat(4).slice(0, length); // neighbours of the colon and its byte with the high bit
    assert.equal(scanOps([{ ...put, record: { value: 1, timestamp: { ...timestamp, nodeId } } }]).flags, OP_PUT, nodeId);
  }
});

test('missing names, keys, tags and values of the wrong type make an op invalid, not the batch', () => {
  const orAdd = { mapName: 'm', key: 'k', orRecord: { value: 1, timestamp, tag: '1:0:n' } };
  const invalid = [
    { ...put, mapName: undefined },
    { ...put, mapName: '' },
    { ...put, key: null },
    { ...put, key: 5 },
    { ...put, opType: 1 },
    { ...put, writeConcern: 'SOMETIMES' },
    { ...put, timeout: -1 },
    { ...put, record: 'text' },
    { ...put, record: { value: 1 } },
    { ...put, record: { value: 1, timestamp, ttlMs: -1 } },
    { ...orAdd, orRecord: { ...orAdd.orRecord, tag: '' } },
    { ...orAdd, orRecord: { ...orAdd.orRecord, tag: undefined } },
    { mapName: 'm', key: 'k', orTag: '' },
    { mapName: 'm', key: 'k', orTag: 3 },
    'no op at all',
    null,
  ];
  const { row } = scanOps([...invalid, put]);
  for (const [ordinal, op] of invalid.entries()) assert.notEqual(row(ordinal).flags & FLAG_INVALID, 0, JSON.stringify(op));
  assert.deepEqual([row(invalid.length).flags, row(invalid.length).ordinal], [OP_PUT, invalid.length]);
});

test('an empty key is a key, and an id that is no text is none', () => {
  const { row } = scanOps([{ ...put, key: '', id: 12 }]);
  assert.deepEqual([row(0).flags, row(0).key, row(0).keyHash, row(0).id], [OP_PUT, '', fnv1a(''), '']);
});

test('a usual op is still looked at whole: a field `synced` of another type does not shift what follows', () => {
  const { row } = scanOps([
    { mapName: 'todos', synced: 'yes', key: 'todo-1', record: put.record },
    { ...put, synced: 17 },
  ]);
  assert.deepEqual([row(0).key, row(1).key, row(0).flags, row(1).flags], ['todo-1', 'todo-1', OP_PUT, OP_PUT]);
});

test('write concern and timeout are read from the op and from the batch', () => {
  const frame = encode({
    payload: { timeout: 5000, ops: [{ ...put, writeConcern: 'PERSISTED', timeout: 250.9 }], writeConcern: 'MEMORY' },
    type: 'OP_BATCH',
  });
  const scanner = new Scanner();
  assert.equal(scanner.scan(frame, frame.length), SCAN_OP_BATCH);
  assert.deepEqual([scanner.writeConcern, scanner.timeoutMs, scanner.batchInvalid], [CONCERN_MEMORY, 5000, false]);
  assert.equal((scanner.index.words[OP.FLAGS] as number) >> CONCERN_SHIFT, CONCERN_PERSISTED);
  assert.equal(scanner.index.words[OP.TIMEOUT_MS], 250);
});

test('a batch that can not be taken apart says so and has no rows', () => {
  const payloads = [
    undefined,
    null,
    'text',
    {},
    { ops: null },
    { ops: {} },
    { ops: [put], writeConcern: 'SOMETIMES' },
    { ops: [], timeout: 'soon' },
  ];
  const scanner = new Scanner();
  for (const payload of payloads) {
    const frame = encode({ type: 'OP_BATCH', payload }).slice();
    assert.equal(scanner.scan(frame, frame.length), SCAN_OP_BATCH);
    assert.equal(scanner.batchInvalid, true, JSON.stringify(payload));
  }
  const many = Uint8Array.from([...encode({ type: 'OP_BATCH', ops: 0 })]);
  assert.equal(scanner.scan(many, many.length), SCAN_OP_BATCH);
  assert.equal(scanner.index.count, 0);
});

test('a batch of more items than rows may be is refused without a row for each', () => {
  const head = encode({ type: 'OP_BATCH', payload: { ops: [] } });
  const frame = new Uint8Array(head.length + 4 + OPS_MAX + 1).fill(0xc0);
  frame.set(head);
  const at = head.length - 1;
  frame[at] = 0xdd;
  new DataView(frame.buffer).setUint32(at + 1, OPS_MAX + 1);
  const scanner = new Scanner();
  assert.equal(scanner.scan(frame, frame.length), SCAN_OP_BATCH);
  assert.deepEqual([scanner.batchInvalid, scanner.index.count], [true, 0]);
  assert.ok(scanner.index.words.length < OPS_MAX);
});

test('a removal is one in every width of its text, and zeroes have no sign', () => {
  const header = encode({ mapName: 'm', key: 'k', opType: '' });
  const stamped = {
    mapName: 'm',
    key: 'k',
    record: { value: 1, timestamp: { millis: -0, counter: -0, nodeId: 'n' }, ttlMs: -0 },
  };
  for (const text of ['a6', 'd906', 'da0006', 'db00000006']) {
    const op = Buffer.concat([header.subarray(0, -1), Buffer.from(text, 'hex'), Buffer.from('REMOVE')]);
    const frame = Buffer.concat([encode({ type: 'CLIENT_OP', payload: 0 }).subarray(0, -1), op]);
    const scanner = new Scanner();
    assert.equal(scanner.scan(new Uint8Array(frame), frame.length), SCAN_CLIENT_OP);
    assert.equal(scanner.index.words[OP.FLAGS], OP_REMOVE | FLAG_UNSTAMPED, text);
    const tagged = Buffer.concat([Uint8Array.of(0x84), op.subarray(1), encode('orTag'), encode('1:0:n')]);
    const withTag = new Uint8Array(Buffer.concat([encode({ type: 'CLIENT_OP', payload: 0 }).subarray(0, -1), tagged]));
    assert.equal(scanner.scan(withTag, withTag.length), SCAN_CLIENT_OP);
    assert.equal(scanner.index.words[OP.FLAGS], OP_REMOVE | FLAG_UNSTAMPED, `${text} with a tag`);
  }
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const frame = encodeWild({ type: 'CLIENT_OP', payload: stamped }, new Random(seed));
    const scanner = new Scanner();
    scanner.scan(frame, frame.length);
    assert.deepEqual([scanner.index.floats[OP.MILLIS_F64], scanner.index.floats[OP.TTL_MS_F64]], [0, 0]);
  }
});

test('a CLIENT_OP has one row, even when its payload is no op', () => {
  const scanner = new Scanner();
  for (const [payload, flags] of [
    [put, OP_PUT],
    ['text', OP_PUT | FLAG_INVALID],
    [undefined, OP_PUT | FLAG_INVALID],
  ] as const) {
    const frame = encode({ type: 'CLIENT_OP', payload }).slice();
    assert.equal(scanner.scan(frame, frame.length), SCAN_CLIENT_OP);
    assert.deepEqual([scanner.index.count, scanner.index.words[OP.FLAGS]], [1, flags]);
  }
});

test('a PING gives the bytes of its timestamp, if that is a number', () => {
  const scanner = new Scanner();
  const frame = encode({ type: 'PING', timestamp: 1_706_000_000_000 });
  assert.equal(scanner.scan(frame, frame.length), SCAN_PING);
  assert.deepEqual(
    [...frame.subarray(scanner.pingStart, scanner.pingStart + scanner.pingBytes)],
    [0xcb, 0x42, 0x78, 0xd3, 0x58, 0x62, 0x40, 0, 0],
  );
  for (const message of [{ type: 'PING' }, { type: 'PING', timestamp: 'now' }, { type: 'PONG', timestamp: 1 }]) {
    const other = encode(message).slice();
    scanner.scan(other, other.length);
    assert.equal(scanner.pingBytes, 0, JSON.stringify(message));
  }
});

test('the last `type` and the last `payload` count, however they alternate', () => {
  const scanner = new Scanner();
  const random = new Random(1);
  const batch = (key: string): object => ({ ops: [{ ...put, key }] });
  const keyOf = (entries: [unknown, unknown][]): [number, number, string] => {
    const frame = encodeWild(new Pairs(entries), random);
    const result = scanner.scan(frame, frame.length);
    return [result, scanner.index.count, scanner.index.count === 0 ? '' : rowOf(scanner, frame, 0).key];
  };
  const [type, payload] = ['type', 'payload'];
  assert.deepEqual(
    keyOf([
      [payload, batch('a')],
      [type, 'OP_BATCH'],
    ]),
    [SCAN_OP_BATCH, 1, 'a'],
  );
  assert.deepEqual(
    keyOf([
      [type, 'OP_BATCH'],
      [payload, batch('a')],
      [payload, batch('b')],
    ]),
    [SCAN_OP_BATCH, 1, 'b'],
  );
  assert.deepEqual(
    keyOf([
      [type, 'OP_BATCH'],
      [payload, batch('a')],
      [type, 'PING'],
      [payload, batch('b')],
      [type, 'OP_BATCH'],
    ]),
    [SCAN_OP_BATCH, 1, 'b'],
  );
  assert.deepEqual(
    keyOf([
      [type, 'OP_BATCH'],
      [payload, batch('a')],
      [type, 'PING'],
    ]),
    [SCAN_PING, 0, ''],
  );
  assert.deepEqual(
    keyOf([
      [type, 'OP_BATCH'],
      [payload, batch('a')],
      [type, 'CLIENT_OP'],
    ]),
    [SCAN_CLIENT_OP, 1, ''],
  );
});

test('what is no message is passed on, what is no MessagePack is malformed', () => {
  assert.equal(scan(encode([1, 2])), SCAN_OTHER);
  assert.equal(scan(encode({ type: 5 })), SCAN_OTHER);
  assert.equal(scan(encode({ type: 'QUERY_SUB', payload: {} })), SCAN_OTHER);
  assert.equal(scan(new Uint8Array(0)), SCAN_MALFORMED);
  assert.equal(scan(Uint8Array.of(0x80, 0x80)), SCAN_MALFORMED);
  assert.equal(scan(Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff)), SCAN_MALFORMED);
});

test('a value may be nested up to 256 levels of its frame, not deeper', () => {
  const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
  const inBatch = (levels: number): number =>
    scan(encode({ type: 'OP_BATCH', payload: { ops: [{ ...put, record: { value: nested(levels), timestamp } }] } }));
  assert.equal(inBatch(256 - 5), SCAN_OP_BATCH); // the message, payload, ops, op and record are five
  assert.equal(inBatch(256 - 4), SCAN_MALFORMED);
});

test('a scan makes nothing of an earlier one last', () => {
  const scanner = new Scanner();
  const frame = encode({ type: 'OP_BATCH', payload: { ops: [put, put], writeConcern: 'MEMORY', timeout: 9 } }).slice();
  scanner.scan(frame, frame.length);
  assert.equal(scanner.scan(frame, frame.length - 1), SCAN_MALFORMED);
  assert.deepEqual([scanner.index.count, scanner.writeConcern, scanner.timeoutMs], [0, 0, 0]);
});
