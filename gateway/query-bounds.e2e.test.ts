/** Live queries that come to keep more rows than the server will: over real sockets, they end with an error, alone. */
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import type { Message } from './testing/client-codec.ts';
import { payloadOf } from './testing/client-fields.ts';
import { EventReader } from './testing/event-reader.ts';
import { eventually, metricOf, startGrid, type TestGrid } from './testing/test-grid.ts';
import { put, uniqueName } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const KEPT_ROWS_MAX = 100;
const WORKERS = 2;
/** More than all workers keep. */
const TOO_MANY = KEPT_ROWS_MAX * WORKERS + 1;

let node: TestGrid;

before(async () => {
  node = await startGrid({ workerThreads: WORKERS, queryKeptRowsMax: KEPT_ROWS_MAX });
});

after(async () => {
  await node.grid.stop();
  assert.deepEqual(node.fatal, []);
});

async function connected(t: test.TestContext): Promise<WireSession> {
  const session = await WireSession.open({ port: node.port });
  t.after(() => session.socket.terminate());
  return session;
}

let lastId = 0;

/** Writes rows 0 to `count`, some at a time, so that the queries are told in between. */
async function grow(session: WireSession, map: string, count: number): Promise<void> {
  for (let row = 0; row < count; row += 10) {
    const ops = Array.from({ length: Math.min(10, count - row) }, (_, index) =>
      put(String(++lastId), map, `row${row + index}`, { n: row + index }),
    );
    session.sendOps(...ops);
    await session.next('OP_ACK');
  }
}

function aboutQuery(id: string): (message: Message) => boolean {
  return (message) => payloadOf(message).queryId === id;
}

const SMALL = { where: { n: -1 } };
const MESSAGE = `OVERLOADED: live queries keep more than ${KEPT_ROWS_MAX} rows (queryKeptRowsMax): ask for fewer rows (limit, where)`;

test('a query whose rows grow beyond what is kept is told so once and ends; the session and its other queries go on', async (t) => {
  const map = uniqueName('rows');
  const [reader, writer] = [await connected(t), await connected(t)];
  await grow(writer, map, 10);
  const failedBefore = await metricOf(node.port, 'lattice_queries_failed_total');
  for (const [queryId, query] of Object.entries({ all: {}, small: SMALL }))
    reader.send({ type: 'QUERY_SUB', payload: { queryId, mapName: map, query } });
  for (const id of ['all', 'small']) await reader.next('QUERY_RESP', aboutQuery(id));

  await grow(writer, map, TOO_MANY);
  const error = payloadOf(await reader.next('ERROR'));
  assert.deepEqual(error, { code: 429, message: MESSAGE, details: { type: 'QUERY_SUB', id: 'all', code: 'OVERLOADED' } });
  await eventually(async () => assert.equal(await metricOf(node.port, 'lattice_live_queries'), 1));
  assert.equal(await metricOf(node.port, 'lattice_queries_failed_total'), failedBefore + 1);

  const looked = await metricOf(node.port, 'lattice_query_rows_looked_total');
  await reader.barrier();
  reader.messages.length = 0;
  await grow(writer, map, TOO_MANY);
  writer.sendOps(put(String(++lastId), map, 'small', { n: -1 }));
  assert.equal(payloadOf(await reader.next('QUERY_UPDATE')).key, 'small');
  await reader.barrier();
  assert.deepEqual([reader.take('ERROR'), reader.take('QUERY_UPDATE')], [[], []]);
  assert.equal(await metricOf(node.port, 'lattice_query_rows_looked_total'), looked);

  reader.send({ type: 'QUERY_SUB', payload: { queryId: 'all', mapName: map, query: { limit: 3 } } });
  const again = payloadOf(await reader.next('QUERY_RESP', aboutQuery('all')));
  assert.deepEqual([Object(again.results).length, again.hasMore], [3, true], 'less of it may be had');
});

test('groups of too many rows end the same way, and what is too much from the start is no result', async (t) => {
  const map = uniqueName('rows');
  const session = await connected(t);
  await grow(session, map, 10);
  const query = { groupBy: ['m'], aggregations: [{ func: 'sum', field: 'n' }] };
  session.send({ type: 'QUERY_SUB', payload: { queryId: 'groups', mapName: map, query } });
  await session.next('QUERY_RESP');
  await grow(session, map, TOO_MANY);
  for (const id of ['groups', 'late']) {
    if (id === 'late') session.send({ type: 'QUERY_SUB', payload: { queryId: id, mapName: map, query } });
    const { message, details } = payloadOf(await session.next('ERROR'));
    assert.deepEqual([message, Object(details).id], [MESSAGE, id]);
  }
  await session.barrier();
  assert.deepEqual([session.take('ERROR'), session.take('QUERY_RESP').filter(aboutQuery('late'))], [[], []]);
});

test('a reader of events is told which of his queries has ended, and goes on to hear of the other', async (t) => {
  const map = uniqueName('rows');
  const writer = await connected(t);
  await grow(writer, map, 10);
  const queries = [
    { map, id: 'all' },
    { map, id: 'small', ...SMALL },
  ].map((query) => JSON.stringify(query));
  const stream = await EventReader.open(
    node.port,
    `/events?${queries.map((query) => `query=${encodeURIComponent(query)}`).join('&')}`,
  );
  t.after(() => stream.close());
  for (const id of ['all', 'small']) await stream.until('snapshot', ({ query }) => query === id);
  await grow(writer, map, TOO_MANY);
  const { data } = await stream.until('refused');
  assert.deepEqual(data, { code: 429, message: MESSAGE, query: 'all' });
  writer.sendOps(put(String(++lastId), map, 'small', { n: -1 }));
  await stream.until('enter', ({ query, key }) => query === 'small' && key === 'small');
  assert.equal(stream.named('refused').length, 1);
});
