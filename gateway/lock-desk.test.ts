/** Locks and fenced writes through gateways and workers over real rings, in one thread. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FENCE_NAMES_MAX } from '../engine/domains/coordination/fence-table.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { OneThreadNode, type TestClient } from './testing/one-thread-node.ts';
import { TurnClock } from './turn-clock.ts';

interface Grant {
  readonly requestId: string;
  readonly name: string;
  readonly fencingToken: number;
}

const lock = (client: TestClient, name: string, requestId: string, ttl?: number): void =>
  client.say({ type: 'LOCK_REQUEST', payload: { requestId, name, ttl } });
const release = (client: TestClient, name: string, fencingToken?: number, requestId?: string): void =>
  client.say({ type: 'LOCK_RELEASE', payload: { requestId, name, fencingToken } });
const grantsTo = (client: TestClient): Grant[] => client.heardOf('LOCK_GRANTED').map(({ payload }) => payload as Grant);

/** Grants come out of promises: several rounds until nothing moves any more. */
async function settle(node: OneThreadNode): Promise<void> {
  for (let round = 0; round < 4; round++) {
    await node.pump();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function tokenOf(node: OneThreadNode, client: TestClient, name: string): Promise<number> {
  lock(client, name, `for ${name}`, 60_000);
  await settle(node);
  const [grant] = grantsTo(client);
  assert.ok(grant !== undefined, `${name} is granted`);
  return grant.fencingToken;
}

const fencedPut = (id: string, key: string, value: unknown, millis: number, name: string, token: number): object => ({
  id,
  mapName: 'm',
  key,
  opType: 'PUT',
  record: { value, timestamp: { millis, counter: 0, nodeId: 'a' } },
  fence: { lock: name, token },
});

test('a lock is granted to one client at a time, whichever gateway it is at, with tokens that rise', async () => {
  const node = await OneThreadNode.create({ gateways: 2, workers: 2 });
  const [ann, ben] = [node.client(0), node.client(1)];
  lock(ann, 'orders', 'r1', 10_000);
  lock(ben, 'orders', 'r2', 10_000);
  await settle(node);
  const [first] = grantsTo(ann);
  assert.deepEqual([first?.requestId, first?.name], ['r1', 'orders']);
  assert.deepEqual(grantsTo(ben), []);
  release(ann, 'orders', first?.fencingToken, 'r3');
  await settle(node);
  assert.deepEqual(ann.heardOf('LOCK_RELEASED')[0]?.payload, { requestId: 'r3', name: 'orders', success: true });
  const [second] = grantsTo(ben);
  assert.equal(second?.requestId, 'r2');
  assert.ok((second?.fencingToken ?? 0) > (first?.fencingToken ?? 0));
});

test('a request is never answered by LOCK_RELEASED: one that is no request, or gets nothing, hears nothing', async () => {
  const node = await OneThreadNode.create();
  const [ann, ben] = [node.client(), node.client()];
  lock(ann, 'busy', 'a', 10_000);
  lock(ben, 'busy', 'waits', 10_000);
  lock(ben, '', 'no name', 1000);
  lock(ben, 'white space', 'bad name', 1000);
  lock(ben, 'free', 'zero', 0);
  lock(ben, 'free', 'negative', -1);
  ben.say({ type: 'LOCK_REQUEST', payload: { requestId: 'text', name: 'free', ttl: 'long' } });
  ben.say({ type: 'LOCK_REQUEST', payload: { name: 'free' } });
  ben.heard();
  await settle(node);
  assert.deepEqual(ben.heard(), []);
});

test('a release without the token, with another one, or of what is not held fails and says so', async () => {
  const node = await OneThreadNode.create();
  const [ann, ben] = [node.client(), node.client()];
  const token = await tokenOf(node, ann, 'l');
  release(ann, 'l');
  release(ann, 'l', token + 1, 'x');
  release(ann, 'never', 1, 'y');
  release(ben, 'l', token, 'z');
  await settle(node);
  const answers = [...ann.heardOf('LOCK_RELEASED'), ...ben.heardOf('LOCK_RELEASED')].map(({ payload }) => payload);
  assert.deepEqual(answers, [
    { requestId: '', name: 'l', success: false },
    { requestId: 'x', name: 'l', success: false },
    { requestId: 'y', name: 'never', success: false },
    { requestId: 'z', name: 'l', success: false },
  ]);
});

test('a disconnect frees what the client held and drops what it waited for', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const [ann, ben, cleo] = [node.client(), node.client(), node.client()];
  await tokenOf(node, ann, 'l');
  lock(ben, 'l', 'b');
  lock(cleo, 'l', 'c');
  await settle(node);
  ben.leave();
  ann.leave();
  await settle(node);
  assert.equal(grantsTo(cleo).length, 1);
});

test('no client holds a lock before every worker knows its token', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const client = node.client();
  lock(client, 'l', 'r', 60_000);
  const owner = node.table.ownerOf(partitionOf(fnv1a('l')));
  for (let round = 0; round < 4; round++) {
    await node.drainWorker(owner); // grants, then notes the token
    node.drainGateway(0);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const early = grantsTo(client);
  await settle(node);
  assert.deepEqual([early.length, grantsTo(client).length], [0, 1]);
});

test('a lock whose token was forgotten among very many newer ones goes to the next when its holder asks again', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const [ann, ben, cleo] = [node.client(), node.client(), node.client()];
  await tokenOf(node, ann, 'l');
  for (let from = 0; from <= FENCE_NAMES_MAX; from += 500) {
    for (let name = from; name < from + 500; name++) lock(ben, `other${name}`, `r${name}`);
    await settle(node);
    for (const { payload } of ben.heardOf('LOCK_GRANTED')) {
      const { name, fencingToken } = Object(payload);
      release(ben, name, fencingToken);
    }
    await settle(node);
    ben.heard();
  }
  lock(cleo, 'l', 'c', 60_000);
  await settle(node);
  assert.equal(grantsTo(cleo).length, 0, 'ann has it');
  lock(ann, 'l', 'again', 60_000);
  await settle(node);
  assert.deepEqual([grantsTo(ann).length, grantsTo(cleo).length], [0, 1]);
});

test('a write under an older token is refused by every worker, acknowledged, and said why', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const [ann, ben] = [node.client(), node.client()];
  const old = await tokenOf(node, ann, 'l');
  release(ann, 'l', old);
  const token = await tokenOf(node, ben, 'l');
  const keys = ['k1', 'k2', 'k3', 'k4', 'k5', 'k6'];
  ben.heard();
  ann.heard();
  ben.write(...keys.map((key, index) => fencedPut(String(index + 1), key, 'new', 10, 'l', token)));
  ann.write(...keys.map((key, index) => fencedPut(String(index + 1), key, 'old', 99, 'l', old)));
  await settle(node);
  const [ok] = ben.heardOf('OP_ACK').map(({ payload }) => payload as { lastId: string });
  assert.equal(ok?.lastId, '6');
  const answers = ann.heard();
  const refusals = answers
    .filter(({ type }) => type === 'OP_REJECTED')
    .map(({ payload }) => payload as { opId: string; code: number; reason: string });
  assert.deepEqual(
    refusals.map(({ opId, code }) => [opId, code]).sort(),
    keys.map((_, index) => [String(index + 1), 409]),
  );
  assert.match(refusals[0]?.reason ?? '', /^FENCED: a newer token/);
  const [ack] = answers
    .filter(({ type }) => type === 'OP_ACK')
    .map(({ payload }) => payload as { lastId: string; results: { success: boolean }[] });
  assert.equal(ack?.lastId, '6', 'the client does not send them for ever');
  assert.ok(ack?.results.every(({ success }) => !success));
});

test('a fence that is none makes an op invalid, and null is none', async () => {
  const node = await OneThreadNode.create();
  const client = node.client();
  client.heard();
  const op = (id: string, fence: unknown): object => ({ ...fencedPut(id, 'k', 1, Number(id), 'l', 1), fence });
  client.write(
    op('1', null),
    op('2', 7),
    op('3', { lock: 'l' }),
    op('4', { lock: '', token: 1 }),
    op('5', { lock: 'l', token: 0 }),
  );
  await settle(node);
  const codes = client.heardOf('OP_REJECTED').map(({ payload }) => payload as { opId: string; code: number });
  assert.deepEqual(
    codes.map(({ opId, code }) => [opId, code]),
    ['2', '3', '4', '5'].map((id) => [id, 400]),
  );
});

test('the partition map names this node for every partition, with the address that the client dialled', async () => {
  const node = await OneThreadNode.create();
  node.state.port = 4711;
  node.state.startedMs = 1_700_000_000_123;
  const client = node.client();
  client.heard();
  for (const dialled of [
    undefined,
    { host: 'grid.example:8080', path: '/', isSecure: false },
    { host: '[::1]:80', path: '/ws', isSecure: false },
    { host: 'grid.example', path: '/ws?events=interest', isSecure: true },
    { host: 'a b', path: '/', isSecure: false },
  ]) {
    Object.assign(client, { dialled });
    client.say({ type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: 5 } });
  }
  client.say({ type: 'PARTITION_MAP_REQUEST' });
  const maps = client.heardOf('PARTITION_MAP').map(
    ({ payload }) =>
      payload as {
        version: number;
        partitionCount: number;
        nodes: { nodeId: string; endpoints: object; status: string }[];
        partitions: { partitionId: number; ownerNodeId: string; backupNodeIds: string[] }[];
        generatedAt: number;
      },
  );
  assert.deepEqual(
    maps.map(({ nodes }) => nodes[0]?.endpoints),
    [
      { websocket: 'ws://127.0.0.1:4711', http: 'http://127.0.0.1:4711' },
      { websocket: 'ws://grid.example:8080', http: 'http://grid.example:8080' },
      { websocket: 'ws://[::1]:80/ws', http: 'http://[::1]:80' },
      { websocket: 'wss://grid.example/ws?events=interest', http: 'https://grid.example' },
      { websocket: 'ws://127.0.0.1:4711', http: 'http://127.0.0.1:4711' },
      { websocket: 'ws://127.0.0.1:4711', http: 'http://127.0.0.1:4711' },
    ],
  );
  const [map] = maps;
  assert.deepEqual(
    [map?.version, map?.partitionCount, map?.nodes.length, map?.nodes[0]?.status],
    [1_700_000_000, 271, 1, 'ACTIVE'],
  );
  assert.deepEqual(
    map?.partitions,
    Array.from({ length: 271 }, (_, partitionId) => ({ partitionId, ownerNodeId: 'server-1', backupNodeIds: [] })),
  );
  assert.ok((map?.generatedAt ?? 0) <= new TurnClock().wallMs);
});
