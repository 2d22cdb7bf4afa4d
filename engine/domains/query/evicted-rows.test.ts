/** Live queries over rows whose values were dropped from memory: read back before they are judged or told, never taken for empty. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GridError } from '../../protocol/errors.ts';
import { REQUEST_QUERY_SUB } from '../../protocol/envelope.ts';
import { decode, encode } from '../../protocol/codec.ts';
import { UNSCOPED } from '../security/access.ts';
import { BoundedEngine, MIB } from '../testing/bounded-engine.ts';
import { plain, utf8 } from '../testing/scanned-ops.ts';
import { Definitions } from '../../operation/definitions.ts';
import { indexBody, indexName } from './index-definition.ts';
import { IndexKeeper } from './index-keeper.ts';
import { QueryService } from './query-service.ts';
import { encodeSubscribe, type QueryItem, readPush } from './query-wire.ts';

const PADDING = 'x'.repeat(2000);

class Bench {
  readonly engine = new BoundedEngine({ boundBytes: 64 * MIB });
  readonly items: QueryItem[] = [];
  readonly definitions = new Definitions();
  readonly indexes: IndexKeeper;
  readonly service: QueryService;
  millis = 1;

  constructor() {
    const { engine } = this;
    const rows = {
      nowMs: () => engine.time.nowMs(),
      clockMs: () => 0,
      nextTurn: () => Promise.resolve(),
      loader: engine.loader,
      hasRoomFor: () => false,
    };
    const { maps, observers } = engine;
    this.indexes = new IndexKeeper({ maps, observers, rows, definitions: this.definitions, bytesMax: MIB, warn: () => {} });
    this.service = new QueryService({
      maps: engine.maps,
      observers: engine.observers,
      pushes: {
        push: (_gateway, _session, _kind, body) => readPush(body, (_number, _epoch, items) => this.items.push(...items)),
      },
      scopes: UNSCOPED,
      rows,
      indexes: this.indexes,
      bounds: { queriesMax: 10, keptRowsMax: 10_000, groupsMax: 10, spareRowsMax: 2 },
      gateways: 1,
    });
  }

  put(key: string, n: number, padding = PADDING): void {
    this.millis += 1;
    assert.ok(this.engine.write({ key, value: encode({ n, padding }).slice(), millis: this.millis }));
  }

  remove(key: string): void {
    this.millis += 1;
    assert.ok(this.engine.write({ key, tombstone: true, millis: this.millis }));
  }

  async dropValues(): Promise<void> {
    await this.engine.flush();
    this.engine.dropAll();
    assert.ok(this.engine.store().evicted > 0);
  }

  subscribe(query: object): void {
    const bounds = { rowsMax: 1000, bytesMax: 4 * MIB, scope: 0, auth: undefined, after: undefined };
    const body = encodeSubscribe({ number: 1, epoch: 1, mapName: 'map', map: utf8('map'), query, fields: undefined, ...bounds });
    this.service.answer({ kind: REQUEST_QUERY_SUB, body, gateway: 0, session: 1, nowMs: 0 });
    this.service.settled();
  }

  /** What was told since the last time, after `ms` have passed. */
  async told(ms = 100): Promise<unknown[]> {
    await this.engine.time.run(this.engine.time.wait(ms));
    for (let round = 0; round < 8; round++) {
      this.service.settled();
      await this.engine.settle();
    }
    const told = this.items.splice(0).map((item) => {
      if (item.type === 'ENTER' || item.type === 'UPDATE') return `${item.type} ${item.key} ${nOf(item.value)}`;
      if (item.type === 'LEAVE') return `LEAVE ${item.key}`;
      return item.type === 'FAILED' ? `FAILED ${item.code}` : item.type;
    });
    return told.sort();
  }
}

function nOf(value: Uint8Array): unknown {
  const row = plain(decode(value));
  assert.ok(typeof row === 'object' && row !== null && 'n' in row);
  return row.n;
}

const QUERY = { predicate: { op: 'gte', attribute: 'n', value: 0 }, sort: { n: 'asc' }, limit: 3 };

async function withDroppedRows(): Promise<Bench> {
  const bench = new Bench();
  for (let n = 0; n < 300; n++) bench.put(`k${n}`, n);
  await bench.dropValues();
  return bench;
}

test('a query over dropped values is answered with all of them', async () => {
  const bench = await withDroppedRows();
  bench.subscribe(QUERY);
  assert.deepEqual(bench.items, [], 'nothing is told before the values are here');
  assert.deepEqual(await bench.told(), ['ENTER k0 0', 'ENTER k1 1', 'ENTER k2 2', 'READY']);
});

test('a candidate without its value enters when the value was read back', async () => {
  const bench = await withDroppedRows();
  bench.subscribe(QUERY);
  await bench.told();
  await bench.dropValues();
  bench.remove('k1');
  assert.deepEqual(await bench.told(), ['ENTER k3 3', 'LEAVE k1']);
  for (const key of ['k0', 'k2', 'k3', 'k4', 'k5']) bench.remove(key); // more than there are candidates
  await bench.dropValues();
  assert.deepEqual(await bench.told(), ['ENTER k6 6', 'ENTER k7 7', 'ENTER k8 8', 'LEAVE k0', 'LEAVE k2', 'LEAVE k3']);
});

test('many long rows that enter at once are read back and told in parts', async () => {
  const bench = new Bench();
  for (let n = 0; n < 40; n++) bench.put(`k${n}`, n, n < 20 ? '' : 'x'.repeat(MIB / 2));
  await bench.dropValues();
  bench.subscribe({ ...QUERY, limit: 20 });
  assert.equal((await bench.told()).length, 21);
  for (let n = 0; n < 20; n++) bench.remove(`k${n}`);
  await bench.dropValues();
  const entered: string[] = [];
  let rowsMax = 0;
  for (let round = 0; round < 100; round++) {
    bench.service.settled();
    await bench.engine.settle();
    const rows = bench.items.splice(0).flatMap((item) => (item.type === 'ENTER' ? [item.key] : []));
    rowsMax = Math.max(rowsMax, rows.length);
    entered.push(...rows);
  }
  assert.deepEqual(entered.sort(), Array.from({ length: 20 }, (_, n) => `k${n + 20}`).sort());
  assert.ok(rowsMax <= 9, `${rowsMax} rows`);
});

test('while the data store is away a first result is an error, and a live view stays as it was told until it can be exact', async () => {
  const bench = await withDroppedRows();
  const { faults } = bench.engine.dataStore;
  faults.beforeRead = () => Promise.reject(new GridError('STORAGE_UNAVAILABLE', 'away'));
  bench.subscribe(QUERY);
  assert.deepEqual(await bench.told(), ['FAILED UNAVAILABLE']);
  faults.beforeRead = () => Promise.resolve();
  bench.subscribe(QUERY);
  assert.deepEqual(await bench.told(), ['ENTER k0 0', 'ENTER k1 1', 'ENTER k2 2', 'READY']);
  await bench.dropValues();
  faults.beforeRead = () => Promise.reject(new GridError('STORAGE_UNAVAILABLE', 'away'));
  for (const key of ['k0', 'k2', 'k3', 'k4', 'k5']) bench.remove(key);
  for (let tries = 0; tries < 3; tries++) assert.deepEqual(await bench.told(600), []);
  faults.beforeRead = () => Promise.resolve();
  const told = [...(await bench.told(600)), ...(await bench.told(600)), ...(await bench.told(600))];
  assert.deepEqual(told, ['ENTER k6 6', 'ENTER k7 7', 'LEAVE k0', 'LEAVE k2']);
});

test('an index is built with values that are read back, names dropped rows, and none is taken for missing', async () => {
  const bench = await withDroppedRows();
  const { faults } = bench.engine.dataStore;
  const query = { predicate: { op: 'between', attribute: 'n', value: [40, 42] } };
  const name = indexName('map', 'n');
  const body = indexBody({ map: 'map', attribute: 'n', kind: 'ordered' });
  bench.definitions.apply({ kind: 'index', name, version: 1, body });
  faults.beforeRead = () => Promise.reject(new GridError('STORAGE_UNAVAILABLE', 'away'));
  bench.indexes.tick(bench.engine.time.nowMs());
  await bench.told();
  assert.equal(bench.indexes.of(utf8('map')).length, 0, 'half an index is none');
  faults.beforeRead = () => Promise.resolve();
  await bench.told(2000);
  bench.indexes.tick(bench.engine.time.nowMs());
  await bench.told();
  assert.equal(bench.indexes.of(utf8('map')).length, 1);
  await bench.dropValues();
  const loaded = bench.engine.loader.loaded;
  bench.subscribe(query);
  assert.deepEqual(await bench.told(), ['ENTER k40 40', 'ENTER k41 41', 'ENTER k42 42', 'READY']);
  assert.equal(bench.service.rowsLooked, 3);
  assert.ok(bench.engine.loader.loaded - loaded <= 2 * 3, 'only the rows that match were read back');
});
