import assert from 'node:assert/strict';
import test from 'node:test';
import { RespCommand } from '../../protocol/resp-parser.ts';
import { commandAt, commandNumber } from './commands.ts';
import { HeldKeys } from './held-keys.ts';
import { nameOf, type SpaceKey, type Touched, touchedBy } from './touched-keys.ts';

function touched(db: number, ...words: readonly string[]): Touched {
  const args = new RespCommand();
  args.clear(Buffer.from(words.join('')));
  let at = 0;
  for (const word of words) {
    args.add(at, word.length);
    at += word.length;
  }
  return touchedBy(commandAt(commandNumber(words[0]?.toLowerCase() ?? '')), args, db);
}

function key(space: string, name: string): SpaceKey {
  return { space: Buffer.from(space), key: Buffer.from(name) };
}

const latin1 = new TextDecoder('latin1');
const named = ({ keys }: Touched): string[] =>
  keys.map(({ space, key }) => `${latin1.decode(space)} ${latin1.decode(key)}`).sort();

test('a command touches its keys, its fields, and the keys of another database that it names', () => {
  assert.deepEqual(named(touched(0, 'GET', 'k')), ['db0 k']);
  assert.deepEqual(named(touched(3, 'MSET', 'a', '1', 'b', '2')), ['db3 a', 'db3 b']);
  assert.deepEqual(named(touched(0, 'HSET', 'h', 'f', '1', 'g', '2')), ['db0 h', 'h f', 'h g']);
  assert.deepEqual(named(touched(0, 'COPY', 'a', 'b', 'DB', '2')), ['db0 a', 'db0 b', 'db2 a', 'db2 b']);
  assert.deepEqual(named(touched(1, 'MOVE', 'a', '15')), ['db1 a', 'db15 a']);
  assert.equal(touched(0, 'KEYS', '*').isEverything, true);
  assert.equal(touched(0, 'HGETALL', 'h').isEverything, true);
  assert.equal(touched(0, 'SCAN', '0').isEverything, true);
});

test('names of records are as different as the records', () => {
  const keys = [key('a', 'bc'), key('ab', 'c'), key('', 'abc'), key('abc', ''), key('1 a', 'b'), key('a', 'b')];
  assert.equal(new Set(keys.map(nameOf)).size, keys.length);
});

test('what an act may write waits, and what it only reads waits for nobody who reads', () => {
  const held = new HeldKeys();
  assert.equal(held.isBusy, false);
  held.hold(1, true, false, [key('db0', 'a')]);
  held.hold(2, false, false, [key('db0', 'b')]);
  const blocks = (...words: readonly string[]): boolean => held.blocks(touched(0, ...words));
  assert.deepEqual(
    [blocks('GET', 'a'), blocks('SET', 'a', '1'), blocks('GET', 'b'), blocks('SET', 'b', '1')],
    [true, true, false, true],
  );
  assert.deepEqual([blocks('GET', 'c'), held.blocks(touched(1, 'GET', 'a')), blocks('KEYS', '*')], [false, false, true]);
  held.release(1);
  assert.deepEqual([blocks('GET', 'a'), blocks('KEYS', '*'), blocks('FLUSHALL')], [false, false, true]);
  held.hold(3, true, true, []);
  assert.equal(blocks('GET', 'c'), true);
  held.release(3);
  held.release(2);
  assert.equal(held.isBusy, false);
});

test('who waits is told of every release, and of none that released nothing', async () => {
  const held = new HeldKeys();
  held.hold(1, true, false, [key('db0', 'a')]);
  held.hold(2, true, false, [key('db0', 'b')]);
  let freed = 0;
  void held.freed().then(() => {
    freed += 1;
  });
  held.release(9);
  await Promise.resolve();
  assert.equal(freed, 0);
  held.release(1);
  await Promise.resolve();
  assert.equal(freed, 1);
  const again = held.freed();
  held.release(2);
  await again;
});
