import assert from 'node:assert/strict';
import test from 'node:test';
import { OneThreadNode, type TestClient } from './testing/one-thread-node.ts';
import { PlayedNode } from './testing/played-node.ts';
import { RedisEnd } from './testing/subject-doors.ts';
import { eventually } from './testing/test-grid.ts';

const TWO = { workers: 2, config: { workerBreakerFailures: 3, workerBreakerOpenMs: 4000 } };

function write(client: TestClient, key: string): void {
  const timestamp = { millis: 1_700_000_000_000, counter: 0, nodeId: 'node-a' };
  client.write({ id: '1', mapName: 'todos', opType: 'PUT', key, record: { value: 1, timestamp } });
}

function errors(client: TestClient): unknown[] {
  return client.heardOf('ERROR').map(({ payload }) => payload);
}

const SILENT = { code: 503, message: 'UNAVAILABLE: worker 0 does not answer, try again later' };

/** Worker 0 stands still until its breaker opens. */
async function silentWorker(): Promise<PlayedNode> {
  const node = await PlayedNode.create(TWO);
  for (let call = 0; call < 3; call++) write(node.client(), node.keyOf(0));
  node.pass(5600); // past the deadline of ops
  node.received();
  assert.equal(node.counters.deadlinesExceeded, 3);
  return node;
}

test('what goes to a worker that answers nothing is refused at once, and what goes to others is not', async () => {
  const node = await silentWorker();
  const [lost, well, asking] = [node.client(), node.client(), node.client()];
  write(lost, node.keyOf(0));
  assert.deepEqual([errors(lost), lost.closes.map(({ code }) => code)], [[SILENT], [1013]]);
  write(well, node.keyOf(1));
  node.ack(1, 1, node.callAt(1));
  assert.equal(well.heardOf('OP_ACK').length, 1);
  asking.say({ type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 0 });
  assert.deepEqual([errors(asking), asking.closes], [[SILENT], []]);
  const [counting, elsewhere] = [node.client(), node.client()];
  counting.say({ type: 'COUNTER_REQUEST', payload: { name: node.keyOf(0) } });
  elsewhere.say({ type: 'COUNTER_REQUEST', payload: { name: node.keyOf(1) } });
  assert.deepEqual([errors(counting), errors(elsewhere)], [[SILENT], []]);
  assert.deepEqual([node.received().length, node.counters.refusedAtOnce], [0, 2]);
  assert.equal(node.state.workerBreaker(0, 0), 'OPEN');
  assert.equal(node.state.workerBreaker(0, 1), 'CLOSED');
});

test('a command of Redis for a worker that answers nothing is refused at once, too', async () => {
  const config = { workerBreakerFailures: 2, workerBreakerOpenMs: 60_000, opTimeoutMs: 20, requestTimeoutMs: 20 };
  const node = await OneThreadNode.create({ config, takesRedis: true });
  const [first, second] = [new RedisEnd(node, undefined), new RedisEnd(node, undefined)];
  for (const redis of [first, second]) redis.say('SET', 'k', '1');
  await eventually(() => {
    node.gateways[0]?.outbox.onTick(performance.now());
    assert.equal(node.state.workerBreaker(0, 0), 'OPEN');
  });
  first.heard();
  first.say('SET', 'k', '2');
  assert.equal(first.heard(), '-TRYAGAIN UNAVAILABLE worker 0 does not answer: the command was not run\r\n');
});

test('after a pause one call probes; its answer closes the breaker, its silence opens it again', async () => {
  const node = await silentWorker();
  node.pass(1000);
  write(node.client(), node.keyOf(0));
  assert.equal(node.state.workerBreaker(0, 0), 'HALF_OPEN');
  const second = node.client();
  write(second, node.keyOf(0));
  assert.deepEqual(errors(second), [SILENT]);
  const probe = node.callAt(0);
  node.pass(5600);
  assert.equal(node.state.workerBreaker(0, 0), 'OPEN');
  node.pass(4000);
  write(node.client(), node.keyOf(0));
  assert.notEqual(node.callAt(0), probe);
  node.ack(0, 1, probe); // late, but it speaks
  assert.equal(node.state.workerBreaker(0, 0), 'CLOSED');
  const after = node.client();
  write(after, node.keyOf(0));
  assert.deepEqual(errors(after), []);
});

test('a worker that is replaced is asked again at once', async () => {
  const node = await silentWorker();
  node.gateway.workerReplaced(0);
  assert.equal(node.state.workerBreaker(0, 0), 'CLOSED');
});

test('a worker that is slow with one call but answers others is not silent', async () => {
  const node = await PlayedNode.create(TWO);
  for (let call = 0; call < 5; call++) write(node.client(), node.keyOf(0));
  const calls = node.received().map(({ callId }) => callId);
  node.pass(4900);
  node.ack(0, 1, calls[0] ?? 0);
  node.pass(700);
  assert.equal(node.counters.deadlinesExceeded, 4);
  assert.equal(node.state.workerBreaker(0, 0), 'CLOSED');
});

test('what is for a worker that is being replaced is held, not refused', async () => {
  const node = await silentWorker();
  node.state.setWorkerState(0, 'loading');
  const client = node.client();
  write(client, node.keyOf(0));
  assert.deepEqual([errors(client), client.session.held.length], [[], 1]);
});
