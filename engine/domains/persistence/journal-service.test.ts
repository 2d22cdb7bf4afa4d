/** What of real joins becomes an event, and what a worker answers. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { decode, encode } from '../../protocol/codec.ts';
import { PUSH_JOURNAL, REQUEST_JOURNAL_READ } from '../../protocol/envelope.ts';
import { NullDataStore } from '../../storage/null-data-store.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from '../../storage/record.ts';
import { CompositeObserver } from '../../storage/record-observer.ts';
import { RecordStore } from '../../storage/record-store.ts';
import { Slab } from '../../storage/slab.ts';
import { imageOf, type RecordFields, recordOf } from '../../storage/stored-record.ts';
import { plain } from '../testing/scanned-ops.ts';
import { JournalSequence } from './journal-sequence.ts';
import { JournalService, type JournalServiceOptions } from './journal-service.ts';
import { ALL_TYPES, decodePage, encodeRead, JOURNAL_TYPES, type JournalPage, type JournalRead } from './journal-wire.ts';
import { MapPatterns } from './map-patterns.ts';

class Worker {
  readonly observers = new CompositeObserver([]);
  readonly sequence = new JournalSequence(JournalSequence.create());
  readonly pushes: number[] = [];
  readonly journal: JournalService;
  nowMs = 1000;
  readonly #stores = new Map<string, RecordStore>();

  constructor(options: Partial<JournalServiceOptions> = {}) {
    this.journal = new JournalService({
      sequence: this.sequence,
      maps: new MapPatterns([]),
      observers: this.observers,
      pushes: {
        push: (gateway, session, kind) => this.pushes.push(...(session === 0 && kind === PUSH_JOURNAL ? [gateway] : [-1])),
      },
      nowMs: () => this.nowMs,
      begins: true,
      isReplacement: false,
      eventsMax: 100,
      bytesMax: 1 << 20,
      ttlMs: 0,
      ...options,
    });
  }

  join(fields: RecordFields & { readonly packed?: unknown }): void {
    const { packed, ...rest } = fields;
    const record = recordOf({ ...rest, ...(packed === undefined ? {} : { value: encode(packed).slice() }) });
    const kind: RecordKind = record.kind === KIND_OR ? KIND_OR : KIND_LWW;
    this.store(String(fields.map ?? 'map'), kind).join(imageOf(record), this.nowMs);
  }

  store(map: string, kind: RecordKind = KIND_LWW): RecordStore {
    const known = this.#stores.get(`${kind}${map}`);
    if (known !== undefined) return known;
    const store = new RecordStore({
      map: new TextEncoder().encode(map),
      kind,
      slab: new Slab(),
      dataStore: new NullDataStore(),
      observer: this.observers,
      decode,
    });
    this.#stores.set(`${kind}${map}`, store);
    return store;
  }

  read(read: Partial<JournalRead> = {}, gateway = 0): JournalPage {
    const body = encodeRead({ from: 1, events: 1000, bytes: 1 << 20, types: ALL_TYPES, wakes: false, ...read });
    const answer = this.journal.answer({ kind: REQUEST_JOURNAL_READ, body, gateway, session: 0, nowMs: this.nowMs });
    assert.ok(Array.isArray(answer));
    return decodePage(answer[0] as Uint8Array);
  }

  events(read: Partial<JournalRead> = {}): unknown[] {
    return this.read(read).events.map(({ bytes }) => plain(decode(bytes)));
  }
}

test('a value over nothing is a PUT, over a value an UPDATE, its removal a DELETE, and each has what was before', () => {
  const worker = new Worker();
  worker.join({ key: 'k', packed: { a: 1 }, millis: 5, counter: 2, node: 'n1' });
  worker.join({ key: 'k', packed: [2], millis: 6, node: 'n2' });
  worker.join({ key: 'k', tombstone: true, millis: 7, node: 'n3' });
  worker.join({ key: 'k', packed: null, millis: 8, node: 'n1' });
  const common = { mapName: 'map', key: 'k' };
  const at = (millis: number, nodeId: string, counter = 0): object => ({ timestamp: { millis, counter, nodeId }, nodeId });
  assert.deepEqual(worker.events(), [
    { sequence: '1', type: 'PUT', ...common, value: { a: 1 }, ...at(5, 'n1', 2) },
    { sequence: '2', type: 'UPDATE', ...common, value: [2], previousValue: { a: 1 }, ...at(6, 'n2') },
    { sequence: '3', type: 'DELETE', ...common, previousValue: [2], ...at(7, 'n3') },
    { sequence: '4', type: 'PUT', ...common, value: null, ...at(8, 'n1') },
  ]);
});

test('what changes nothing for readers is no event: older and repeated writes, removals of nothing', () => {
  const worker = new Worker();
  worker.join({ key: 'k', tombstone: true, millis: 3 });
  worker.join({ key: 'k', tombstone: true, millis: 4 });
  worker.join({ key: 'k', packed: 1, millis: 5 });
  worker.join({ key: 'k', packed: 1, millis: 5 });
  worker.join({ key: 'k', packed: 0, millis: 2 });
  worker.join({ map: 'tags', kind: KIND_OR, key: 'k', tag: 't', tombstone: true, millis: 9 });
  assert.equal(worker.events().length, 1);
  assert.equal(worker.journal.recorded, 1);
});

test('values of an OR-Map come and go as PUT and DELETE', () => {
  const worker = new Worker();
  worker.join({ map: 'tags', kind: KIND_OR, key: 'k', tag: '1:0:n', packed: 'x', millis: 1 });
  worker.join({ map: 'tags', kind: KIND_OR, key: 'k', tag: '2:0:n', packed: 'y', millis: 2 });
  worker.join({ map: 'tags', kind: KIND_OR, key: 'k', tag: '1:0:n', tombstone: true, millis: 1 });
  const events = worker.events() as { type: string; value?: unknown; previousValue?: unknown }[];
  assert.deepEqual(
    events.map(({ type, value, previousValue }) => [type, value, previousValue]),
    [
      ['PUT', 'x', undefined],
      ['PUT', 'y', undefined],
      ['DELETE', undefined, 'x'],
    ],
  );
});

test('a record that expires is deleted, with what it was', () => {
  const worker = new Worker();
  worker.join({ key: 'k', packed: 'short', millis: 100, ttlMs: 50 });
  const store = worker.store('map');
  assert.equal(store.expire(store.lastRef, 200), true);
  const [, removal] = worker.events() as { type: string; previousValue: unknown; timestamp: { millis: number } }[];
  assert.deepEqual([removal?.type, removal?.previousValue, removal?.timestamp.millis], ['DELETE', 'short', 150]);
});

test('only maps that are wanted are recorded', () => {
  const worker = new Worker({ maps: new MapPatterns(['a*', '!abc']) });
  for (const map of ['a', 'b', 'abc', 'ab']) {
    worker.join({ map, key: 'k', packed: 1, millis: 1 });
    worker.join({ map, key: 'k', packed: 2, millis: 2 });
  }
  assert.deepEqual(
    worker.read().events.map(({ map, type }) => [map, type]),
    [
      ['a', JOURNAL_TYPES.PUT],
      ['a', JOURNAL_TYPES.UPDATE],
      ['ab', JOURNAL_TYPES.PUT],
      ['ab', JOURNAL_TYPES.UPDATE],
    ],
  );
});

test('nothing is watched until somebody asks, and then all that comes', () => {
  const worker = new Worker({ begins: false });
  worker.join({ key: 'before', packed: 1 });
  assert.equal(worker.observers.watchesOld, false);
  assert.equal(worker.sequence.next, 1);
  assert.deepEqual(worker.read(), { next: 1, dropped: 0, full: false, events: [] });
  worker.join({ key: 'before', packed: 2, millis: 9 });
  assert.deepEqual(
    (worker.events() as { type: string; previousValue: unknown }[]).map(({ type, previousValue }) => [type, previousValue]),
    [['UPDATE', 1]],
  );
});

test('a page stops at its bounds and says where to go on; filters pass over the rest', () => {
  const worker = new Worker();
  for (let index = 0; index < 10; index++) {
    worker.join({ map: index % 2 === 0 ? 'even' : 'odd', key: `k${index}`, packed: 'x'.repeat(100) });
  }
  assert.deepEqual(pick(worker.read({ events: 3 })), { numbers: [1, 2, 3], next: 4, full: true });
  assert.deepEqual(pick(worker.read({ from: 9, events: 3 })), { numbers: [9, 10], next: 11, full: false });
  assert.deepEqual(pick(worker.read({ bytes: 500 })), { numbers: [1, 2], next: 3, full: true });
  assert.deepEqual(pick(worker.read({ bytes: 1, from: 5 })), { numbers: [5], next: 6, full: true });
  assert.deepEqual(pick(worker.read({ map: 'odd', events: 2 })), { numbers: [2, 4], next: 5, full: true });
  assert.deepEqual(pick(worker.read({ types: JOURNAL_TYPES.DELETE })), { numbers: [], next: 11, full: false });
  worker.sequence.take(); // another worker's
  assert.deepEqual(pick(worker.read({ from: 11 })), { numbers: [], next: 12, full: false });
});

test('a gateway that wants to be woken is woken once, by the next event', () => {
  const worker = new Worker();
  worker.read({ wakes: true }, 2);
  worker.read({}, 1);
  assert.deepEqual(worker.pushes, []);
  worker.join({ key: 'a', packed: 1 });
  worker.join({ key: 'b', packed: 1 });
  assert.deepEqual(worker.pushes, [2]);
});

test('events go by age also when nobody writes, and the page says so', () => {
  const worker = new Worker({ ttlMs: 100 });
  worker.join({ key: 'a', packed: 1 });
  worker.nowMs += 60;
  worker.join({ key: 'b', packed: 1 });
  worker.nowMs += 60;
  assert.deepEqual(pick(worker.read()), { numbers: [2], next: 3, full: false });
  assert.equal(worker.read().dropped, 1);
});

test('a worker that replaces one which recorded knows that its events are lost', () => {
  const sequence = new JournalSequence(JournalSequence.create());
  assert.equal(new Worker({ sequence, isReplacement: true, begins: false }).read().dropped, 0);
  sequence.ask();
  sequence.take();
  sequence.take();
  assert.equal(new Worker({ sequence, isReplacement: true, begins: false }).read().dropped, 2);
});

test('a value that was dropped from memory is no previous value', () => {
  const worker = new Worker();
  worker.join({ key: 'k', packed: 'was here', millis: 1 });
  const store = worker.store('map');
  const image = imageOf(recordOf({ key: 'k', value: new Uint8Array(16), millis: 1 }));
  store.replaceValue(store.lastRef, image, true);
  worker.join({ key: 'k', packed: 'is here', millis: 2 });
  const [, update] = worker.events() as { type: string; previousValue?: unknown }[];
  assert.equal(update?.type, 'UPDATE');
  assert.equal(Object.hasOwn(update ?? {}, 'previousValue'), false);
});

function pick({ events, next, full }: JournalPage): object {
  return { numbers: events.map(({ number }) => number), next, full };
}
