import assert from 'node:assert/strict';
import test from 'node:test';
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { decode } from '../../protocol/codec.ts';
import { errorNumber } from '../../protocol/errors.ts';
import { KIND_LWW, RecordImage } from '../../storage/record.ts';
import { imageOf, recordOf as storedOf } from '../../storage/stored-record.ts';
import { KvUnderTest } from '../testing/kv-under-test.ts';

/** The record of a key, decoded. */
function recordOf(
  kv: KvUnderTest,
  mapName: string,
  key: string,
): { value: unknown; millis: number; counter: number; tombstone: boolean } {
  const store = kv.maps.find(Buffer.from(mapName))?.existing(KIND_LWW);
  assert.ok(store !== undefined);
  const image = new RecordImage();
  const bytes = Buffer.from(key);
  image.source = bytes;
  image.keyBytes = bytes.length;
  image.keyHash = fnv1aUtf8(bytes, 0, bytes.length);
  const ref = store.find(image);
  assert.notEqual(ref, 0);
  store.read(ref, image);
  const value = image.tombstone ? undefined : decode(image.source, image.valueStart, image.valueStart + image.valueBytes);
  return { value, millis: image.millis, counter: image.counter, tombstone: image.tombstone };
}

test('keys of a database are records of its map', () => {
  const kv = new KvUnderTest();
  kv.run('SET', 'k', '{"a":1}');
  kv.db = 3;
  kv.run('SET', 'k', 'x');
  assert.deepEqual(JSON.stringify(recordOf(kv, 'db0', 'k').value), '{"a":1}');
  assert.equal(recordOf(kv, 'db3', 'k').value, 'x');
});

test('a value that is dropped to make room for its own write is what is written', () => {
  const [value, other] = ['v'.repeat(500), 'w'.repeat(500)];
  for (const command of [
    ['EXPIRE', 'k', '100'],
    ['PERSIST', 'k'],
  ]) {
    const kv = new KvUnderTest();
    kv.run('SET', 'k', value, 'EX', '50');
    kv.onRefusal = () => {
      kv.onRefusal = () => {};
      kv.dropValue('k');
      const store = kv.maps.openByName(Buffer.from('other'))?.store(KIND_LWW);
      for (let key = 0; key < 20; key++)
        store?.join(imageOf(storedOf({ map: 'other', key: `${key}`, value: Buffer.from(other) })), 1);
    };
    kv.run(...command);
    assert.equal(kv.run('GET', 'k'), `$500\r\n${value}\r\n`, command[0]);
  }
});

test('a write is stamped strictly after the stored clock, whatever that says of the time', () => {
  const kv = new KvUnderTest();
  kv.run('SET', 'k', '1');
  const { nowMs } = kv;
  kv.nowMs = nowMs - 60_000; // the clock was set back
  assert.equal(kv.run('INCR', 'k'), ':2\r\n');
  assert.deepEqual([recordOf(kv, 'db0', 'k').millis, recordOf(kv, 'db0', 'k').counter], [nowMs, 1]);
  assert.equal(kv.run('INCR', 'k'), ':3\r\n');
  assert.deepEqual(recordOf(kv, 'db0', 'k').counter, 2);
  assert.equal(kv.run('DEL', 'k'), ':1\r\n');
  assert.deepEqual([recordOf(kv, 'db0', 'k').tombstone, recordOf(kv, 'db0', 'k').counter], [true, 3]);
});

test('expiry is exact: a key is there to the last millisecond and not after it', () => {
  const kv = new KvUnderTest();
  kv.run('SET', 'k', 'v', 'PX', 1000);
  kv.nowMs += 1000;
  assert.equal(kv.run('GET', 'k'), '$1\r\nv\r\n');
  assert.equal(kv.run('PTTL', 'k'), ':0\r\n');
  kv.nowMs += 1;
  assert.equal(kv.run('GET', 'k'), '$-1\r\n');
  assert.equal(kv.run('EXISTS', 'k'), ':0\r\n');
  assert.equal(kv.run('INCR', 'k'), ':1\r\n');
  assert.equal(kv.run('TTL', 'k'), ':-1\r\n');
});

test('a field of a hash is a record of the map, and the map is a key', () => {
  const kv = new KvUnderTest();
  assert.equal(kv.run('HSET', 'user:1', 'name', 'Ada', 'tags', '["x"]'), ':2\r\n');
  assert.deepEqual(recordOf(kv, 'user:1', 'tags').value, ['x']);
  assert.equal(kv.run('HGET', 'user:1', 'name'), '$3\r\nAda\r\n');
  assert.equal(kv.run('HINCRBY', 'user:1', 'visits', 5), ':5\r\n');
  assert.equal(kv.run('HINCRBY', 'user:1', 'name', 5), '-ERR hash value is not an integer\r\n');
  assert.equal(kv.run('HLEN', 'user:1'), ':3\r\n');
  assert.equal(kv.run('TYPE', 'user:1'), '+hash\r\n');
  assert.equal(kv.run('KEYS', 'user*'), '*1\r\n$6\r\nuser:1\r\n');
  const wrong = '-WRONGTYPE Operation against a key holding the wrong kind of value\r\n';
  for (const words of [
    ['GET', 'user:1'],
    ['SET', 'user:1', 'x'],
    ['INCR', 'user:1'],
    ['RENAME', 'user:1', 'x'],
    ['EXPIRE', 'user:1', '10'],
  ]) {
    assert.equal(kv.run(...words), wrong, words.join(' '));
  }
  assert.equal(kv.run('MGET', 'user:1', 'k'), '*2\r\n$-1\r\n$-1\r\n');
  assert.equal(kv.run('EXISTS', 'user:1'), ':1\r\n');
  assert.equal(kv.run('DEL', 'user:1'), ':1\r\n');
  assert.equal(kv.run('TYPE', 'user:1'), '+none\r\n');
  assert.equal(kv.run('SET', 'user:1', 'x'), '+OK\r\n');
  assert.equal(kv.run('HSET', 'user:1', 'f', 'v'), wrong);
});

test('FLUSHALL clears the databases and leaves maps alone', () => {
  const kv = new KvUnderTest();
  kv.run('SET', 'k', 'v');
  kv.run('HSET', 'm', 'f', 'v');
  kv.run('FLUSHALL');
  assert.equal(kv.run('DBSIZE'), ':0\r\n');
  assert.equal(kv.run('HGET', 'm', 'f'), '$1\r\nv\r\n');
});

test('a scan tells every key that is there throughout, whatever comes and goes meanwhile', () => {
  const kv = new KvUnderTest();
  const steady = Array.from({ length: 500 }, (_, index) => `steady${index}`);
  for (const key of steady) kv.run('SET', key, 'v');
  for (let index = 0; index < 500; index++) kv.run('SET', `passing${index}`, 'v');
  const seen = new Set<string>();
  let cursor = '0';
  let step = 0;
  do {
    const lines = kv.run('SCAN', cursor, 'COUNT', 7).split('\r\n');
    cursor = lines[2] ?? '0';
    for (let index = 5; index < lines.length; index += 2) seen.add(lines[index] ?? '');
    kv.run('DEL', `passing${step % 500}`);
    kv.run('SET', `new${step}`, 'v'.repeat(step % 200));
    const rewritten = steady[step % 500] ?? '';
    kv.run('SET', rewritten, 'longer'.repeat(step % 50));
    for (const store of kv.maps.find(Buffer.from('db0'))?.stores() ?? []) store.pruneTombstones(kv.nowMs + 1e9, 10_000, kv.nowMs);
    step += 1;
  } while (cursor !== '0');
  assert.deepEqual(
    steady.filter((key) => !seen.has(key)),
    [],
  );
});

test('while writes are refused reads go on, and a command that is refused has written nothing', () => {
  const kv = new KvUnderTest();
  kv.run('SET', 'k', '1');
  kv.refusal = errorNumber('OUT_OF_MEMORY');
  assert.match(kv.run('SET', 'k', '2'), /^-OOM /);
  assert.match(kv.run('INCR', 'k'), /^-OOM /);
  assert.equal(kv.run('GET', 'k'), '$1\r\n1\r\n');
});

test('values of every size come back whole', () => {
  const kv = new KvUnderTest();
  for (const bytes of [0, 1, 31, 32, 255, 256, 65_535, 65_536, 1 << 20, (1 << 20) + 1, 4 << 20]) {
    const value = new Uint8Array(bytes).fill(0x61);
    assert.equal(kv.run('SET', 'k', value), '+OK\r\n');
    assert.equal(kv.run('GET', 'k'), `$${bytes}\r\n${'a'.repeat(bytes)}\r\n`);
    assert.equal(kv.run('EXPIRE', 'k', 100), ':1\r\n');
    assert.equal(kv.run('STRLEN', 'k'), `:${bytes}\r\n`);
  }
});

test('keys and values have bounds', () => {
  const kv = new KvUnderTest();
  assert.equal(kv.run('SET', 'x'.repeat(2046), 'v'), '-ERR key is longer than 2048 bytes\r\n');
  assert.equal(kv.run('SET', 'x'.repeat(2045), 'v'), '+OK\r\n');
  assert.match(kv.run('SET', 'k', new Uint8Array((4 << 20) + 1)), /^-ERR string exceeds maximum allowed size/);
  assert.match(kv.run('SETRANGE', 'k', 4 << 20, 'x'), /^-ERR string exceeds maximum allowed size/);
  assert.equal(kv.run('SETBIT', 'k', (4 << 20) * 8, 1), '-ERR bit offset is not an integer or out of range\r\n');
});

test('a command that writes several values is refused for all of their bytes, and makes no map when it is refused', () => {
  const kv = new KvUnderTest();
  kv.refusal = errorNumber('OUT_OF_MEMORY');
  assert.match(kv.run('HSET', 'map', 'a', '1', 'b', '2'), /^-OOM|^-ERR OUT_OF_MEMORY/);
  kv.refusal = -1;
  assert.match(kv.run('HSET', 'map', 'a', '1', 'b', 'x'.repeat(4 * 1024 * 1024 + 1)), /^-ERR string exceeds/);
  assert.equal(kv.maps.find(Buffer.from('map')), undefined);
  const asked: number[] = [];
  kv.onRefusal = (bytes) => asked.push(bytes);
  assert.equal(kv.run('MSET', 'a', 'x'.repeat(100), 'b', 'x'.repeat(200)), '+OK\r\n');
  assert.ok(
    asked.every((bytes) => bytes >= 300),
    String(asked),
  );
});

test('a command that writes several values writes none when one of them cannot be', () => {
  const kv = new KvUnderTest();
  const long = 'x'.repeat(4 * 1024 * 1024 + 1);
  const name = 'k'.repeat(2049);
  kv.run('HSET', 'map', 'field', '1');
  for (const command of ['MSET', 'MSETNX']) {
    assert.match(kv.run(command, 'a', '1', 'b', long), /^-ERR string exceeds/);
    assert.match(kv.run(command, 'a', '1', name, '2'), /^-ERR key is longer/);
    assert.match(kv.run(command, 'a', '1', 'map', '2'), command === 'MSET' ? /^-WRONGTYPE/ : /^:0/);
  }
  assert.match(kv.run('HSET', 'map', 'a', '1', 'b', long), /^-ERR string exceeds/);
  assert.equal(kv.run('EXISTS', 'a', 'b', name), ':0\r\n');
  assert.equal(kv.run('HLEN', 'map'), ':1\r\n');
  const isTwo = ({ source, valueStart, valueBytes }: RecordImage): boolean =>
    decode(source, valueStart, valueStart + valueBytes) === '2';
  for (const map of ['db0', 'map']) {
    const refusal = (_: number, image: RecordImage) =>
      isTwo(image) ? ({ code: 'SCHEMA_VIOLATION', detail: 'no 2' } as const) : undefined;
    kv.maps.openByName(Buffer.from(map))?.guardWith('schema', { refusal });
  }
  assert.match(kv.run('MSET', 'a', '1', 'b', '2', 'c', '3'), /^-ERR SCHEMA_VIOLATION no 2/);
  assert.match(kv.run('HSET', 'map', 'a', '1', 'b', '2'), /^-ERR SCHEMA_VIOLATION no 2/);
  assert.equal(kv.run('EXISTS', 'a', 'b', 'c'), ':0\r\n');
  assert.equal(kv.run('HLEN', 'map'), ':1\r\n');
  assert.equal(kv.run('MSET', 'a', '1', 'c', '3', 'a', '4'), '+OK\r\n');
  assert.equal(kv.run('HSET', 'map', 'field', '5', 'a', '1', 'a', '6'), ':1\r\n');
  assert.equal(kv.run('MGET', 'a', 'b', 'c'), '*3\r\n$1\r\n4\r\n$-1\r\n$1\r\n3\r\n');
  assert.equal(kv.run('HMGET', 'map', 'field', 'a'), '*2\r\n$1\r\n5\r\n$1\r\n6\r\n');
});

test('names too long to be written are not there, are looked for nowhere, and are refused by writes', () => {
  const kv = new KvUnderTest();
  const long = 'x'.repeat(8 << 20);
  const reads = [
    ['GET', long],
    ['GETEX', long],
    ['HGET', long, 'f'],
    ['HGET', 'h', long],
  ];
  for (const words of reads) assert.equal(kv.run(...words), '$-1\r\n', words[0]);
  const counts = [
    ['EXISTS', long],
    ['DEL', long],
    ['STRLEN', long],
    ['HLEN', long],
    ['HEXISTS', long, 'f'],
    ['HDEL', long, 'f'],
    ['PERSIST', long],
    ['EXPIRE', long, '10'],
  ];
  for (const words of counts) assert.equal(kv.run(...words), ':0\r\n', words[0]);
  assert.equal(kv.run('TYPE', long), '+none\r\n');
  assert.equal(kv.run('HGETALL', long), '*0\r\n');
  const writes = [
    ['SET', long, '1'],
    ['SETNX', long, '1'],
    ['INCR', long],
    ['MSET', 'k', '1', long, '1'],
    ['HSET', long, 'f', '1'],
    ['HSET', 'h', long, '1'],
    ['HINCRBY', long, 'f', '1'],
  ];
  for (const words of writes) assert.equal(kv.run(...words), '-ERR key is longer than 2048 bytes\r\n', words[0]);
  assert.equal(kv.run('EXISTS', 'k', 'h'), ':0\r\n');
  const spaces = new Set([kv.runner.hash(Buffer.from(long)), kv.runner.hash(Buffer.from(`y${long}`))]);
  assert.equal(spaces.size, 1, 'nothing is kept for each');
});

test('what is asked about a key, or written if it is new, finds a hash there as it finds a string', () => {
  const kv = new KvUnderTest();
  kv.run('HSET', 'h', 'f', 'v');
  assert.equal(kv.run('SETNX', 'h', 'x'), ':0\r\n');
  assert.equal(kv.run('MSETNX', 'b', 'x', 'h', 'x'), ':0\r\n');
  assert.equal(kv.run('EXISTS', 'b'), ':0\r\n');
  assert.match(kv.run('MEMORY', 'USAGE', 'h'), /^:\d+\r\n$/);
  assert.equal(kv.run('OBJECT', 'REFCOUNT', 'h'), ':1\r\n');
  assert.equal(kv.run('OBJECT', 'IDLETIME', 'h'), ':0\r\n');
  assert.equal(kv.run('OBJECT', 'ENCODING', 'h'), '$9\r\nhashtable\r\n');
  assert.match(kv.run('OBJECT', 'FREQ', 'h'), /^-ERR An LFU/);
});

test('numbers beyond what Redis has are errors, and moments no later than its last one', () => {
  const kv = new KvUnderTest();
  assert.equal(kv.run('INCRBYFLOAT', 'f', '1e4933'), '-ERR value is not a valid float\r\n');
  kv.run('SET', 'f', '1e4932');
  assert.equal(kv.run('INCRBYFLOAT', 'f', '9e4931'), '-ERR increment would produce NaN or Infinity\r\n');
  assert.equal(kv.run('PEXPIREAT', 'f', '9223372036854775807'), ':1\r\n');
  assert.equal(kv.run('PEXPIRETIME', 'f'), ':9223372036854775807\r\n');
});
