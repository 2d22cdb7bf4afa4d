/** GET /events on real grids: what is told, what a reader who comes back gets, and who gets nothing. */
import assert from 'node:assert/strict';
import test, { after, before, describe } from 'node:test';
import { EventReader } from '../testing/event-reader.ts';
import { signedToken, TEST_SECRET, type TokenClaims } from '../testing/signed-token.ts';
import { eventually, startGrid, type TestGrid } from '../testing/test-grid.ts';
import { nextStamp, orAdd, orRemove, put, tagOf, uniqueName } from '../testing/wire-ops.ts';
import { WireSession } from '../testing/wire-session.ts';

let node: TestGrid;
let guarded: TestGrid;

before(async () => {
  node = await startGrid({ workerThreads: 2, gatewayThreads: 2, sessionBackpressureBytesMax: 256 * 1024 });
  guarded = await startGrid({ jwtSecret: TEST_SECRET, policyBypassSubjects: ['root'] });
  for (const policy of [
    {
      id: 'notes',
      pattern: 'notes',
      actions: ['read', 'write'],
      effect: 'allow',
      condition: { op: 'eq', attribute: 'owner', valueRef: 'auth.id' },
    },
    { id: 'open', pattern: 'open', actions: ['all'], effect: 'allow' },
    { id: 'no-pay', pattern: 'open', actions: ['read'], effect: 'deny', fields: ['pay'] },
  ])
    await guarded.grid.policies.put(policy, 'test', 0);
});

after(async () => {
  for (const { grid, fatal } of [node, guarded]) {
    await grid.stop();
    assert.deepEqual(fatal, []);
  }
});

async function reader(parameters: Record<string, string | readonly string[]>, lastEventId?: string): Promise<EventReader> {
  return EventReader.open(
    node.port,
    `/events?${query(parameters)}`,
    lastEventId === undefined ? {} : { 'last-event-id': lastEventId },
  );
}

function query(parameters: Record<string, string | readonly string[]>): string {
  return Object.entries(parameters)
    .flatMap(([name, values]) => [values].flat().map((value) => `${name}=${encodeURIComponent(value)}`))
    .join('&');
}

async function write(map: string, key: string, value: unknown): Promise<void> {
  const body = { method: 'PUT', body: JSON.stringify(value), headers: { 'content-type': 'application/json' } };
  const response = await fetch(`http://127.0.0.1:${node.port}/maps/${map}/${key}`, body);
  assert.ok(response.ok, String(response.status));
}

async function remove(map: string, key: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${node.port}/maps/${map}/${key}`, { method: 'DELETE' });
  assert.equal(response.status, 204);
}

describe('a stream tells', () => {
  test('the changes of maps by whomever, from `ready` on', async () => {
    const [map, other] = [uniqueName('m'), uniqueName('o')];
    const stream = await reader({ map: [map, other] });
    assert.equal(stream.response.headers['content-type'], 'text/event-stream');
    assert.equal(stream.response.headers['cache-control'], 'no-store');
    for (const name of [map, other]) await stream.until('ready', (data) => data.map === name);
    await write(map, 'k', { title: 'tea\nor coffee', bytes: { $binary: 'AQI=' } });
    await write(uniqueName('x'), 'k', 1);
    await remove(map, 'k');
    const session = await WireSession.open({ port: node.port });
    const stamp = nextStamp();
    session.sendOps(orAdd('1', other, 'set', 'v', stamp), orRemove('2', other, 'set', tagOf(stamp)));
    await stream.until('or_remove');
    await stream.until('remove');
    const changes = stream.events.filter(({ event }) => event !== 'ready');
    assert.deepEqual(
      changes.map(({ event, data }) => [event, data.map, data.key, data.value ?? null]).sort(),
      [
        ['or_add', other, 'set', 'v'],
        ['or_remove', other, 'set', null],
        ['put', map, 'k', { title: 'tea\nor coffee', bytes: { $binary: 'AQI=' } }],
        ['remove', map, 'k', null],
      ].sort(),
    );
    stream.close();
    session.socket.close();
  });

  test('messages of topics', async () => {
    const topic = uniqueName('t');
    const stream = await reader({ topic });
    const session = await WireSession.open({ port: node.port });
    await eventually(() => {
      session.send({ type: 'TOPIC_PUB', payload: { topic, data: { n: 1 } } });
      assert.ok(stream.named('topic').length > 0);
    });
    assert.deepEqual(stream.named('topic')[0]?.data.data, { n: 1 });
    stream.close();
    session.socket.close();
  });

  test('what a query finds, and each change of it', async () => {
    const map = uniqueName('q');
    await write(map, 'a', { n: 1 });
    const live = { map, id: 'low', predicate: { op: 'lt', attribute: 'n', value: 5 }, sort: [{ field: 'n', direction: 'asc' }] };
    const stream = await reader({ query: JSON.stringify(live) });
    const { data } = await stream.until('snapshot');
    assert.deepEqual([data.query, data.results], ['low', [{ key: 'a', value: { n: 1 } }]]);
    await write(map, 'b', { n: 2 });
    await stream.until('enter', ({ key }) => key === 'b');
    await write(map, 'b', { n: 3 });
    await stream.until('update', ({ key, value }) => key === 'b' && Object(value).n === 3);
    await write(map, 'b', { n: 9 });
    await stream.until('leave', ({ query: id, key }) => id === 'low' && key === 'b');
    stream.close();
  });
});

describe('a reader who comes back', () => {
  test('gets what he missed, once each and in order, and then what comes', async () => {
    const map = uniqueName('m');
    const first = await reader({ map });
    await first.until('ready');
    await write(map, 'k', 1);
    await first.until('put');
    first.close();
    await first.ended;
    for (const value of [2, 3]) await write(map, 'k', value);
    // Each gateway thread keeps the streams that it serves: a connection goes to any of them.
    const again = await untilSame(() => reader({ map }, first.lastEventId));
    await write(map, 'k', 4);
    await again.until('put', ({ value }) => value === 4);
    assert.deepEqual(
      again.events.map(({ event, data }) => [event, data.value]),
      [
        ['put', 2],
        ['put', 3],
        ['put', 4],
      ],
    );
    again.close();
  });

  test('is told of the gap when the stream is another, is not known, or has forgotten what he missed', async () => {
    const map = uniqueName('m');
    const first = await reader({ map });
    await first.until('ready');
    for (const [parameters, id] of [
      [{ map: uniqueName('other') }, first.lastEventId],
      [{ map }, 'AAAAAAAAAAAAAAAAAAAAAA.1'],
      [{ map }, 'not an id'],
      [{ map }, first.lastEventId.replace(/\.\d+$/, '.999')],
    ] as const) {
      const stream = await reader(parameters, id);
      await stream.until('ready');
      assert.equal(stream.events[0]?.event, 'gap', id);
      stream.close();
    }
    first.close();
    await first.ended;
    for (let number = 0; number < 12; number++) await write(map, `k${number}`, 'x'.repeat(8000));
    const again = await reader({ map }, first.lastEventId);
    await again.until('ready');
    assert.equal(again.events[0]?.event, 'gap');
    again.close();
  });
});

/** Tries until the connection lands at the gateway that knows the stream. */
async function untilSame(open: () => Promise<EventReader>): Promise<EventReader> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const stream = await open();
    await eventually(() => assert.ok(stream.events.length > 0));
    if (stream.events[0]?.event !== 'gap') return stream;
    stream.close();
  }
  throw new Error('the stream is known nowhere');
}

test('a reader who does not read is cut off, and others are not', async () => {
  const map = uniqueName('slow');
  const [slow, good] = [await reader({ map }), await reader({ map })];
  for (const stream of [slow, good]) await stream.until('ready');
  slow.response.pause();
  for (let number = 0; number < 80; number++) await write(map, `k${number}`, 'x'.repeat(200_000));
  await good.until('put', ({ key }) => key === 'k79');
  assert.equal(good.named('put').length, 80);
  slow.response.resume();
  await slow.ended;
  assert.ok(slow.named('put').length < 80, `${slow.named('put').length} of 80 arrived`);
  good.close();
});

test('what is no request for a stream is refused as a whole', async () => {
  for (const [parameters, status] of [
    [{}, 400],
    [{ more: '1' }, 400],
    [{ query: 'no json' }, 400],
    [{ query: '{"map":"m","limit":0}' }, 400],
    [{ query: '{"map":"m","sort":"x"}' }, 400],
    [{ map: '' }, 400],
    [{ map: '__proto__:x' }, 400],
    [{ map: Array.from({ length: 101 }, (_, index) => `m${index}`) }, 400],
  ] as const) {
    const stream = await reader(parameters);
    assert.equal(stream.response.statusCode, status, JSON.stringify(parameters).slice(0, 80));
    stream.close();
  }
});

describe('with authentication', () => {
  const open = async (parameters: Record<string, string>, claims?: TokenClaims): Promise<EventReader> => {
    const token = claims && (await signedToken(claims));
    return EventReader.open(guarded.port, `/events?${query({ ...parameters, ...(token === undefined ? {} : { token }) })}`);
  };
  const root = async (map: string, key: string, value: unknown): Promise<void> => {
    const session = await WireSession.open({ port: guarded.port });
    await session.next('AUTH_REQUIRED');
    session.send({ type: 'AUTH', token: await signedToken({ sub: 'root' }) });
    await session.next('AUTH_ACK');
    session.sendOps(put('1', map, key, value));
    await session.next('OP_ACK');
    session.socket.close();
  };
  const rootRemoves = async (map: string, key: string): Promise<void> => {
    const headers = { authorization: `Bearer ${await signedToken({ sub: 'root' })}` };
    const response = await fetch(`http://127.0.0.1:${guarded.port}/maps/${map}/${key}`, { method: 'DELETE', headers });
    assert.equal(response.status, 204);
  };

  test('nothing is told to who is nobody, or may not read', async () => {
    assert.equal((await open({ map: 'open' })).response.statusCode, 401);
    assert.equal((await open({ map: 'open', token: 'x.y.z' })).response.statusCode, 401);
    for (const parameters of [{ map: 'hidden' }, { query: '{"map":"hidden"}' }, { topic: 'hidden' }])
      assert.equal((await open(parameters, { sub: 'ann' })).response.statusCode, 403, JSON.stringify(parameters));
  });

  test('rows and fields that a subject may not see are not there, in changes and in results', async () => {
    const live = JSON.stringify({ map: 'notes' });
    const stream = await open({ map: 'notes', query: live }, { sub: 'ann' });
    const staff = await open({ map: 'open' }, { sub: 'ann' });
    await stream.until('ready');
    await staff.until('ready');
    await root('notes', 'b', { owner: 'bob' });
    await root('notes', 'a', { owner: 'ann' });
    await root('open', 'p', { name: 'x', pay: 5 });
    await stream.until('put', ({ key }) => key === 'a');
    await stream.until('enter', ({ key }) => key === 'a');
    assert.deepEqual((await staff.until('put')).data.value, { name: 'x' });
    await rootRemoves('notes', 'b');
    await rootRemoves('notes', 'a');
    await stream.until('remove', ({ key }) => key === 'a');
    await stream.until('leave', ({ key }) => key === 'a');
    const keys = stream.events.map(({ data }) => data.key).filter((key) => key !== undefined);
    assert.deepEqual([...new Set(keys)], ['a'], 'removals of hidden rows neither');
    assert.ok(!JSON.stringify(stream.events).includes('bob'), JSON.stringify(stream.events));
    for (const one of [stream, staff]) one.close();
  });

  test('a stream ends with the token that opened it, and a policy changes what open ones tell', async () => {
    const short = await open({ map: 'open' }, { sub: 'eve', expiresS: 2 - 60 });
    await short.until('end');
    await short.ended;
    const stream = await open({ map: 'open' }, { sub: 'ann' });
    await stream.until('ready');
    await guarded.grid.policies.put({ id: 'close', pattern: 'open', actions: ['read'], effect: 'deny' }, 'test', 0);
    await stream.until('reset');
    await root('open', 'late', { name: 'y' });
    await root('notes', 'z', { owner: 'zed' });
    assert.deepEqual(stream.named('put'), []);
    stream.close();
  });

  test('what was kept for a reader under other row rules is a gap when he comes back', async () => {
    const again = (id: string): Promise<EventReader> =>
      signedToken({ sub: 'ann' }).then((token) =>
        EventReader.open(guarded.port, `/events?${query({ map: 'notes', token })}`, { 'last-event-id': id }),
      );
    const first = await open({ map: 'notes' }, { sub: 'ann' });
    const { id } = await first.until('ready');
    first.close();
    await root('notes', 'kept', { owner: 'ann', secret: 1 });
    const second = await again(id);
    assert.deepEqual((await second.until('put')).data.value, { owner: 'ann', secret: 1 });
    assert.deepEqual(second.named('gap'), []);
    second.close();
    const rule = { id: 'no-secret', pattern: 'notes', actions: ['read'], effect: 'deny', fields: ['secret'] };
    await guarded.grid.policies.put(rule, 'test', 0);
    await eventually(async () => {
      const third = await again(id);
      await eventually(() => assert.ok(third.events.length > 0));
      third.close();
      assert.equal(third.events[0]?.event, 'gap');
      assert.ok(!JSON.stringify(third.events).includes('secret'));
    });
  });

  test('nobody goes on with the stream of another', async () => {
    const ann = await open({ map: 'notes' }, { sub: 'ann' });
    await ann.until('ready');
    const token = await signedToken({ sub: 'bob' });
    const bob = await EventReader.open(guarded.port, `/events?${query({ map: 'notes', token })}`, {
      'last-event-id': ann.lastEventId,
    });
    await bob.until('ready');
    assert.equal(bob.events[0]?.event, 'gap');
    await root('notes', 'c', { owner: 'ann' });
    await ann.until('put', ({ key }) => key === 'c');
    for (const one of [ann, bob]) one.close();
  });
});
