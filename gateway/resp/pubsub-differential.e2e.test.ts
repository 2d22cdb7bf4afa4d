/** Random subscriptions and publications, beside a real redis-server where one is on PATH. LATTICE_TEST_SEED repeats a run that failed. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Random } from '../testing/random.ts';
import { freePort, isRedisInstalled, type RedisServer, startRedis } from '../testing/redis-server.ts';
import { RespClient } from '../testing/resp-client.ts';
import { eventually, startGrid, type TestGrid } from '../testing/test-grid.ts';

const hasRedis = isRedisInstalled();
let node: TestGrid | undefined;
let redis: RedisServer | undefined;

before(async () => {
  if (!hasRedis) return;
  redis = await startRedis();
  node = await startGrid({ respPort: await freePort(), gatewayThreads: 2, workerThreads: 2 });
});

after(async () => {
  redis?.stop();
  await node?.grid.stop();
});

const NAMES = ['a', 'ab', 'b', 'b:1', 'ключ'];
const PATTERNS = ['*', 'a*', '?', '[ab]', '[^a]*', 'b:\\1', 'a?', 'nothing*', 'ключ'];

type Words = readonly string[];

/** To a subscriber of RESP2 Redis says what is wrong with these before it says that they may not be sent. */
const WRONG_SUBCOMMANDS = [
  ['PUBSUB', 'NUMPAT', 'x'],
  ['PUBSUB', 'FOO'],
];

/** What one client says next. */
function nextWords(random: Random, isResp3: boolean): Words {
  const some = (from: readonly string[]): string[] => Array.from({ length: 1 + random.below(3) }, () => random.pick(from));
  return random.pick<() => Words>([
    () => ['SUBSCRIBE', ...some(NAMES)],
    () => ['SUBSCRIBE', ...some(NAMES)],
    () => ['PSUBSCRIBE', ...some(PATTERNS)],
    () => ['UNSUBSCRIBE', ...some(NAMES)],
    () => ['PUNSUBSCRIBE', ...some(PATTERNS)],
    () => ['UNSUBSCRIBE'],
    () => ['PUNSUBSCRIBE'],
    () => random.pick([['SUBSCRIBE'], ['PSUBSCRIBE'], ['PUBLISH', 'a'], ['PUBSUB'], ...(isResp3 ? WRONG_SUBCOMMANDS : [])]),
    () => ['PING', ...random.pick([[], ['hello'], ['a', 'b']])],
    () => random.pick([['GET', 'k'], ['CONFIG', 'GET', 'x'], ['CLIENT', 'GETNAME'], ['EXEC'], ['nosuch'], ['GET']]),
    () =>
      random.pick([
        ['PUBSUB', 'NUMSUB', ...some(NAMES)],
        ['PUBSUB', 'NUMSUB'],
        ['PUBSUB', 'NUMPAT'],
        ['PUBSUB', 'CHANNELS'],
      ]),
    () => ['RESET'],
  ])();
}

/** All that comes until a PING of ours is answered. */
async function framesOf(client: RespClient, words: Words, mark: string): Promise<string[]> {
  const frames: string[] = [];
  if (words.length > 0) client.post(...words);
  client.post('PING', mark);
  for (;;) {
    const frame = (await client.reply()).toString('latin1');
    if (frame.includes(mark)) return frames;
    frames.push(frame);
  }
}

test('random subscriptions, and what is published to them, are answered as redis-server answers them', {
  skip: !hasRedis && 'no redis-server on PATH',
}, async (t) => {
  assert.ok(redis !== undefined && node !== undefined);
  const random = Random.ofThisRun();
  t.diagnostic(`LATTICE_TEST_SEED=${random.seed}`);
  const ownPort = node.config.respPort;
  const ports = [ownPort, redis.port];
  for (let number = 0; number < 30; number++) {
    const clients = await Promise.all(ports.map((port) => RespClient.open(port)));
    const publishers = await Promise.all(ports.map((port) => RespClient.open(port)));
    const isResp3 = number % 2 === 1;
    if (isResp3) for (const client of clients) await client.command('HELLO', '3');
    const said: Words[] = [];
    for (let step = 0; step < 30; step++) {
      const words = nextWords(random, isResp3);
      if (words[0] === 'RESET' && isResp3) continue; // it would speak RESP2 from there on
      said.push(words);
      const [ours, theirs] = await Promise.all(clients.map((client) => framesOf(client, words, `mark-${step}`)));
      // Which of several is named first is chance.
      const isAnyOrder = words.length === 1 || words[1] === 'CHANNELS';
      const compared = (frames: string[] = []): string[] => (isAnyOrder ? frames.join('').split('\r\n').sort() : frames);
      assert.deepEqual(compared(ours), compared(theirs), `${JSON.stringify(said)} of sequence ${number}`);
      const topic = random.pick(NAMES);
      const [ourCount, theirCount] = await Promise.all(publishers.map((client) => client.text('PUBLISH', topic, `${step}`)));
      assert.equal(ourCount, theirCount, `receivers of ${topic} behind ${JSON.stringify(said)}`);
      const [ourMessages, theirMessages] = await Promise.all(clients.map((client) => framesOf(client, [], `heard-${step}`)));
      assert.deepEqual(ourMessages?.sort(), theirMessages?.sort(), `messages of ${topic} behind ${JSON.stringify(said)}`);
    }
    for (const client of [...clients, ...publishers]) client.close();
    await eventually(async () => {
      const probe = await RespClient.open(ownPort);
      assert.equal(await probe.text('PUBSUB', 'CHANNELS'), '*0\r\n');
      assert.equal(await probe.text('PUBSUB', 'NUMPAT'), ':0\r\n');
      probe.close();
    });
  }
});
