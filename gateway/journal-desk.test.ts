/** The journal between gateways and workers, in one thread: order over workers, replays that meet the tail, gaps, filters. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ALL_ROWS, HIDDEN, NO_ROWS, type RowView } from '../engine/domains/security/access.ts';
import { utf8 } from '../engine/domains/testing/scanned-ops.ts';
import { fnv1a } from '../engine/partition/hash.ts';
import { dropValue } from '../engine/storage/evicted-value.ts';
import { KIND_LWW, RecordImage } from '../engine/storage/record.ts';
import { type Message, OneThreadNode, type TestClient } from './testing/one-thread-node.ts';
import { SubjectAccess } from './subject-access.ts';
import { nextStamp, put } from './testing/wire-ops.ts';

interface Event {
  readonly sequence: string;
  readonly type: string;
  readonly mapName: string;
  readonly key: string;
  readonly value?: unknown;
  readonly previousValue?: unknown;
}

const BASE = 2n ** 40n;

function subscribe(client: TestClient, requestId: string, rest: object = {}): void {
  client.say({ type: 'JOURNAL_SUBSCRIBE', requestId, ...rest });
}

function write(client: TestClient, mapName: string, key: string, value: unknown): void {
  client.write(put(undefined, mapName, key, value));
}

function remove(client: TestClient, mapName: string, key: string): void {
  client.write({ mapName, opType: 'REMOVE', key, record: { value: null, timestamp: nextStamp() } });
}

function eventOf(value: unknown): Event {
  return value as Event;
}

/** What came since the last call: events alone. */
function events(client: TestClient): Event[] {
  return client.heardOf('JOURNAL_EVENT').map(({ event }) => eventOf(event));
}

function short(list: readonly Event[]): string[] {
  return list.map(({ type, mapName, key }) => `${type} ${mapName}/${key}`);
}

function numbers(list: readonly Event[]): number[] {
  return list.map(({ sequence }) => Number(BigInt(sequence) - BASE));
}

async function read(node: OneThreadNode, client: TestClient, rest: object): Promise<Message> {
  client.heard();
  client.say({ type: 'JOURNAL_READ', requestId: 'r', ...rest });
  await node.pump();
  const answer = client.heard().find(({ type }) => type === 'JOURNAL_READ_RESPONSE' || type === 'ERROR');
  assert.ok(answer !== undefined);
  return answer;
}

function eventsIn(answer: Message): Event[] {
  assert.ok(Array.isArray(answer.events));
  return answer.events.map(eventOf);
}

test('a subscriber hears every change behind its subscription, the writer as well, at every gateway', async () => {
  const node = await OneThreadNode.create({ gateways: 2, workers: 3 });
  const [ann, bob] = [node.client(0), node.client(1)];
  write(ann, 'm', 'before', 1);
  await node.pump();
  subscribe(ann, 'a');
  subscribe(bob, 'b');
  write(ann, 'm', 'k', 1);
  write(ann, 'm', 'k', { n: 2 });
  remove(ann, 'm', 'k');
  await node.pump();
  for (const client of [ann, bob]) {
    const list = events(client);
    assert.deepEqual(short(list), ['PUT m/k', 'UPDATE m/k', 'DELETE m/k']);
    assert.deepEqual(
      list.map(({ value, previousValue }) => [value, previousValue]),
      [
        [1, undefined],
        [{ n: 2 }, 1],
        [undefined, { n: 2 }],
      ],
    );
    assert.deepEqual(numbers(list), [1, 2, 3]);
  }
});

test('events of all workers come in the order of their numbers, each once, whatever the workers and gateways do first', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('write' as const), of: fc.nat(9) }),
    fc.record({ kind: fc.constant('worker' as const), of: fc.nat(2) }),
    fc.record({ kind: fc.constant('gateway' as const), of: fc.nat(1) }),
    fc.record({ kind: fc.constant('subscribe' as const), of: fc.nat(1) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const node = await OneThreadNode.create({ gateways: 2, workers: 3 });
      const writer = node.client(0);
      const readers = [node.client(0), node.client(1)];
      const late: { client: TestClient; from: number }[] = [];
      for (const reader of readers) subscribe(reader, 'live');
      await node.pump();
      let writes = 0;
      for (const { kind, of } of steps) {
        if (kind === 'write') write(writer, 'm', `k${of}`, writes++);
        else if (kind === 'worker') await node.drainWorker(of, 2);
        else if (kind === 'gateway') node.drainGateway(of, 2);
        else {
          const client = node.client(of);
          subscribe(client, 'late', { fromSequence: '0' });
          late.push({ client, from: 1 });
        }
      }
      await node.pump();
      const all = Array.from({ length: writes }, (_, index) => index + 1);
      for (const reader of readers) assert.deepEqual(numbers(events(reader)), all);
      for (const { client } of late) assert.deepEqual(numbers(events(client)), all, 'past and present, without a seam');
    }),
    { numRuns: 60 },
  );
});

test('a subscription names a map and kinds of events; one event comes once a connection, and no more when it has ended', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const [ann, bob] = [node.client(), node.client()];
  subscribe(ann, 'orders', { mapName: 'orders', types: ['PUT', 'DELETE', 'NONSENSE'] });
  subscribe(ann, 'all of orders', { mapName: 'orders' });
  subscribe(bob, 'updates', { types: ['UPDATE'] });
  await node.pump();
  for (const map of ['orders', 'users']) {
    write(bob, map, 'k', 1);
    write(bob, map, 'k', 2);
    remove(bob, map, 'k');
  }
  await node.pump();
  assert.deepEqual(short(events(ann)), ['PUT orders/k', 'UPDATE orders/k', 'DELETE orders/k']);
  assert.deepEqual(short(events(bob)).sort(), ['UPDATE orders/k', 'UPDATE users/k']);
  ann.say({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'all of orders' });
  bob.say({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'updates' });
  bob.say({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'never was' });
  write(bob, 'orders', 'k', 1);
  write(bob, 'orders', 'k', 2);
  await node.pump();
  assert.deepEqual(short(events(ann)), ['PUT orders/k']);
  assert.deepEqual(events(bob), []);
});

test('a replay begins where it is told to and goes over into what comes', async () => {
  const node = await OneThreadNode.create({ workers: 3, domains: { journal: 'on', journalEventsMax: 5000 } });
  const ann = node.client();
  for (let index = 0; index < 1300; index++) {
    write(ann, 'm', `k${index}`, index);
    if (index % 100 === 0) await node.pump();
  }
  await node.pump();
  const bob = node.client();
  subscribe(bob, 'b', { fromSequence: String(BASE + 101n), mapName: 'm', types: ['PUT'] });
  for (let index = 0; index < 50; index++) write(ann, 'm', `new${index}`, index);
  await node.pump();
  assert.deepEqual(
    numbers(events(bob)),
    Array.from({ length: 1250 }, (_, index) => index + 101),
  );
  write(ann, 'm', 'last', 1);
  await node.pump();
  assert.deepEqual(numbers(events(bob)), [1351]);
});

test('a replay waits for a client that does not read, and goes on when it does', async () => {
  const node = await OneThreadNode.create({ domains: { journal: 'on' } });
  const [ann, bob] = [node.client(), node.client()];
  for (let index = 0; index < 20; index++) write(ann, 'm', `k${index}`, index);
  await node.pump();
  bob.unreadBytes = 1 << 20;
  subscribe(bob, 'b', { fromSequence: '0' });
  await node.pump();
  assert.deepEqual(events(bob), []);
  bob.unreadBytes = 0;
  node.gateways[0]?.outbox.onTick(performance.now());
  await node.pump();
  assert.equal(events(bob).length, 20);
});

test('whoever subscribes again and again has one page read at a time, and none in a row for subscriptions that were replaced', async () => {
  const node = await OneThreadNode.create({ domains: { journal: 'on' } });
  const ann = node.client();
  for (let index = 0; index < 20; index++) write(ann, 'm', `k${index}`, index);
  await node.pump();
  const bob = node.client();
  for (let round = 0; round < 5; round++) {
    for (let index = 0; index < 50; index++) subscribe(bob, 'b', { fromSequence: '0' });
    assert.ok((await node.drainWorker(0)) <= (round === 0 ? 2 : 0), 'the tail asks once, and the session');
  }
  for (let index = 0; index < 50; index++) {
    bob.say({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: index === 0 ? 'b' : `b${index - 1}` });
    subscribe(bob, `b${index}`, { fromSequence: '0' });
  }
  assert.equal(await node.drainWorker(0), 0, 'nor by another name');
  await node.pump();
  assert.deepEqual(events(bob), [], 'that page was in vain');
  node.gateways[0]?.outbox.onTick(0);
  await node.pump();
  assert.deepEqual(
    numbers(events(bob)),
    Array.from({ length: 20 }, (_, index) => index + 1),
  );
});

test('replays of one connection take turns, page by page, and each gets all of its past', async () => {
  const node = await OneThreadNode.create({ domains: { journal: 'on', journalEventsMax: 5000 } });
  const ann = node.client();
  for (let index = 0; index < 1200; index++) {
    write(ann, index % 2 === 0 ? 'even' : 'odd', `k${index}`, index);
    if (index % 100 === 0) await node.pump();
  }
  await node.pump();
  const bob = node.client();
  for (const map of ['even', 'odd']) subscribe(bob, map, { fromSequence: '0', mapName: map });
  await node.pump();
  const heard = events(bob);
  for (const [first, map] of ['even', 'odd'].entries()) {
    assert.deepEqual(
      numbers(heard.filter(({ mapName }) => mapName === map)),
      Array.from({ length: 600 }, (_, index) => 2 * index + first + 1),
    );
  }
  const turns = heard.filter(({ mapName }, index) => mapName !== heard[index - 1]?.mapName).map(({ mapName }) => mapName);
  assert.deepEqual(turns, ['even', 'odd', 'even', 'odd']);
});

test('who asks for what is gone is told of the gap, then gets the rest', async () => {
  const node = await OneThreadNode.create({ workers: 1, domains: { journal: 'on', journalEventsMax: 16 } });
  const [ann, bob] = [node.client(), node.client()];
  for (let index = 0; index < 40; index++) write(ann, 'm', `k${index}`, index);
  await node.pump();
  subscribe(bob, 'b', { fromSequence: '0' });
  await node.pump();
  const heard = bob.heard().filter(({ type }) => type !== 'SERVER_EVENT' && type !== 'SERVER_BATCH_EVENT');
  const { payload } = heard[0] as { payload?: { code?: number; details?: object } };
  assert.equal(payload?.code, 410);
  assert.deepEqual(payload?.details, {
    type: 'JOURNAL_GAP',
    subscriptionId: 'b',
    fromSequence: String(BASE + 1n),
    toSequence: String(BASE + 24n),
  });
  const replayed = heard.slice(1).map(({ event }) => eventOf(event));
  assert.deepEqual(
    numbers(replayed),
    Array.from({ length: 16 }, (_, index) => index + 25),
  );
  const answer = await read(node, ann, { fromSequence: String(BASE + 3n), limit: 2 });
  assert.deepEqual(answer.gap, { fromSequence: String(BASE + 3n), toSequence: String(BASE + 24n) });
  assert.deepEqual(numbers(eventsIn(answer)), [25, 26]);
  const whole = await read(node, ann, { fromSequence: String(BASE + 25n) });
  assert.equal(whole.gap, undefined);
});

test('a sequence of an earlier process is a gap, and one of the future is no event', async () => {
  const node = await OneThreadNode.create({ domains: { journal: 'on' } });
  const ann = node.client();
  const { memory } = node;
  const { JournalSequence } = await import('../engine/domains/persistence/journal-sequence.ts');
  new JournalSequence(memory.journal).epoch = 3;
  write(ann, 'm', 'k', 1);
  await node.pump();
  const before = String(2n * BASE + 7n);
  const answer = await read(node, ann, { fromSequence: before });
  assert.deepEqual(answer.gap, { fromSequence: before, toSequence: String(3n * BASE) });
  assert.equal(eventsIn(answer).length, 1);
  const future = await read(node, ann, { fromSequence: String(3n * BASE + 9000n) });
  assert.deepEqual([future.events, future.hasMore, future.gap], [[], false, undefined]);
});

test('reads go through the journal page by page, over all workers, and filter by map', async () => {
  const node = await OneThreadNode.create({ gateways: 2, workers: 3, domains: { journal: 'on' } });
  const [ann, bob] = [node.client(0), node.client(1)];
  for (let index = 0; index < 250; index++) write(ann, index % 5 === 0 ? 'fives' : 'm', `k${index}`, index);
  await node.pump();
  let from = '0';
  const all: Event[] = [];
  const pages: number[] = [];
  for (let more = true; more; ) {
    const answer = await read(node, bob, { fromSequence: from });
    all.push(...eventsIn(answer));
    pages.push(eventsIn(answer).length);
    more = answer.hasMore === true;
    from = String(answer.nextSequence);
  }
  assert.deepEqual(
    numbers(all),
    Array.from({ length: 250 }, (_, index) => index + 1),
  );
  assert.deepEqual(pages.slice(0, 2), [100, 100], 'the client asks for 100 when it says nothing');
  const fives = await read(node, bob, { fromSequence: '0', mapName: 'fives', limit: 1000 });
  assert.equal(eventsIn(fives).length, 50);
  assert.equal(fives.hasMore, false);
  assert.deepEqual(eventsIn(await read(node, bob, { fromSequence: '0', mapName: 'none' })), []);
});

test('a page is bounded in bytes as well, and one huge event is a page', async () => {
  const node = await OneThreadNode.create({ workers: 2, domains: { journal: 'on', journalBytesMax: 16 << 20 } });
  const ann = node.client();
  for (let index = 0; index < 6; index++) {
    write(ann, 'm', `k${index}`, 'x'.repeat(400_000));
    await node.pump();
  }
  const first = await read(node, ann, { fromSequence: '0' });
  assert.equal(first.hasMore, true);
  assert.ok(eventsIn(first).length >= 1 && eventsIn(first).length <= 2);
  const rest = await read(node, ann, { fromSequence: String(first.nextSequence) });
  assert.equal(numbers(eventsIn(rest))[0], (numbers(eventsIn(first)).at(-1) ?? 0) + 1);
});

test('what cannot be answered is an error by name, and never an empty page', async () => {
  const off = await OneThreadNode.create({ config: { journal: 'off' }, domains: { journal: 'off' } });
  const ann = off.client();
  for (const request of [
    { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '0' },
    { type: 'JOURNAL_SUBSCRIBE', requestId: 'r' },
  ]) {
    ann.say(request);
    await off.pump();
    const [error] = ann.heardOf('ERROR') as { payload?: { code?: number; details?: object } }[];
    assert.deepEqual([error?.payload?.code, error?.payload?.details], [501, { type: request.type, id: 'r' }]);
  }
  const node = await OneThreadNode.create();
  const bob = node.client();
  assert.equal((await read(node, bob, { fromSequence: 'seq-100' })).type, 'ERROR');
  assert.equal((await read(node, bob, { fromSequence: '0', requestId: '' })).type, 'ERROR');
  for (let index = 0; index <= 64; index++) subscribe(bob, `s${index}`);
  subscribe(bob, 's3');
  assert.equal(bob.heardOf('ERROR').length, 1, 'a 65th subscription is one too many, a known one may come again');
});

test('a worker that was replaced loses nobody: the tail asks anew', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const [ann, bob] = [node.client(), node.client()];
  subscribe(bob, 'b');
  await node.pump();
  write(ann, 'm', 'a', 1);
  for (const worker of [0, 1]) {
    await node.drainWorker(worker);
    node.gateways[0]?.workerReplaced(worker);
  }
  write(ann, 'm', 'b', 1);
  await node.pump();
  assert.deepEqual(numbers(events(bob)), [1, 2]);
});

test('a subject hears of the rows that it may see, cut to what it may see of them', async () => {
  const node = await OneThreadNode.create({ domains: { journal: 'on' } });
  const [ann, bob, cid] = [node.client(), node.client(), node.client()];
  const own = (value: unknown): unknown => {
    const row = { ...(value as { owner?: string; secret?: string; n?: number }) };
    delete row.secret;
    return row.owner === 'bob' ? row : HIDDEN;
  };
  bob.session.access = new PlayedAccess(5, true, { see: own });
  cid.session.access = new PlayedAccess(6, false, NO_ROWS);
  subscribe(bob, 'b', { types: ['PUT', 'DELETE'] });
  subscribe(cid, 'c');
  subscribe(cid, 'c2', { mapName: 'rows' });
  await node.pump();
  assert.match(JSON.stringify(cid.heardOf('ERROR')), /FORBIDDEN/);
  const rows = [
    { owner: 'bob', secret: 's', n: 1 },
    { owner: 'bob', secret: 's', n: 2 },
    { owner: 'ann', secret: 's', n: 3 },
    { owner: 'ann', secret: 's', n: 4 },
    { owner: 'bob', secret: 's', n: 5 },
  ];
  for (const row of rows) write(ann, 'rows', 'k', row);
  write(ann, 'open', 'k', { secret: 'not here' });
  await node.pump();
  const seen = [
    ['PUT', { owner: 'bob', n: 1 }, undefined],
    ['DELETE', undefined, { owner: 'bob', n: 2 }],
    ['PUT', { owner: 'bob', n: 5 }, undefined],
    ['PUT', { secret: 'not here' }, undefined],
  ];
  const pick = (list: readonly Event[]): unknown[] => list.map(({ type, value, previousValue }) => [type, value, previousValue]);
  assert.deepEqual(pick(events(bob)), seen);
  assert.deepEqual(short(events(cid)), ['PUT open/k']);
  subscribe(bob, 'again', { fromSequence: '0', types: ['PUT', 'DELETE'] });
  await node.pump();
  assert.deepEqual(pick(events(bob)), seen, 'of the past as well');
  const answer = await read(node, cid, { fromSequence: '0' });
  assert.deepEqual(short(eventsIn(answer)), ['PUT open/k']);
});

test('a subject of which nobody can tell whether it saw a row that is gone hears of a gap, and of no key', async () => {
  const node = await OneThreadNode.create({ domains: { journal: 'on' } });
  const [ann, bob, cid] = [node.client(), node.client(), node.client()];
  const isOwn = (value: unknown): unknown => ((value as { owner?: string }).owner === 'bob' ? value : HIDDEN);
  bob.session.access = new PlayedAccess(5, true, { see: isOwn });
  for (const client of [bob, cid]) subscribe(client, 's');
  const text = 'x'.repeat(500);
  write(ann, 'rows', 'dropped', { owner: 'bob', text });
  write(ann, 'rows', 'kept', { owner: 'ann', text });
  await node.pump();
  for (const client of [bob, cid]) client.heard();
  dropFromMemory(node, 'rows', 'dropped');
  remove(ann, 'rows', 'dropped');
  remove(ann, 'rows', 'kept');
  await node.pump();
  assert.deepEqual(short(events(cid)), ['DELETE rows/dropped', 'DELETE rows/kept']);
  const errors = bob.heardOf('ERROR').map(({ payload }) => payload as { code: number; details: object });
  const details = { type: 'JOURNAL_GAP', subscriptionId: 's', fromSequence: String(BASE + 3n), toSequence: String(BASE + 3n) };
  assert.deepEqual(
    errors.map((error) => [error.code, error.details]),
    [[410, details]],
    'what it could see before is not told of the row that it never saw',
  );
  subscribe(bob, 'again', { fromSequence: String(BASE + 2n) });
  await node.pump();
  assert.equal(bob.heardOf('ERROR').length, 1, 'of the past as well');
  const answer = await read(node, bob, { fromSequence: String(BASE + 1n) });
  assert.deepEqual(short(eventsIn(answer)), ['PUT rows/dropped']);
  assert.deepEqual(answer.gap, { fromSequence: String(BASE + 3n), toSequence: String(BASE + 3n) });
});

/** Drops the value of a record from memory. */
function dropFromMemory(node: OneThreadNode, map: string, key: string): void {
  const store = node.catalogues[0]?.find(utf8(map))?.existing(KIND_LWW) ?? assert.fail('no such map');
  const image = new RecordImage();
  image.source = utf8(key);
  image.keyBytes = image.source.length;
  image.keyHash = fnv1a(key);
  const ref = store.find(image);
  assert.notEqual(ref, 0);
  dropValue(store, ref);
}

/** A subject that sees all of the map `open`, and of the others what it is told. */
class PlayedAccess extends SubjectAccess {
  readonly #scope: number;
  readonly #may: boolean;
  readonly #view: RowView;

  constructor(scope: number, may: boolean, view: RowView) {
    super({ version: 0, scopeOf: () => undefined, numberOf: () => scope }, undefined);
    this.#scope = scope;
    this.#may = may;
    this.#view = view;
  }

  override get scope(): number {
    return this.#scope;
  }

  override may(): boolean {
    return this.#may;
  }

  override rows(map: string): RowView {
    return map === 'open' ? ALL_ROWS : this.#view;
  }
}

test('a subscription of a map whose name is longer than any is refused: it would be kept', async () => {
  const node = await OneThreadNode.create({ domains: { journal: 'on' } });
  const client = node.client();
  client.say({ type: 'JOURNAL_SUBSCRIBE', requestId: 's', mapName: 'm'.repeat(2049) });
  assert.match(JSON.stringify(client.heardOf('ERROR')), /INVALID_MAP_NAME/);
});
