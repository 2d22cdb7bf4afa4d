/** Live queries through gateways and workers over real rings, in one thread. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isData } from '../engine/protocol/codec.ts';
import { type Message, OneThreadNode, type TestClient } from './testing/one-thread-node.ts';
import { nextStamp, orAdd, put } from './testing/wire-ops.ts';

const MAP = 'todos';
let lastId = 0;

function write(client: TestClient, values: Readonly<Record<string, unknown>>, map = MAP): void {
  const ops = Object.entries(values).map(([key, value]) => put(String(++lastId), map, key, value));
  client.write(...ops);
}

function remove(client: TestClient, key: string, map = MAP): void {
  const timestamp = nextStamp();
  client.write({ id: String(++lastId), mapName: map, key, opType: 'REMOVE', record: { value: null, timestamp } });
}

function subscribe(client: TestClient, queryId: string, query: object, rest: object = {}): void {
  client.say({ type: 'QUERY_SUB', payload: { queryId, mapName: MAP, query, ...rest } });
}

function payloadOf(message: Message | undefined): Readonly<Record<string, unknown>> {
  assert.ok(isData(message?.payload), 'a payload');
  return message.payload;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  assert.ok(isData(value), 'a map');
  return value;
}

function responseOf(client: TestClient): Readonly<Record<string, unknown>> {
  const responses = client.heardOf('QUERY_RESP');
  assert.equal(responses.length, 1);
  return payloadOf(responses[0]);
}

/** [change type, key, value] of each update. */
function updatesOf(client: TestClient): unknown[] {
  return client.heardOf('QUERY_UPDATE').map((message) => {
    const { changeType, key, value } = payloadOf(message);
    return [changeType, key, value];
  });
}

function keysOf({ results }: Readonly<Record<string, unknown>>): unknown[] {
  assert.ok(Array.isArray(results));
  return results.map(({ key }: { key: unknown }) => key);
}

async function nodeWith(
  values: Readonly<Record<string, unknown>>,
  options = {},
): Promise<{ node: OneThreadNode; ann: TestClient }> {
  const node = await OneThreadNode.create({ workers: 2, ...options });
  const ann = node.client();
  write(ann, values);
  await node.pump();
  ann.heard();
  return { node, ann };
}

test('a query is answered with the rows of all workers in its order, and then told of every change, also to the writer', async () => {
  const { node, ann } = await nodeWith({ a: { n: 3 }, b: { n: 1 }, c: { n: 2 }, d: { n: 9 } });
  subscribe(ann, 'q', { predicate: { op: 'lt', attribute: 'n', value: 5 }, sort: [{ field: 'n', direction: 'asc' }] });
  await node.pump();
  assert.deepEqual(responseOf(ann), {
    queryId: 'q',
    results: [
      { key: 'b', value: { n: 1 } },
      { key: 'c', value: { n: 2 } },
      { key: 'a', value: { n: 3 } },
    ],
    hasMore: false,
    cursorStatus: 'none',
  });
  write(ann, { e: { n: 0 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['ENTER', 'e', { n: 0 }]]);
  write(ann, { a: { n: 4 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['UPDATE', 'a', { n: 4 }]]);
  write(ann, { a: { n: 6 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['LEAVE', 'a', null]]);
  remove(ann, 'b');
  write(ann, { d: { n: 10 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['LEAVE', 'b', null]]);
});

test('a window lets the next candidate in when a row leaves, and out what is pushed over its edge', async () => {
  const rows = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`k${n}`, { n }]));
  const { node, ann } = await nodeWith(rows);
  subscribe(ann, 'q', { sort: { n: 'desc' }, limit: 3 });
  await node.pump();
  const response = responseOf(ann);
  assert.deepEqual([keysOf(response), response.hasMore], [['k19', 'k18', 'k17'], true]);
  remove(ann, 'k18');
  await node.pump();
  assert.deepEqual(updatesOf(ann), [
    ['LEAVE', 'k18', null],
    ['ENTER', 'k16', { n: 16 }],
  ]);
  write(ann, { top: { n: 99 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [
    ['LEAVE', 'k16', null],
    ['ENTER', 'top', { n: 99 }],
  ]);
});

test('pages follow one another by their cursors, whatever changes in between', async () => {
  const rows = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`k${n}`, { n: n % 3 }]));
  const { node, ann } = await nodeWith(rows);
  const query = { sort: [{ field: 'n', direction: 'asc' }], limit: 4 };
  const seen: unknown[] = [];
  let cursor: unknown;
  for (let page = 0; page < 3; page++) {
    subscribe(ann, `page-${page}`, { ...query, ...(cursor === undefined ? {} : { cursor }) });
    await node.pump();
    const response = responseOf(ann);
    seen.push(...keysOf(response));
    assert.equal(response.cursorStatus, page === 0 ? 'none' : 'valid');
    cursor = response.nextCursor;
    remove(ann, 'k0'); // is on the first page: the next ones do not shift
    await node.pump();
    ann.heard();
  }
  assert.deepEqual(seen, ['k0', 'k3', 'k6', 'k9', 'k1', 'k4', 'k7', 'k2', 'k5', 'k8']);
  assert.equal(cursor, undefined);
  subscribe(ann, 'other', { ...query, where: { n: 1 }, cursor: 'bm9uc2Vuc2U' });
  await node.pump();
  assert.equal(responseOf(ann).cursorStatus, 'invalid');
});

test('rows are reduced to the fields that are asked for, in the result and in updates', async () => {
  const { node, ann } = await nodeWith({ a: { n: 1, secret: 'x', t: 'A' } });
  subscribe(ann, 'q', { where: { n: 1 }, fields: ['t'] }, { fields: ['t'] });
  await node.pump();
  assert.deepEqual(responseOf(ann).results, [{ key: 'a', value: { t: 'A' } }]);
  write(ann, { a: { n: 1, t: 'B' } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['UPDATE', 'a', { t: 'B' }]]);
});

test('groups are sent anew when their rows change', async () => {
  const { node, ann } = await nodeWith({
    a: { category: 'a', price: 20 },
    b: { category: 'a', price: 15 },
    c: { category: 'b', price: 50 },
  });
  subscribe(ann, 'q-agg-1', { groupBy: ['category'], aggregations: [{ func: 'count' }, { func: 'sum', field: 'price' }] });
  await node.pump();
  assert.deepEqual(responseOf(ann).results, [
    { key: 'a', value: { __key: 'a', __count: 2, __sum_price: 35, category: 'a' } },
    { key: 'b', value: { __key: 'b', __count: 1, __sum_price: 50, category: 'b' } },
  ]);
  remove(ann, 'c');
  write(ann, { b: { category: 'a', price: 1 } });
  await node.pump();
  await new Promise((resolve) => setTimeout(resolve, 120));
  node.gateways[0]?.outbox.onTick(performance.now());
  const responses = ann.heardOf('QUERY_RESP');
  assert.deepEqual(payloadOf(responses.at(-1)).results, [
    { key: 'a', value: { __key: 'a', __count: 2, __sum_price: 21, category: 'a' } },
  ]);
});

test('an OR-Map has no rows for queries, and an empty or unknown map an empty result', async () => {
  const { node, ann } = await nodeWith({});
  ann.write(orAdd(String(++lastId), MAP, 'k', { n: 1 }));
  subscribe(ann, 'q', {});
  await node.pump();
  assert.deepEqual(responseOf(ann).results, []);
  write(ann, { a: { n: 1 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['ENTER', 'a', { n: 1 }]]);
});

test('an ended query is told of nothing, and the same id again is another query', async () => {
  const { node, ann } = await nodeWith({ a: { n: 1 }, b: { n: 2 } });
  subscribe(ann, 'q', { where: { n: 1 } });
  await node.pump();
  assert.deepEqual(keysOf(responseOf(ann)), ['a']);
  subscribe(ann, 'q', { where: { n: 2 } });
  await node.pump();
  assert.deepEqual(keysOf(responseOf(ann)), ['b']);
  write(ann, { a: { n: 1, again: true }, b: { n: 2, again: true } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['UPDATE', 'b', { n: 2, again: true }]]);
  ann.say({ type: 'QUERY_UNSUB', payload: { queryId: 'q' } });
  write(ann, { b: { n: 2 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), []);
  assert.equal(node.gateways[0]?.queries.queries, 0);
});

test('queries of two clients with one id are two queries, and those of a client that left are forgotten', async () => {
  const { node, ann } = await nodeWith({ a: { n: 1 } });
  const ben = node.client();
  subscribe(ann, 'q', { where: { n: 1 } });
  subscribe(ben, 'q', { where: { n: 2 } });
  await node.pump();
  assert.deepEqual([keysOf(responseOf(ann)), keysOf(responseOf(ben))], [['a'], []]);
  ben.leave();
  write(ann, { b: { n: 2 }, c: { n: 1 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['ENTER', 'c', { n: 1 }]]);
  assert.equal(node.gateways[0]?.queries.queries, 1);
});

test('what is wrong with a query is said by its id, and no result is sent', async () => {
  const { node, ann } = await nodeWith({}, { config: { queriesPerSession: 1 } });
  const wrong: readonly [string, object, number][] = [
    ['operator', { predicate: { op: 'unheard', attribute: 'n' } }, 400],
    ['regex', { predicate: { op: 'regex', attribute: 'n', value: '(?=a)' } }, 400],
    ['limit', { limit: -1 }, 400],
    ['sort', { sort: 'n' }, 400],
    ['group', { groupBy: 'n' }, 400],
    ['long', { where: { n: 'x'.repeat(600_000) } }, 400],
  ];
  for (const [queryId, query, code] of wrong) {
    subscribe(ann, queryId, query);
    await node.pump();
    const heard = ann.heard();
    assert.deepEqual(
      heard.map(({ type }) => type),
      ['ERROR'],
      queryId,
    );
    const error = payloadOf(heard[0]);
    assert.deepEqual([error.code, error.details], [code, { type: 'QUERY_SUB', id: queryId, code: 'BAD_REQUEST' }]);
  }
  ann.say({ type: 'QUERY_SUB', payload: { queryId: 'name', mapName: 5, query: {} } });
  subscribe(ann, 'first', {});
  subscribe(ann, 'second', {});
  await node.pump();
  const codes = ann.heardOf('ERROR').map((message) => payloadOf(message).details);
  assert.deepEqual(codes, [
    { type: 'QUERY_SUB', id: 'name', code: 'INVALID_MAP_NAME' },
    { type: 'QUERY_SUB', id: 'second', code: 'OVERLOADED' },
  ]);
});

test('a result that is too large is refused, and one without a limit is cut at the rows that a result may have', async () => {
  const rows = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`k${n}`, { n, text: 'x'.repeat(500) }]));
  const { node, ann } = await nodeWith(rows, { config: { queryResultBytesMax: 10_000, queryRowsMax: 30 } });
  subscribe(ann, 'large', {});
  subscribe(ann, 'narrow', { fields: ['n'] });
  await node.pump();
  const heard = ann.heard();
  assert.deepEqual(heard.map(({ type }) => type).sort(), ['ERROR', 'QUERY_RESP']);
  assert.equal(payloadOf(heard.find(({ type }) => type === 'ERROR')).code, 413);
  const response = payloadOf(heard.find(({ type }) => type === 'QUERY_RESP'));
  assert.deepEqual([keysOf(response).length, response.hasMore], [30, true]);
});

test('what a result is sorted by, or grouped by, counts as what it shows does', async () => {
  const long = (n: number): object => ({ n, text: `${n}${'x'.repeat(3000)}` });
  const rows = Object.fromEntries(Array.from({ length: 6 }, (_, n) => [`k${n}`, long(n)]));
  const { node, ann } = await nodeWith(rows, { config: { queryResultBytesMax: 10_000 } });
  subscribe(ann, 'sorted', { sort: [{ field: 'text', direction: 'asc' }] }, { fields: ['n'] });
  subscribe(ann, 'grouped', { groupBy: ['text'] });
  subscribe(ann, 'first', { sort: [{ field: 'text', direction: 'asc' }], limit: 1 }, { fields: ['n'] });
  subscribe(ann, 'short', { sort: [{ field: 'n', direction: 'asc' }] }, { fields: ['n'] });
  await node.pump();
  const heard = ann.heard();
  const errors = heard.filter(({ type }) => type === 'ERROR').map((message) => payloadOf(message).details);
  assert.deepEqual(errors.map((details) => fieldsOf(details).id).sort(), ['grouped', 'sorted']);
  assert.deepEqual([...new Set(errors.map((details) => fieldsOf(details).code))], ['FRAME_TOO_LARGE']);
  const answered = heard.filter(({ type }) => type === 'QUERY_RESP').map((message) => payloadOf(message).queryId);
  assert.deepEqual(answered.sort(), ['first', 'short']);
  assert.equal(node.gateways[0]?.queries.queries, 2);
});

test('a live query ends when what it is sorted by, or grouped by, grows too large, and others go on', async () => {
  const { node, ann } = await nodeWith({}, { config: { queryResultBytesMax: 5_000 }, workers: 1 });
  subscribe(ann, 'sorted', { sort: { text: 'desc' } }, { fields: ['n'] });
  subscribe(ann, 'grouped', { groupBy: ['text'] });
  subscribe(ann, 'plain', {}, { fields: ['n'] });
  await node.pump();
  ann.heard();
  for (let n = 0; n < 12; n++) write(ann, { [`k${n}`]: { n, text: `${n}${'x'.repeat(2000)}` } });
  await node.pump();
  const heard = ann.heard();
  const errors = heard.filter(({ type }) => type === 'ERROR').map((message) => payloadOf(message).details);
  assert.deepEqual(errors.map((details) => fieldsOf(details).id).sort(), ['grouped', 'sorted']);
  assert.deepEqual([...new Set(errors.map((details) => fieldsOf(details).code))], ['FRAME_TOO_LARGE']);
  assert.equal(heard.filter(({ type, payload }) => type === 'QUERY_UPDATE' && fieldsOf(payload).queryId === 'plain').length, 12);
  assert.equal(node.gateways[0]?.queries.queries, 1);
});

test('one query whose pattern is too costly for a row ends alone: the writer and other queries go on', async () => {
  const { node, ann } = await nodeWith({ a: { t: 'short' } });
  subscribe(ann, 'costly', { predicate: { op: 'regex', attribute: 't', value: '(a|b){60}c|short' } });
  subscribe(ann, 'plain', {}, { fields: ['n'] });
  await node.pump();
  assert.equal(ann.heardOf('QUERY_RESP').length, 2);
  write(ann, { b: { n: 1, t: 'a'.repeat(150_000) } });
  await node.pump();
  const heard = ann.heard();
  assert.deepEqual(payloadOf(heard.find(({ type }) => type === 'ERROR')).details, {
    type: 'QUERY_SUB',
    id: 'costly',
    code: 'BAD_REQUEST',
  });
  assert.equal(heard.filter(({ type }) => type === 'OP_ACK').length, 1);
  const [update] = heard.filter(({ type }) => type === 'QUERY_UPDATE');
  assert.deepEqual([payloadOf(update).queryId, payloadOf(update).value], ['plain', { n: 1 }]);
});

test('a query that is cheap leaf by leaf and costly as a whole ends alone, in its first pass or when a row is written', async () => {
  const children = Array.from({ length: 500 }, (_, at) => ({ op: 'like', attribute: 't', value: `%${'a'.repeat(56)}b${at}` }));
  const costly = { predicate: { op: 'or', children } };
  const { node, ann } = await nodeWith({ short: { t: 'a' } });
  const ben = node.client();
  subscribe(ann, 'live', costly);
  subscribe(ben, 'plain', {}, { fields: ['n'] });
  await node.pump();
  assert.deepEqual([keysOf(responseOf(ann)), keysOf(responseOf(ben))], [[], ['short']]);
  write(ben, { long: { t: 'a'.repeat(200_000), n: 1 } });
  await node.pump();
  const heard = ben.heard();
  assert.deepEqual(heard.map(({ type }) => type).sort(), ['OP_ACK', 'QUERY_UPDATE']);
  subscribe(ann, 'late', costly);
  await node.pump();
  const errors = ann.heardOf('ERROR').map((message) => [payloadOf(message).code, payloadOf(message).details]);
  assert.deepEqual(errors, [
    [400, { type: 'QUERY_SUB', id: 'live', code: 'BAD_REQUEST' }],
    [400, { type: 'QUERY_SUB', id: 'late', code: 'BAD_REQUEST' }],
  ]);
  assert.equal(node.gateways[0]?.queries.queries, 1);
});

test('a query that two threads of a worker in a row have not lived to answer is not told to a third', async () => {
  const { node, ann } = await nodeWith({ a: { n: 1 } }, { workers: 1 });
  const [gateway] = node.gateways;
  assert.ok(gateway !== undefined);
  subscribe(ann, 'answered', {});
  await node.pump();
  assert.deepEqual(keysOf(responseOf(ann)), ['a']);
  for (let replacement = 0; replacement < 5; replacement++) {
    gateway.workerReplaced(0);
    await node.pump();
  }
  assert.deepEqual(ann.heardOf('ERROR'), [], 'a query that is answered each time lives on');
  subscribe(ann, 'waiting', {});
  gateway.workerReplaced(0);
  gateway.workerReplaced(0);
  await node.pump();
  const errors = ann.heardOf('ERROR').map((message) => payloadOf(message).details);
  assert.deepEqual(errors, [{ type: 'QUERY_SUB', id: 'waiting', code: 'UNAVAILABLE' }]);
  write(ann, { b: { n: 2 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['ENTER', 'b', { n: 2 }]]);
});

test('a query for one key asks its owner alone, and a question about a hash is not answered', async () => {
  const { node, ann } = await nodeWith({ a: { n: 1 }, b: { n: 1 }, c: { n: 1 } });
  subscribe(ann, 'q', { where: { _key: 'b' } });
  ann.say({ type: 'QUERY_SYNC_INIT', payload: { queryId: 'q', rootHash: 5 } });
  await node.pump();
  assert.deepEqual(keysOf(responseOf(ann)), ['b']);
  write(ann, { a: { n: 2 }, b: { n: 2 }, d: { n: 2 } });
  await node.pump();
  assert.deepEqual(updatesOf(ann), [['UPDATE', 'b', { n: 2 }]]);
});
