/**
 * Beside a real redis-server, where one is on PATH: the same random sequences of commands to both, replies compared byte by byte.
 *
 * LATTICE_TEST_SEQUENCES says how many (300; `npm run differential`: 10 000); LATTICE_TEST_SEED repeats a run that failed.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Random } from '../testing/random.ts';
import { hashSequence, inOrder } from '../testing/redis-hash-sequences.ts';
import { type Command, redisSequence, transactionSequence } from '../testing/redis-sequences.ts';
import { freePort, isRedisInstalled, type RedisServer, startRedis } from '../testing/redis-server.ts';
import { encodeCommand, RespClient } from '../testing/resp-client.ts';
import { startGrid, type TestGrid } from '../testing/test-grid.ts';

const SEQUENCES = Number(process.env.LATTICE_TEST_SEQUENCES ?? 300);
const COMMANDS = 40;
const hasRedis = isRedisInstalled();

let redis: RedisServer | undefined;
interface Node {
  readonly node: TestGrid;
  readonly port: number;
}
const nodes: Node[] = [];

async function startNode(workerThreads: number): Promise<Node> {
  const port = await freePort();
  return { node: await startGrid({ respPort: port, workerThreads }), port };
}

before(async () => {
  if (!hasRedis) return;
  redis = await startRedis();
  nodes.push(await startNode(1), await startNode(3));
});

after(async () => {
  redis?.stop();
  for (const { node } of nodes) await node.grid.stop();
});

async function repliesOf(client: RespClient, sequence: readonly Command[]): Promise<Buffer[]> {
  client.send(Buffer.concat(sequence.map(encodeCommand)));
  const replies: Buffer[] = [];
  for (let index = 0; index < sequence.length; index++) replies.push(await client.reply());
  return replies;
}

/** A second may end between two servers that are asked for what is left of it. */
function isSameReply(command: Command, ours: Buffer, theirs: Buffer): boolean {
  if (ours.equals(theirs) || inOrder(command, ours).equals(inOrder(command, theirs))) return true;
  const [name] = command;
  if (String(name).toLowerCase() !== 'ttl') return false;
  return Math.abs(Number(ours.toString().slice(1)) - Number(theirs.toString().slice(1))) <= 1;
}

async function compare(
  port: number,
  isResp3: boolean,
  sequenceOf: (random: Random) => Command[] = (random) => redisSequence(random, COMMANDS),
): Promise<void> {
  assert.ok(redis !== undefined);
  const ours = await RespClient.open(port);
  const theirs = await RespClient.open(redis.port);
  if (isResp3) for (const client of [ours, theirs]) await client.command('HELLO', '3');
  const { seed } = Random.ofThisRun();
  // Every sequence begins by removing what others left: the first time there is something else to remove at each server.
  for (const client of [ours, theirs]) await repliesOf(client, sequenceOf(new Random(seed)).slice(0, 2));
  for (let number = 0; number < SEQUENCES; number++) {
    const sequence = sequenceOf(new Random(seed + number));
    const [our, their] = await Promise.all([repliesOf(ours, sequence), repliesOf(theirs, sequence)]);
    sequence.forEach((command, index) => {
      const [ourReply, theirReply] = [our[index], their[index]];
      assert.ok(ourReply !== undefined && theirReply !== undefined);
      if (isSameReply(command, ourReply, theirReply)) return;
      const told = sequence
        .slice(Math.max(0, index - 12), index + 1)
        .map((words) => words.map((word) => JSON.stringify(String(word))).join(' '));
      assert.fail(
        `seed ${seed + number}, command ${index}:\n${told.join('\n')}\nours:   ${JSON.stringify(ourReply.toString('latin1'))}\n` +
          `theirs: ${JSON.stringify(theirReply.toString('latin1'))}`,
      );
    });
  }
  ours.close();
  theirs.close();
}

test('where sequences are asked for there is a redis-server to compare them with', () => {
  const isAsked = process.env.LATTICE_TEST_SEQUENCES !== undefined;
  assert.ok(hasRedis || !isAsked, 'no redis-server on PATH: nothing would be compared');
});

test('random sequences are answered as redis-server answers them, byte by byte', {
  skip: !hasRedis && 'no redis-server on PATH',
}, async (t) => {
  t.diagnostic(`${SEQUENCES} sequences of ${COMMANDS} commands, LATTICE_TEST_SEED=${Random.ofThisRun().seed}`);
  for (const { port } of nodes) await compare(port, false);
});

test('the same in RESP3', { skip: !hasRedis && 'no redis-server on PATH' }, async () => {
  for (const { port } of nodes) await compare(port, true);
});

test('transactions are answered as redis-server answers them', { skip: !hasRedis && 'no redis-server on PATH' }, async () => {
  for (const { port } of nodes) await compare(port, false, (random) => transactionSequence(random, 8));
});

test('commands over hashes are answered as redis-server answers them', {
  skip: !hasRedis && 'no redis-server on PATH',
}, async () => {
  for (const { port } of nodes)
    for (const isResp3 of [false, true]) await compare(port, isResp3, (random) => hashSequence(random, COMMANDS / 2));
});
