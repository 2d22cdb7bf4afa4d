/** Policies over real sockets: what is written, synced, told; and what happens to open connections when policies change. */
import assert from 'node:assert/strict';
import test, { after, before, describe } from 'node:test';
import { payloadOf } from './testing/client-fields.ts';
import type { Message } from './testing/client-codec.ts';
import { signedToken, TEST_SECRET, type TokenClaims } from './testing/signed-token.ts';
import { eventually, startGrid, type TestGrid } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { orAdd, orRemove, put, tagOf, nextStamp } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const OWN = { op: 'eq', attribute: 'owner', valueRef: 'auth.id' };
const POLICIES = [
  { id: 'staff', pattern: 'staff', actions: ['read', 'write'], effect: 'allow' },
  { id: 'staff-remove', pattern: 'staff', actions: ['remove'], effect: 'allow', roles: ['boss'] },
  { id: 'pay', pattern: 'staff', actions: ['read'], effect: 'deny', roles: ['intern'], fields: ['salary'] },
  { id: 'notes', pattern: 'notes.**', actions: ['read', 'write', 'remove'], effect: 'allow', condition: OWN },
  { id: 'open', pattern: 'open.*', actions: ['all'], effect: 'allow' },
];

let node: TestGrid;
const clients: TopGunClient[] = [];
const sessions: WireSession[] = [];
let number = 0;

before(async () => {
  node = await startGrid({ jwtSecret: TEST_SECRET, workerThreads: 2, policyBypassSubjects: ['root'] });
  for (const policy of POLICIES) await node.grid.policies.put(policy, 'test', 0);
});

after(async () => {
  for (const client of clients) client.close();
  for (const session of sessions) session.socket.terminate();
  await node.grid.stop();
  assert.deepEqual(node.fatal, []);
});

async function client(claims: TokenClaims, ...maps: string[]): Promise<TopGunClient> {
  number += 1;
  const made = new TopGunClient({
    port: node.port,
    nodeId: `c${number}`,
    token: await signedToken(claims),
    reconnectDelayMs: 50,
  });
  clients.push(made);
  for (const map of maps) made.lww(map);
  await made.connected();
  return made;
}

async function wire(claims: TokenClaims): Promise<WireSession> {
  const session = await WireSession.open({ port: node.port });
  sessions.push(session);
  session.send({ type: 'AUTH', token: await signedToken(claims) });
  await session.next('AUTH_ACK');
  session.take('AUTH_REQUIRED');
  return session;
}

async function rejections(session: WireSession, ...ops: Message[]): Promise<unknown[]> {
  session.sendOps(...ops);
  await session.next('OP_ACK');
  return session.take('OP_REJECTED').map((message) => payloadOf(message).code);
}

async function leafOf(session: WireSession, mapName: string): Promise<Map<string, unknown>> {
  session.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName, path: '' } });
  const leaf = payloadOf(await session.next('SYNC_RESP_LEAF'));
  const records = Array.isArray(leaf.records) ? leaf.records : [];
  return new Map(records.map(({ key, record }) => [key, record.value]));
}

async function rootOf(session: WireSession, mapName: string): Promise<unknown> {
  session.send({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 });
  return payloadOf(await session.next('SYNC_RESP_ROOT')).rootHash;
}

describe('writes', () => {
  test('of maps that no policy allows are rejected, acknowledged, and change nothing', async () => {
    const ann = await wire({ sub: 'ann' });
    assert.deepEqual(
      await rejections(ann, put('1', 'secret', 'k', 1), put('2', 'open.a', 'k', 1), put('3', 'staff', 'k', { n: 1 })),
      [403],
    );
    const root = await wire({ sub: 'root' });
    assert.deepEqual([...(await leafOf(root, 'secret'))], []);
    assert.deepEqual([...(await leafOf(root, 'open.a'))], [['k', 1]]);
  });

  test('pass for a subject of the configuration, and never for a role that calls itself admin', async () => {
    const [root, admin] = [await wire({ sub: 'root' }), await wire({ sub: 'eve', roles: ['admin'] })];
    assert.deepEqual(await rejections(root, put('1', 'vault', 'k', 1)), []);
    assert.deepEqual(await rejections(admin, put('1', 'vault', 'k', 2)), [403]);
  });

  test('may need another right to remove than to put, nil included', async () => {
    const [intern, boss] = [await wire({ sub: 'ida' }), await wire({ sub: 'bea', roles: ['boss'] })];
    assert.deepEqual(await rejections(intern, put('1', 'staff', 'gone', { n: 1 })), []);
    assert.deepEqual(await rejections(intern, put('2', 'staff', 'gone', null)), [403]);
    assert.deepEqual(await rejections(boss, put('1', 'staff', 'gone', null)), []);
  });

  test('of a row are judged by the row that is there and the one that would be', async () => {
    const [ann, bob] = [await wire({ sub: 'ann' }), await wire({ sub: 'bob' })];
    const mine = put('1', 'notes.w', 'a', { owner: 'ann', n: 1 });
    assert.deepEqual(await rejections(ann, mine, mine), [], 'and may come twice');
    assert.deepEqual(await rejections(ann, put('2', 'notes.w', 'x', { owner: 'bob' })), [403], 'for another');
    assert.deepEqual(await rejections(bob, put('1', 'notes.w', 'a', { owner: 'bob' })), [403], 'over another');
    assert.deepEqual(
      await rejections(bob, put('2', 'notes.w', 'a', null), put('3', 'notes.w', 'none', null)),
      [403, 403],
      'alike',
    );
    assert.deepEqual(await rejections(ann, put('3', 'notes.w', 'a', null)), []);
    assert.deepEqual(await rejections(bob, put('4', 'notes.w', 'a', { owner: 'bob' })), [], 'nobody is there any more');
  });

  test('with the stamp of a hidden row and larger bytes do not overwrite it', async () => {
    const [ann, bob, root] = [await wire({ sub: 'ann' }), await wire({ sub: 'bob' }), await wire({ sub: 'root' })];
    const stamp = nextStamp();
    await rejections(ann, put('1', 'notes.t', 'a', { owner: 'ann' }, stamp));
    await rejections(bob, put('1', 'notes.t', 'a', { owner: 'bob', zzz: 'zzzzzz' }, stamp));
    assert.deepEqual((await leafOf(root, 'notes.t')).get('a'), { owner: 'ann' });
  });

  test('keep the fields that their writer does not see, and cannot bring them in', async () => {
    const [boss, intern, root] = [
      await wire({ sub: 'bea', roles: ['boss'] }),
      await wire({ sub: 'ida', roles: ['intern'] }),
      await wire({ sub: 'root' }),
    ];
    await rejections(boss, put('1', 'staff', 'ida', { name: 'Ida', salary: 10 }));
    assert.deepEqual((await leafOf(intern, 'staff')).get('ida'), { name: 'Ida' });
    const raise = put('1', 'staff', 'ida', { name: 'Ida B.', salary: 99 });
    assert.deepEqual(await rejections(intern, raise, raise), []);
    assert.deepEqual((await leafOf(root, 'staff')).get('ida'), { name: 'Ida B.', salary: 10 });
    assert.deepEqual(await rejections(intern, put('2', 'staff', 'ida', 'nothing')), [403], 'no room for hidden fields');
    await rejections(intern, put('3', 'staff', 'new', { name: 'New', salary: 99 }));
    assert.deepEqual((await leafOf(root, 'staff')).get('new'), { name: 'New' });
  });

  test('to an OR-Map are judged by their own value, and removals by the value that the tag has', async () => {
    const [ann, bob] = [await wire({ sub: 'ann' }), await wire({ sub: 'bob' })];
    const stamp = nextStamp();
    assert.deepEqual(
      await rejections(ann, orAdd('1', 'notes.or', 'k', { owner: 'ann' }, stamp), orAdd('2', 'notes.or', 'k', { owner: 'bob' })),
      [403],
    );
    assert.deepEqual(
      await rejections(bob, orRemove('1', 'notes.or', 'k', tagOf(stamp)), orRemove('2', 'notes.or', 'k', '1:1:none')),
      [403, 403],
    );
    const removal = orRemove('3', 'notes.or', 'k', tagOf(stamp));
    assert.deepEqual(await rejections(ann, removal, removal), []);
  });
});

describe('sync', () => {
  test('shows rows and hashes of what is seen, the same as if there were nothing else', async () => {
    const [root, ann, bob] = [await wire({ sub: 'root' }), await wire({ sub: 'ann' }), await wire({ sub: 'bob' })];
    const rows = [
      put('1', 'notes.s', 'a', { owner: 'ann' }),
      put('2', 'notes.s', 'b', { owner: 'bob' }),
      put('3', 'notes.s', 'c', { owner: 'ann' }),
    ];
    await rejections(root, ...rows);
    await rejections(
      root,
      ...[rows[0], rows[2]].flatMap((row, index) =>
        row === undefined ? [] : [{ ...row, id: String(10 + index), mapName: 'notes.ann' }],
      ),
    );
    assert.deepEqual([...(await leafOf(ann, 'notes.s')).keys()].sort(), ['a', 'c']);
    assert.equal(await rootOf(ann, 'notes.s'), await rootOf(root, 'notes.ann'));
    await rejections(root, put('20', 'notes.s', 'b', { owner: 'bob', n: 2 }), put('21', 'notes.s', 'd', { owner: 'cyd' }));
    assert.equal(await rootOf(ann, 'notes.s'), await rootOf(root, 'notes.ann'), 'hidden rows do not move it');
    assert.deepEqual([...(await leafOf(bob, 'notes.s')).keys()], ['b']);
  });

  test('of a map that may not be read is refused, whether or not there is such a map', async () => {
    const ann = await wire({ sub: 'ann' });
    for (const mapName of ['vault', 'no-such-map']) {
      ann.send({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 });
      const { code, message } = payloadOf(await ann.next('ERROR'));
      assert.deepEqual([code, message], [403, `FORBIDDEN: map ${mapName} may not be read`]);
      ann.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName, path: '000' } });
      assert.equal(payloadOf(await ann.next('ERROR')).code, 403);
    }
    assert.deepEqual(ann.messages, []);
  });

  test('of a client that comes back starts from nothing, so that it never keeps what is hidden by now', async () => {
    const ann = await client({ sub: 'ann' }, 'notes.back');
    const root = await wire({ sub: 'root' });
    ann.set('notes.back', 'a', { owner: 'ann' });
    ann.set('notes.back', 'b', { owner: 'ann' });
    await ann.settled();
    ann.close();
    await rejections(root, put('1', 'notes.back', 'a', { owner: 'bob' }));
    await ann.connected();
    await eventually(() =>
      assert.deepEqual([ann.get('notes.back', 'a'), ann.get('notes.back', 'b')], [undefined, { owner: 'ann' }]),
    );
    assert.equal(ann.sync.counts.resets, 1);
  });

  test('a push brings in only what its client may write, and tells nothing of what it may not see', async () => {
    const [root, ann] = [await wire({ sub: 'root' }), await wire({ sub: 'ann' })];
    const [theirs, mine, alien] = [nextStamp(), nextStamp(), nextStamp()];
    await rejections(
      root,
      orAdd('1', 'notes.push', 'k', { owner: 'bob' }, theirs),
      orAdd('2', 'notes.push', 'k', { owner: 'ann' }, mine),
    );
    const record = (timestamp: typeof mine, owner: string): object => ({ value: { owner }, timestamp, tag: tagOf(timestamp) });
    const fresh = nextStamp();
    ann.send({
      type: 'ORMAP_PUSH_DIFF',
      payload: {
        mapName: 'notes.push',
        entries: [{ key: 'k', records: [record(fresh, 'ann'), record(alien, 'bob')], tombstones: [tagOf(theirs), tagOf(mine)] }],
      },
    });
    await ann.barrier();
    await eventually(async () => {
      root.send({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'notes.push', keys: ['k'] } });
      const [entry] = asList(payloadOf(await root.next('ORMAP_DIFF_RESPONSE')).entries);
      assert.deepEqual(tagsIn(entry, 'records').sort(), [tagOf(theirs), tagOf(fresh)].sort());
    });
    ann.send({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'notes.push', keys: ['k'] } });
    const [seen] = asList(payloadOf(await ann.next('ORMAP_DIFF_RESPONSE')).entries);
    assert.deepEqual(tagsIn(seen, 'records'), [tagOf(fresh)]);
  });
});

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function tagsIn(entry: unknown, field: string): string[] {
  const list: unknown = typeof entry === 'object' && entry !== null ? Reflect.get(entry, field) : [];
  return asList(list).map((record) =>
    String(typeof record === 'object' && record !== null ? Reflect.get(record, 'tag') : record),
  );
}

describe('events', () => {
  test('come to who may read the map, and of rows to who sees them, masked', async () => {
    const [ann, bob, intern, root] = [
      await wire({ sub: 'ann' }),
      await wire({ sub: 'bob' }),
      await wire({ sub: 'ida', roles: ['intern'] }),
      await wire({ sub: 'root' }),
    ];
    await rejections(
      root,
      put('1', 'vault', 'e', 1),
      put('2', 'notes.e', 'a', { owner: 'ann' }),
      put('3', 'staff', 'e', { n: 1, salary: 5 }),
      put('4', 'open.e', 'e', 1),
    );
    await eventually(() => {
      assert.deepEqual(eventsOf(ann).sort(), ['notes.e a {"owner":"ann"}', 'open.e e 1', 'staff e {"n":1,"salary":5}']);
      assert.deepEqual(eventsOf(bob).sort(), ['open.e e 1', 'staff e {"n":1,"salary":5}']);
      assert.deepEqual(eventsOf(intern).sort(), ['open.e e 1', 'staff e {"n":1}']);
    });
  });

  test('tell removals of rows that were seen, and not of others', async () => {
    const [ann, bob, root] = [await wire({ sub: 'ann' }), await wire({ sub: 'bob' }), await wire({ sub: 'root' })];
    await rejections(
      root,
      put('1', 'notes.r', 'a', { owner: 'ann' }),
      put('2', 'notes.r', 'a', null),
      put('3', 'open.r', 'end', 1),
    );
    await eventually(() =>
      assert.deepEqual(eventsOf(ann), ['notes.r a {"owner":"ann"}', 'notes.r a null', 'open.r end 1'].sort()),
    );
    await eventually(() => assert.deepEqual(eventsOf(bob), ['open.r end 1']));
    assert.deepEqual(bob.take('SYNC_RESET_REQUIRED'), []);
  });

  test('a row that is hidden from now on is taken back by a reset, and never by a removal', async () => {
    const [ann, bob] = [await client({ sub: 'ann' }, 'notes.h'), await client({ sub: 'bob' }, 'notes.h')];
    const root = await wire({ sub: 'root' });
    await rejections(root, put('1', 'notes.h', 'k', { owner: 'ann' }), put('2', 'notes.h', 'l', { owner: 'ann' }));
    await eventually(() => assert.deepEqual(ann.get('notes.h', 'k'), { owner: 'ann' }));
    const told: string[] = [];
    ann.onMessage = (message) => void told.push(String(message.type));
    await rejections(root, put('3', 'notes.h', 'k', { owner: 'bob' }));
    await eventually(() => assert.deepEqual([ann.get('notes.h', 'k'), ann.get('notes.h', 'l')], [undefined, { owner: 'ann' }]));
    await eventually(() => assert.deepEqual(bob.get('notes.h', 'k'), { owner: 'bob' }));
    assert.ok(told.includes('SYNC_RESET_REQUIRED') && !told.includes('SERVER_EVENT'), told.join());
    assert.equal(ann.lww('notes.h').records.has('k'), false, 'not even as a tombstone');
  });
});

/** Events that came: map, key, value. Kept for the next look. */
function eventsOf(session: WireSession): string[] {
  const events = session.messages.flatMap((message) => {
    if (message.type === 'SERVER_EVENT') return [payloadOf(message)];
    return message.type === 'SERVER_BATCH_EVENT' ? asList(payloadOf(message).events) : [];
  });
  return events
    .map((event) => {
      const { mapName, key, record }: { mapName?: unknown; key?: unknown; record?: { value?: unknown } } = Object(event);
      return `${mapName} ${key} ${JSON.stringify(record?.value)}`;
    })
    .sort();
}

describe('policies that change', () => {
  test('take maps back from open connections, and give them again', async () => {
    const { policies } = node.grid;
    await policies.put({ id: 'club', pattern: 'club', actions: ['read', 'write'], effect: 'allow' }, 'test', 0);
    const ann = await client({ sub: 'ann' }, 'club');
    ann.or('club.tags');
    const root = await wire({ sub: 'root' });
    await rejections(root, put('1', 'club', 'k', 1));
    await eventually(() => assert.equal(ann.get('club', 'k'), 1));
    await policies.put({ id: 'club', pattern: 'club', actions: ['write'], effect: 'allow' }, 'test', 1);
    await eventually(() => assert.equal(ann.lww('club').records.size, 0, 'gone, without a tombstone'));
    await rejections(root, put('2', 'club', 'k', 2));
    ann.set('club', 'mine', 3);
    await eventually(() => assert.equal(ann.log.pending.length, 0));
    assert.equal(ann.get('club', 'k'), undefined);
    await policies.put({ id: 'club', pattern: 'club', actions: ['read'], effect: 'allow' }, 'test', 2);
    await eventually(() => assert.deepEqual([ann.get('club', 'k'), ann.get('club', 'mine')], [2, 3]));
    ann.set('club', 'late', 1);
    await eventually(() => assert.equal(ann.rejected.length, 1));
    await assert.rejects(policies.put({ id: 'club', pattern: '*', actions: ['read'], effect: 'allow' }, 'test', 1), /version/);
    assert.deepEqual(
      (await policies.history('club')).map(({ version, changedBy }) => [version, changedBy]),
      [
        [3, 'test'],
        [2, 'test'],
        [1, 'test'],
      ],
    );
  });

  test('show fields that were hidden, and hide fields that were shown, on devices too', async () => {
    const { policies } = node.grid;
    const intern = await client({ sub: 'kim', roles: ['trainee'] }, 'staff');
    const root = await wire({ sub: 'root' });
    await rejections(root, put('1', 'staff', 'kim', { name: 'Kim', salary: 7 }));
    await eventually(() => assert.deepEqual(intern.get('staff', 'kim'), { name: 'Kim', salary: 7 }));
    await policies.put(
      { id: 'pay2', pattern: 'staff', actions: ['read'], effect: 'deny', roles: ['trainee'], fields: ['salary'] },
      'test',
    );
    await eventually(() => assert.deepEqual(intern.get('staff', 'kim'), { name: 'Kim' }));
    await policies.remove('pay2', 'test');
    await eventually(() => assert.deepEqual(intern.get('staff', 'kim'), { name: 'Kim', salary: 7 }));
  });
});

describe('tokens that end', () => {
  test('are asked for anew, and end their connection when nothing newer comes', async () => {
    const ann = await wire({ sub: 'ann', expiresS: -58 });
    await ann.next('AUTH_REQUIRED');
    const { code, reason } = await ann.closed;
    assert.deepEqual([code, reason], [4401, 'the token has expired, reconnect with a newer one']);
  });

  test('are followed by newer ones on the same connection, with what those say', async () => {
    const kim = await wire({ sub: 'kim', roles: ['intern'], expiresS: -30 });
    await kim.next('AUTH_REQUIRED');
    await rejections(await wire({ sub: 'root' }), put('1', 'staff', 'kate', { name: 'Kate', salary: 5 }));
    assert.deepEqual((await leafOf(kim, 'staff')).get('kate'), { name: 'Kate' });
    await rootOf(kim, 'staff');
    kim.send({ type: 'AUTH', token: await signedToken({ sub: 'kim', roles: ['boss'] }) });
    await kim.next('AUTH_ACK');
    assert.equal(payloadOf(await kim.next('SYNC_RESET_REQUIRED')).mapName, 'staff');
    assert.deepEqual((await leafOf(kim, 'staff')).get('kate'), { name: 'Kate', salary: 5 });
    assert.equal(kim.socket.isOpen, true);
  });

  test('of another subject, or of nobody, end the connection', async () => {
    for (const token of [await signedToken({ sub: 'eve' }), 'none']) {
      const ann = await wire({ sub: 'ann' });
      ann.send({ type: 'AUTH', token });
      await ann.next('AUTH_FAIL');
      assert.equal((await ann.closed).reason, 'authentication failed');
    }
  });
});

describe('messages of other domains', () => {
  test('need the right that they are about, and are refused alike for what is there and what is not', async () => {
    const { policies } = node.grid;
    await policies.put({ id: 'chat', pattern: 'chat.*', actions: ['subscribe'], effect: 'allow' }, 'test');
    await policies.put({ id: 'chatter', pattern: 'chat.*', actions: ['publish'], effect: 'allow', roles: ['boss'] }, 'test');
    const [ann, boss] = [await wire({ sub: 'ann' }), await wire({ sub: 'bea', roles: ['boss'] })];
    ann.send({ type: 'TOPIC_SUB', payload: { topic: 'chat.a' } });
    ann.send({ type: 'TOPIC_SUB', payload: { topic: 'news' } });
    ann.send({ type: 'TOPIC_PUB', payload: { topic: 'chat.a', data: 'from ann' } });
    ann.send({ type: 'COUNTER_REQUEST', payload: { name: 'hits' } });
    await eventually(() => assert.equal(ann.messages.filter(({ type }) => type === 'ERROR').length, 3));
    assert.deepEqual(
      ann.take('ERROR').map((message) => payloadOf(message).message),
      [
        'FORBIDDEN: TOPIC_SUB is not allowed for news',
        'FORBIDDEN: TOPIC_PUB is not allowed for chat.a',
        'FORBIDDEN: COUNTER_REQUEST is not allowed for hits',
      ],
    );
    boss.send({ type: 'TOPIC_PUB', payload: { topic: 'chat.a', data: 'from bea' } });
    assert.equal(payloadOf(await ann.next('TOPIC_MESSAGE')).data, 'from bea');
    await policies.remove('chat', 'test');
    await eventually(async () => {
      ann.send({ type: 'TOPIC_SUB', payload: { topic: 'chat.b' } });
      await ann.barrier();
      assert.equal(ann.take('ERROR').length, 1, 'the gateway has heard of it');
    });
    boss.send({ type: 'TOPIC_PUB', payload: { topic: 'chat.a', data: 'after' } });
    await boss.barrier();
    await ann.barrier();
    assert.deepEqual(ann.take('TOPIC_MESSAGE'), []);
  });
});

describe('queries', () => {
  test('name claims of their asker as policies do', async () => {
    const ann = await wire({ sub: 'ann', tenant: 't1', org: { id: 7 } });
    const map = `open.claims${number}`;
    ann.sendOps(put('1', map, 'mine', { owner: 'ann', tenant: 't1', org: 7 }), put('2', map, 'other', { owner: 'bob' }));
    await ann.next('OP_ACK');
    for (const [attribute, valueRef] of Object.entries({ owner: 'auth.sub', tenant: 'auth.tenant', org: 'auth.org.id' })) {
      const predicate = { op: 'eq', attribute, valueRef };
      ann.send({ type: 'QUERY_SUB', payload: { queryId: valueRef, mapName: map, query: { predicate } } });
      const { results } = payloadOf(await ann.next('QUERY_RESP'));
      assert.deepEqual(Array.isArray(results) && results.map(({ key }) => key), ['mine'], valueRef);
    }
  });
});

describe('names of maps', () => {
  test('are not used up by who may do nothing with them', async () => {
    const small = await startGrid({ jwtSecret: TEST_SECRET, maxMaps: 2, policyBypassSubjects: ['root'] });
    try {
      await small.grid.policies.put(
        { id: 'ann', pattern: 'hers.*', actions: ['all'], effect: 'allow', subjects: ['ann'] },
        'test',
      );
      const [eve, ann] = await Promise.all(
        ['eve', 'ann'].map(async (sub) => {
          const session = await WireSession.open({ port: small.port });
          sessions.push(session);
          session.send({ type: 'AUTH', token: await signedToken({ sub }) });
          await session.next('AUTH_ACK');
          return session;
        }),
      );
      assert.ok(eve !== undefined && ann !== undefined);
      for (let index = 0; index < 20; index++) {
        eve.send({ type: 'SYNC_INIT', mapName: `s${index}`, lastSyncTimestamp: 0 });
        eve.send({ type: 'QUERY_SUB', payload: { queryId: `q${index}`, mapName: `q${index}`, query: {} } });
        eve.sendOps(put(`${index + 1}`, `w${index}`, 'k', 1));
        await eve.next('OP_ACK');
      }
      await eventually(() => assert.equal(eve.messages.filter(({ type }) => type === 'ERROR').length, 40));
      assert.deepEqual([...new Set(eve.take('ERROR').map((message) => payloadOf(message).code))], [403]);
      assert.deepEqual([...new Set(eve.take('OP_REJECTED').map((message) => payloadOf(message).code))], [403]);
      ann.sendOps(put('1', 'hers.first', 'k', 1));
      await ann.next('OP_ACK');
      assert.deepEqual(ann.take('OP_REJECTED'), []);
    } finally {
      await small.grid.stop();
    }
  });
});
