import assert from 'node:assert/strict';
import test from 'node:test';
import type { RequestAnswer } from '../../operation/request-handler.ts';
import { REQUEST_COMMANDS, REQUEST_TRANSACTION } from '../../protocol/envelope.ts';
import { ChangeEvents } from '../crdt/change-events.ts';
import { KvUnderTest } from '../testing/kv-under-test.ts';
import { CommandBatchWriter, replyStarts } from './command-batch.ts';
import { commandNumber } from './commands.ts';
import { HeldKeys } from './held-keys.ts';
import { KvService } from './kv-service.ts';

const VALUE = 'x'.repeat(500);
const LARGE = 'x'.repeat((4 << 20) - 100);
const TOO_MUCH = '-ERR the replies to what was sent in one go are too large: read some, then send the rest\r\n';

/** A worker's door, of which values can be dropped and are read back when they are asked for. */
class Worker {
  readonly kv = new KvUnderTest();
  /** How many values each read brought back. */
  readonly reads: number[] = [];
  /** How far each look at the clock finds it. */
  perLookMs = 0;
  beats = 0;
  #steadyMs = 0;
  readonly #puttingBack: (() => void)[] = [];
  readonly service = new KvService({
    maps: this.kv.maps,
    changes: new ChangeEvents(1, { broadcastSessions: () => 0 }),
    nodeId: new TextEncoder().encode('server-1'),
    refusal: (_, bytes) => {
      this.kv.onRefusal(bytes);
      return this.kv.refusal;
    },
    catchUp: () => {},
    nextPartition: () => -1,
    random: () => 0.5,
    held: new HeldKeys(),
    restore: async (_, refs) => {
      this.reads.push(refs.length);
      for (const putBack of this.#puttingBack.splice(0, refs.length)) putBack();
    },
    clock: () => this.kv.nowMs,
    monotonicMs: () => {
      this.#steadyMs += this.perLookMs;
      return this.#steadyMs;
    },
    yieldTurn: () => new Promise((resolve) => setImmediate(resolve)),
    beat: () => {
      this.beats += 1;
    },
  });

  drop(key: string, map?: string): void {
    this.#puttingBack.push(this.kv.dropValue(key, map));
  }

  /** The replies to commands that came together. */
  ask(kind: number, ...commands: readonly (readonly string[])[]): Promise<string[]> {
    return this.askAs(7, kind, ...commands);
  }

  /** As `ask`, of one of several connections. */
  async askAs(session: number, kind: number, ...commands: readonly (readonly string[])[]): Promise<string[]> {
    const batch = new CommandBatchWriter();
    for (const words of commands) {
      batch.begin(commandNumber(words[0] ?? ''), false, 0, words.length);
      for (const word of words) batch.argument(Buffer.from(word), 0, word.length);
      batch.end();
    }
    const answer: RequestAnswer = this.service.answer({ kind, body: batch.take(), gateway: 0, session, nowMs: this.kv.nowMs });
    const parts: Uint8Array[] = [];
    for await (const part of answer) parts.push(part);
    const [body] = parts;
    assert.ok(body !== undefined && parts.length === 1);
    const starts = [...replyStarts(body)];
    return starts.slice(1).map((end, index) => Buffer.from(body.subarray(starts[index], end)).toString('latin1'));
  }
}

test('a transaction is run whole, however much it has to tell', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'large', LARGE);
  const nine = Array.from({ length: 9 }, () => 'large');
  const [a, all, b, get] = await worker.ask(
    REQUEST_TRANSACTION,
    ['set', 'a', '1'],
    ['mget', ...nine],
    ['set', 'b', '1'],
    ['get', 'a'],
  );
  assert.deepEqual([a, b, get], ['+OK\r\n', '+OK\r\n', TOO_MUCH]);
  assert.ok((all?.length ?? 0) > 9 * LARGE.length);
  assert.deepEqual([worker.kv.run('GET', 'a'), worker.kv.run('GET', 'b')], ['$1\r\n1\r\n', '$1\r\n1\r\n']);
});

test('writes of a transaction whose answers are too large are made, and say so', async () => {
  const worker = new Worker();
  const keys = Array.from({ length: 14 }, (_, index) => `large:${index}`);
  for (const key of keys) worker.kv.run('SET', key, LARGE);
  const replies = await worker.ask(REQUEST_TRANSACTION, ...keys.map((key) => ['getset', key, 'new']));
  const told = replies.filter((reply) => reply.startsWith('$'));
  assert.ok(told.length >= 8 && told.length < 14);
  for (const reply of replies.slice(told.length)) assert.match(reply, /^-ERR the command was run/);
  for (const key of keys) assert.equal(worker.kv.run('GET', key), '$3\r\nnew\r\n');
});

test('commands that came in one read are not run once their replies are too much', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'large', LARGE);
  const replies = await worker.ask(REQUEST_COMMANDS, ...Array.from({ length: 12 }, () => ['get', 'large']), ['set', 'late', '1']);
  assert.deepEqual(replies.slice(9), [TOO_MUCH, TOO_MUCH, TOO_MUCH, TOO_MUCH]);
  assert.equal(worker.kv.run('EXISTS', 'late'), ':0\r\n');
});

test('values of a command that were dropped from memory are read back together', async () => {
  const worker = new Worker();
  const keys = Array.from({ length: 50 }, (_, index) => `k${index}`);
  for (const key of keys) worker.kv.run('SET', key, VALUE);
  for (const key of keys) worker.drop(key);
  const [reply] = await worker.ask(REQUEST_COMMANDS, ['mget', ...keys]);
  assert.equal(reply, `*50\r\n${`$500\r\n${VALUE}\r\n`.repeat(50)}`);
  assert.deepEqual(worker.reads, [50]);
});

test('a page of a hash asks for the values of that page alone', async () => {
  const worker = new Worker();
  const fields = Array.from({ length: 300 }, (_, index) => `f${index}`);
  for (const field of fields) worker.kv.run('HSET', 'h', field, VALUE);
  const page = worker.kv.run('HSCAN', 'h', '0', 'COUNT', '5').match(/f\d+/g) ?? [];
  assert.equal(page.length, 5);
  for (const field of page) worker.drop(field, 'h');
  for (const field of fields) if (!page.includes(field)) worker.drop(field, 'h');
  const [reply] = await worker.ask(REQUEST_COMMANDS, ['hscan', 'h', '0', 'COUNT', '5']);
  assert.deepEqual(reply?.match(/f\d+/g), page);
  assert.equal(
    worker.reads.reduce((sum, read) => sum + read, 0),
    5,
  );
});

test('commands that need no value read none back', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'k', VALUE);
  worker.drop('k');
  assert.deepEqual(await worker.ask(REQUEST_COMMANDS, ['exists', 'k', 'none'], ['touch', 'k']), [':1\r\n', ':1\r\n']);
  assert.deepEqual(worker.reads, []);
});

test('room for a transaction is made before its values are looked for', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'k', VALUE);
  const asked: number[] = [];
  worker.kv.onRefusal = (bytes) => {
    if (asked.length === 0) worker.drop('k'); // to make room
    asked.push(bytes);
  };
  const replies = await worker.ask(REQUEST_TRANSACTION, ['set', 'other', VALUE], ['get', 'k']);
  assert.deepEqual(replies, ['+OK\r\n', `$500\r\n${VALUE}\r\n`]);
  assert.deepEqual(worker.reads, [1]);
  assert.ok((asked[0] ?? 0) > VALUE.length);
});

test('a value that a write of the transaction drops is an error of the command that needs it, and not the end of the worker', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'k', VALUE);
  worker.kv.run('SET', 'other', '');
  worker.kv.onRefusal = (bytes) => {
    if (bytes > 1 << 20) worker.kv.dropValue('k');
  };
  const replies = await worker.ask(
    REQUEST_TRANSACTION,
    ['setrange', 'other', String(2 << 20), 'x'],
    ['get', 'k'],
    ['set', 'last', '1'],
  );
  assert.match(replies[1] ?? '', /^-TRYAGAIN OUT_OF_MEMORY/);
  assert.deepEqual([replies[0], replies[2]], [`:${(2 << 20) + 1}\r\n`, '+OK\r\n']);
});

test('a batch that takes long is run in several turns, and other connections are answered in between, its own behind it', async () => {
  const worker = new Worker();
  worker.perLookMs = 15;
  const slow = worker.ask(REQUEST_COMMANDS, ...Array.from({ length: 6 }, () => ['append', 'k', 'x']));
  const behind = worker.ask(REQUEST_COMMANDS, ['get', 'k']);
  assert.deepEqual(await worker.askAs(1, REQUEST_COMMANDS, ['get', 'k']), ['$2\r\nxx\r\n']);
  assert.deepEqual(await slow, [':1\r\n', ':2\r\n', ':3\r\n', ':4\r\n', ':5\r\n', ':6\r\n']);
  assert.deepEqual(await behind, ['$6\r\nxxxxxx\r\n']);
});

test('batches that take long have a turn each', async () => {
  const worker = new Worker();
  worker.perLookMs = 15;
  const order: number[] = [];
  const slow = [1, 2, 3].map(async (session) => {
    await worker.askAs(session, REQUEST_COMMANDS, ...Array.from({ length: 4 }, () => ['append', 'k', 'x']));
    order.push(session);
  });
  let turns = 0;
  while (order.length < 3) {
    await new Promise((resolve) => setImmediate(resolve));
    turns += 1;
  }
  await Promise.all(slow);
  assert.deepEqual(order, [1, 2, 3]);
  assert.ok(turns >= 5, `${turns} turns`);
});

test('a transaction, which has no turns, says that the thread is alive', async () => {
  const worker = new Worker();
  await worker.ask(REQUEST_TRANSACTION, ...Array.from({ length: 50 }, () => ['append', 'k', 'x']));
  assert.ok(worker.beats >= 20, `${worker.beats} beats`);
});

test('questions of the door itself wait for none of its others', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'k', VALUE);
  worker.drop('k');
  const slow = worker.askAs(0, REQUEST_COMMANDS, ['get', 'k']);
  let isSlowDone = false;
  void slow.then(() => {
    isSlowDone = true;
  });
  const before = worker.reads.length;
  assert.deepEqual(await worker.askAs(0, REQUEST_COMMANDS, ['exists', 'none']), [':0\r\n']);
  assert.equal(isSlowDone || worker.reads.length > before + 1, false);
  assert.deepEqual(await slow, [`$500\r\n${VALUE}\r\n`]);
});
