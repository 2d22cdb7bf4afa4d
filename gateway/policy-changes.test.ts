/** What was asked while it was allowed, and is answered when it is not any more. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Policy } from '../engine/domains/security/policy.ts';
import type { Subject } from '../engine/domains/security/subject.ts';
import type { Message, OneThreadNode, TestClient } from './testing/one-thread-node.ts';
import { define, gatewayOf, newNode, rootOf, settle } from './testing/policy-node.ts';

const ALL: Policy = {
  id: 'all',
  pattern: '*',
  actions: ['read', 'write', 'lock', 'readCounter', 'writeCounter'],
  effect: 'allow',
};
const OWN = { op: 'eq', attribute: 'owner', valueRef: 'auth.id' };
const ANN: Subject = { id: 'ann', roles: [], claims: new Map() };

async function nodeWithAnn(): Promise<{ node: OneThreadNode; root: TestClient; ann: TestClient }> {
  const node = await newNode();
  define(node, [ALL], 1);
  const [root, ann] = [rootOf(node), node.client()];
  const { accessControl } = gatewayOf(node);
  ann.session.access = accessControl.accessOf({ ...ANN, expiresSeconds: 0 });
  accessControl.listen(ann.session, undefined);
  return { node, root, ann };
}

function told(messages: readonly Message[]): unknown[] {
  return messages.map(({ type, payload }) => {
    const { key, changeType, details } = Object(payload);
    return type === 'ERROR' ? [type, Object(details).id] : [type, changeType, key];
  });
}

test('a query is held to new rules at once: what a worker says by the old ones is not heard', async () => {
  const { node, root, ann } = await nodeWithAnn();
  const millis = 1_700_000_000_000;
  const put = (id: number, key: string, owner: string): void => {
    const record = { value: { owner, id }, timestamp: { millis: millis + id, counter: 0, nodeId: 'n' } };
    root.write({ id: String(id), mapName: 'notes', key, opType: 'PUT', record });
  };
  put(1, 'a', 'ann');
  put(2, 'b', 'bob');
  for (const queryId of ['mine', 'all']) ann.say({ type: 'QUERY_SUB', payload: { queryId, mapName: 'notes', query: {} } });
  await settle(node);
  ann.heard();
  ann.say({ type: 'QUERY_UNSUB', payload: { queryId: 'all' } });
  put(3, 'b', 'bob'); // the workers have not seen it when the rules change
  define(node, [{ ...ALL, condition: OWN, actions: ['read'] }], 2);
  put(4, 'b', 'bob');
  await settle(node);
  put(5, 'a', 'ann');
  await settle(node);
  const updates = ann.heardOf('QUERY_UPDATE');
  assert.deepEqual(told(updates), [
    ['QUERY_UPDATE', 'LEAVE', 'b'],
    ['QUERY_UPDATE', 'UPDATE', 'a'], // told anew
    ['QUERY_UPDATE', 'UPDATE', 'a'],
  ]);

  define(node, [{ ...ALL, effect: 'deny' }], 3);
  const heard = ann.heard().filter(({ type }) => type === 'QUERY_UPDATE' || type === 'ERROR');
  assert.deepEqual(told(heard), [
    ['QUERY_UPDATE', 'LEAVE', 'a'],
    ['ERROR', 'mine'],
  ]);
  assert.equal(gatewayOf(node).queries.queries, 0);
});

test('a lock that was waited for is not granted to who may not have it any more', async () => {
  const { node, root, ann } = await nodeWithAnn();
  const ask = (client: TestClient, requestId: string): void =>
    client.say({ type: 'LOCK_REQUEST', payload: { requestId, name: 'staff', ttl: 600_000 } });
  ask(root, 'first');
  await settle(node);
  const [granted] = root.heardOf('LOCK_GRANTED');
  ask(ann, 'waits');
  await settle(node);
  define(node, [], 2);
  root.say({ type: 'LOCK_RELEASE', payload: { ...Object(granted?.payload) } });
  await settle(node);
  assert.deepEqual(ann.heardOf('LOCK_GRANTED'), []);
  root.heard();
  ask(root, 'again');
  await settle(node);
  assert.equal(root.heardOf('LOCK_GRANTED').length, 1, 'it is free');
});

test('who may only write to a counter is not told what it meets there', async () => {
  const { node, root, ann } = await nodeWithAnn();
  define(node, [{ ...ALL, actions: ['writeCounter'] }], 2);
  const sync = (client: TestClient, n: number): void =>
    client.say({ type: 'COUNTER_SYNC', payload: { name: 'hits', state: { p: { x: n }, n: {} } } });
  [root.session.deviceId, ann.session.deviceId] = ['one', 'two'];
  sync(root, 1);
  await settle(node);
  root.heard();
  sync(ann, 9);
  await settle(node);
  assert.deepEqual(ann.heard(), []);
  root.say({ type: 'COUNTER_REQUEST', payload: { name: 'hits' } });
  await settle(node);
  const [answer] = root.heardOf('COUNTER_RESPONSE');
  assert.deepEqual(Object(answer?.payload).state.positive, { x: 1 }, 'and raises nothing of another');
});

test('a counter that was asked for is not told to who may not read it any more', async () => {
  const { node, ann } = await nodeWithAnn();
  ann.say({ type: 'COUNTER_REQUEST', payload: { name: 'hits' } });
  define(node, [], 2);
  await settle(node);
  assert.deepEqual(ann.heardOf('COUNTER_RESPONSE'), []);
});

test('a query tells its rows anew when other fields of them are seen', async () => {
  const { node, root, ann } = await nodeWithAnn();
  const record = { value: { n: 1, secret: 2 }, timestamp: { millis: 1_700_000_000_000, counter: 0, nodeId: 'n' } };
  root.write({ id: '1', mapName: 'notes', key: 'a', opType: 'PUT', record });
  ann.say({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'notes', query: {} } });
  await settle(node);
  ann.heard();
  define(node, [ALL, { ...ALL, id: 'cut', actions: ['read'], effect: 'deny', fields: ['secret'] }], 2);
  await settle(node);
  const updates = ann.heardOf('QUERY_UPDATE').map(({ payload }) => [Object(payload).changeType, { ...Object(payload).value }]);
  assert.deepEqual(updates, [['UPDATE', { n: 1 }]]);
});
