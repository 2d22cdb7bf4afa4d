/** POST /sync on a real grid: ops, what is new, and what fails of it. */
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, before, describe } from 'node:test';
import { packageFolder } from '../../workers/package-folder.ts';
import { decodeFrame, encodeFrame } from '../testing/client-codec.ts';
import { SharedNode } from '../testing/shared-node.ts';
import { signedToken, TEST_SECRET } from '../testing/signed-token.ts';
import { eventually, startGrid, type TestGrid, testStorage } from '../testing/test-grid.ts';
import { nextStamp, put, uniqueName, type WireStamp } from '../testing/wire-ops.ts';

const node = new SharedNode();
const ZERO = { millis: 0, counter: 0, nodeId: '' };

interface Delta {
  readonly mapName: string;
  readonly records: readonly {
    readonly key: string;
    readonly record: { readonly value: unknown; readonly timestamp: WireStamp };
    readonly eventType: string;
  }[];
  readonly serverSyncTimestamp: WireStamp;
  readonly hasMore?: boolean;
  readonly nextCursor?: string;
}

interface Answer {
  readonly serverHlc: WireStamp;
  readonly ack?: {
    readonly lastId: string;
    readonly achievedLevel?: string;
    readonly results?: readonly Record<string, unknown>[];
  };
  readonly deltas?: readonly Delta[];
  readonly queryResults?: readonly Record<string, unknown>[];
  readonly errors?: readonly { readonly code: number; readonly message: string; readonly context?: string }[];
}

async function post(body: Uint8Array, port = node.port, headers: Record<string, string> = {}): Promise<Response> {
  const type = { 'content-type': 'application/x-msgpack' };
  return fetch(`http://127.0.0.1:${port}/sync`, { method: 'POST', body, headers: { ...type, ...headers } });
}

async function sync(request: object, port = node.port, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await post(encodeFrame(request), port, headers);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'application/msgpack');
  return Object(decodeFrame(new Uint8Array(await response.arrayBuffer())));
}

const request = (more: object): object => ({ clientId: 'c', clientHlc: nextStamp(), ...more });
const remove = (id: string, mapName: string, key: string, timestamp: WireStamp): object => ({
  id,
  mapName,
  opType: 'REMOVE',
  key,
  record: { value: null, timestamp },
});

describe('ops', () => {
  test('are acknowledged up to the last, and everybody sees them', async () => {
    const map = uniqueName('ops');
    const ann = await node.client('sync-ann').connected();
    ann.lww(map);
    const { ack, errors, serverHlc } = await sync(
      request({ operations: [put('5', map, 'a', 1), put('6', map, 'b', { x: [1] })] }),
    );
    assert.deepEqual(ack, { lastId: '6', achievedLevel: 'APPLIED' });
    assert.equal(errors, undefined);
    assert.ok(Math.abs(serverHlc.millis - Date.now()) < 60_000);
    await eventually(() => assert.deepEqual([ann.get(map, 'a'), ann.get(map, 'b')], [1, { x: [1] }]));
    const read = await fetch(`http://127.0.0.1:${node.port}/maps/${map}/b`);
    assert.deepEqual(await read.json(), { x: [1] });
  });

  test('that were written by the client’s own encoder are the same record however they come', async () => {
    const map = uniqueName('same');
    const [op, session] = [put('1', map, 'k', { text: 'x', n: 70_000 }), await node.wire()];
    session.sendOps(op);
    await session.next('OP_ACK');
    await sync(request({ operations: [op] }));
    const metrics = await (await fetch(`http://127.0.0.1:${node.port}/metrics`)).text();
    assert.doesNotMatch(metrics, /^lattice_clock_ties_total\{[^}]*\} [1-9]/m, 'no tie: the bytes are the same');
  });

  test('of which some are refused are all handled, and each refusal is an error that names its op', async () => {
    const map = uniqueName('mixed');
    const { ack, errors } = await sync(
      request({ operations: [put('1', map, 'a', 1), put('2', 'a:b', 'k', 1), put('3', map, 'c', 3)] }),
    );
    assert.equal(ack?.lastId, '3');
    assert.equal(ack?.results?.find(({ opId }) => opId === '2')?.success, false);
    assert.equal(errors?.length, 1);
    assert.equal(errors?.[0]?.context, '2');
    assert.match(errors?.[0]?.message ?? '', /^INVALID_MAP_NAME/);
  });

  test('as in the golden request are acknowledged by the id that it has', async () => {
    const fixture = readFileSync(join(packageFolder(), 'engine', 'protocol', 'fixtures', 'HTTP_SYNC_REQUEST.msgpack'));
    const response = await post(new Uint8Array(fixture));
    const { ack, deltas, serverHlc }: Answer = Object(decodeFrame(new Uint8Array(await response.arrayBuffer())));
    assert.equal(ack?.lastId, 'op-1');
    assert.deepEqual(
      deltas?.map(({ mapName }) => mapName),
      ['users'],
    );
    assert.deepEqual(Object.keys(serverHlc), ['millis', 'counter', 'nodeId']);
  });
});

describe('what is new in a map', () => {
  test('is every record with a later clock than the client’s, removals with a nil value', async () => {
    const map = uniqueName('delta');
    const stamps = [nextStamp('n'), nextStamp('n'), nextStamp('n')] as const;
    const { deltas } = await sync(
      request({
        operations: [put('1', map, 'old', 1, stamps[0]), put('2', map, 'new', 2, stamps[1]), remove('3', map, 'gone', stamps[2])],
        syncMaps: [{ mapName: map, lastSyncTimestamp: stamps[0] }],
      }),
    );
    const byKey = (delta: Delta | undefined): unknown[] =>
      [...(delta?.records ?? [])]
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .map(({ key, record, eventType }) => [key, record.value, eventType]);
    assert.deepEqual(byKey(deltas?.[0]), [
      ['gone', null, 'REMOVE'],
      ['new', 2, 'PUT'],
    ]);
    const all = await sync(request({ syncMaps: [{ mapName: map, lastSyncTimestamp: ZERO }] }));
    assert.equal(all.deltas?.[0]?.records.length, 3);
    assert.deepEqual(all.deltas?.[0]?.records.find(({ key }) => key === 'new')?.record, { value: 2, timestamp: stamps[1] });
  });

  test('since the last answer has what was written late with an old clock, too', async () => {
    const map = uniqueName('late');
    const first = await sync(request({ syncMaps: [{ mapName: map, lastSyncTimestamp: ZERO }] }));
    const lastSyncTimestamp = first.deltas?.[0]?.serverSyncTimestamp;
    assert.ok(lastSyncTimestamp !== undefined);
    await sync(request({ operations: [put('1', map, 'offline', 1, { millis: 1_000, counter: 0, nodeId: 'slow' })] }));
    const { deltas } = await sync(request({ syncMaps: [{ mapName: map, lastSyncTimestamp }] }));
    assert.deepEqual(
      deltas?.[0]?.records.map(({ key }) => key),
      ['offline'],
    );
  });

  test('is not told by when it came once a worker was replaced, which does not know: the client is told to start again', async (t) => {
    const storage = await testStorage();
    const own = await startGrid({ ...storage.config, store: 'write-behind', wal: true });
    t.after(async () => {
      await own.grid.stop();
      await storage.close();
    });
    const map = uniqueName('replaced');
    const first = await sync(request({ syncMaps: [{ mapName: map, lastSyncTimestamp: ZERO }] }), own.port);
    const lastSyncTimestamp = first.deltas?.[0]?.serverSyncTimestamp;
    const late = put('1', map, 'offline', 1, { millis: 1_000, counter: 0, nodeId: 'slow' });
    await sync(request({ operations: [late] }), own.port);
    await new Promise((resolve) => setTimeout(resolve, 1100)); // moments are told apart by seconds
    assert.equal(own.grid.crashWorker(0), true);
    await eventually(async () => {
      const { errors, deltas } = await sync(request({ syncMaps: [{ mapName: map, lastSyncTimestamp }] }), own.port);
      assert.deepEqual([errors?.[0]?.code, deltas], [410, []]);
    });
    const again = await sync(request({ syncMaps: [{ mapName: map, lastSyncTimestamp: ZERO }] }), own.port);
    assert.deepEqual(
      again.deltas?.[0]?.records.map(({ key }) => key),
      ['offline'],
    );
  });

  test('comes in pages when it is much, and the client is as far as before until it has the last', async () => {
    const map = uniqueName('much');
    const big = 'x'.repeat(100_000);
    for (let n = 0; n < 40; n += 10) {
      await sync(request({ operations: Array.from({ length: 10 }, (_, i) => put(String(n + i + 1), map, `k${n + i}`, big)) }));
    }
    const keys: string[] = [];
    let pages = 0;
    for (let cursor: string | undefined; ; ) {
      const { deltas } = await sync(request({ syncMaps: [{ mapName: map, lastSyncTimestamp: ZERO, cursor }] }));
      const delta = deltas?.[0] ?? assert.fail('a delta');
      pages += 1;
      keys.push(...delta.records.map(({ key }) => key));
      cursor = delta.nextCursor;
      if (delta.hasMore !== true) {
        assert.ok(delta.serverSyncTimestamp.millis > 0);
        break;
      }
      assert.deepEqual(delta.serverSyncTimestamp, ZERO);
    }
    assert.ok(pages > 1);
    assert.deepEqual(keys.sort(), Array.from({ length: 40 }, (_, n) => `k${n}`).sort());
  });

  test('cannot be told to who was here before the server started: it is told to start again', async () => {
    const map = uniqueName('away');
    const { serverHlc } = await sync({});
    const lastSyncTimestamp = { ...serverHlc, millis: serverHlc.millis - 3_600_000 };
    const { deltas, errors } = await sync(request({ syncMaps: [{ mapName: map, lastSyncTimestamp }] }));
    assert.deepEqual(deltas, []);
    assert.equal(errors?.[0]?.code, 410);
    assert.equal(errors?.[0]?.context, map);
  });
});

/** The status of a request that says how long its body is and sends none of it: a client that goes on sending may never read it. */
function statusOfAnnounced(bodyBytes: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/msgpack', 'content-length': bodyBytes };
    const asked = httpRequest({ host: '127.0.0.1', port: node.port, path: '/sync', method: 'POST', headers });
    asked.on('response', (response) => {
      resolve(response.statusCode ?? 0);
      asked.destroy();
    });
    asked.on('error', reject);
    asked.flushHeaders();
  });
}

describe('a query', () => {
  test('is answered with values in order of keys: all, those that equal, or a page of them', async () => {
    const map = uniqueName('asked');
    await sync(
      request({ operations: ['a', 'b', 'c', 'd'].map((key, n) => put(String(n + 1), map, key, { key, even: n % 2 === 0 })) }),
    );
    const { queryResults, errors } = await sync(
      request({
        queries: [
          { queryId: 'all', mapName: map },
          { queryId: 'undefined', mapName: map, filter: undefined },
          { queryId: 'even', mapName: map, filter: { even: true } },
          { queryId: 'page', mapName: map, limit: 2, offset: 1 },
          { queryId: 'reserved', mapName: '_topgun_x' },
        ],
      }),
    );
    const keysOf = (id: string): unknown[] => {
      const results = queryResults?.find(({ queryId }) => queryId === id)?.results;
      return Array.isArray(results) ? results.map((value) => value.key) : [results];
    };
    assert.deepEqual(['all', 'undefined', 'even', 'page'].map(keysOf), [
      ['a', 'b', 'c', 'd'],
      ['a', 'b', 'c', 'd'],
      ['a', 'c'],
      ['b', 'c'],
    ]);
    const page = queryResults?.find(({ queryId }) => queryId === 'page');
    assert.equal(page?.hasMore, true);
    assert.deepEqual(
      errors?.map(({ code, context }) => [code, context]),
      [[403, 'reserved']],
    );
    const rest = { queryId: 'rest', mapName: map, limit: 2, cursor: page?.nextCursor };
    assert.deepEqual((await sync(request({ queries: [rest] }))).queryResults, [
      { queryId: 'rest', results: [{ key: 'd', even: false }], hasMore: false },
    ]);
  });
});

describe('a request', () => {
  test('for nothing is answered with the clock', async () => {
    for (const body of [new Uint8Array(0), encodeFrame({}), encodeFrame({ operations: [], syncMaps: null, unknown: 1 })]) {
      const response = await post(body);
      assert.deepEqual(Object.keys(Object(decodeFrame(new Uint8Array(await response.arrayBuffer())))), ['serverHlc']);
    }
  });

  test('in JSON is answered in JSON', async () => {
    const map = uniqueName('json');
    const body = { operations: [put('1', map, 'k', { $binary: 'AAEC' })], syncMaps: [{ mapName: map, lastSyncTimestamp: ZERO }] };
    const response = await fetch(`http://127.0.0.1:${node.port}/sync`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
    const answer: Answer = Object(await response.json());
    assert.equal(answer.ack?.lastId, '1');
    assert.deepEqual(answer.deltas?.[0]?.records[0]?.record.value, { $binary: 'AAEC' });
  });

  test('that is none gets 400 with code and message, and one that is too large 413', async () => {
    for (const body of [
      Uint8Array.of(0xc1),
      encodeFrame([1]),
      encodeFrame({ operations: 7 }),
      encodeFrame({ syncMaps: [{ mapName: 1 }] }),
    ]) {
      const response = await post(body);
      assert.equal(response.status, 400);
      assert.equal(Object(await response.json()).code, 400);
    }
    assert.match(Object(await (await post(Uint8Array.of(0xc1))).json()).message, /^invalid MsgPack body: /);
    assert.equal(await statusOfAnnounced(3 * 1024 * 1024), 413);
  });

  test('for a search is told by type that there is none', async () => {
    const { errors } = await sync(request({ searches: [{ searchId: 's', mapName: 'm', query: 'x' }] }));
    assert.deepEqual(errors, [{ code: 501, message: 'FEATURE_DISABLED: search', context: 's' }]);
  });
});

describe('with authentication', () => {
  let guarded: TestGrid;
  before(async () => {
    guarded = await startGrid({ jwtSecret: TEST_SECRET });
    await guarded.grid.policies.put({ id: 'open', pattern: 'open', actions: ['all'], effect: 'allow' }, 'test', 0);
  });
  after(() => guarded.grid.stop());

  test('a token is needed, and policies hold for each part', async () => {
    const empty = await post(encodeFrame({}), guarded.port, { authorization: 'Bearer ' });
    assert.equal(empty.status, 401);
    assert.equal(Object(await empty.json()).message, 'authentication required');
    const headers = { authorization: `Bearer ${await signedToken({ sub: 'ann' })}` };
    const syncMaps = [
      { mapName: 'open', lastSyncTimestamp: ZERO },
      { mapName: 'secret', lastSyncTimestamp: ZERO },
    ];
    const first = await sync(request({ operations: [put('1', 'open', 'k', 1)], syncMaps }), guarded.port, headers);
    assert.equal(first.ack?.lastId, '1');
    assert.deepEqual(
      first.deltas?.map(({ mapName }) => mapName),
      ['open'],
    );
    assert.deepEqual(
      first.errors?.map(({ code, context }) => [code, context]),
      [[403, 'secret']],
    );
    const second = await sync(request({ operations: [put('2', 'secret', 'k', 1)] }), guarded.port, headers);
    assert.ok((second.errors?.length ?? 0) > 0, 'the write is refused');
  });
});
