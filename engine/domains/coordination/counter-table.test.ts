/** The table against the CRDT that it stores: joins in any order, through the log and back. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { PnCounter } from '../../crdt/pn-counter.ts';
import { MemoryDataStore } from '../../storage/memory-data-store.ts';
import { NullDataStore } from '../../storage/null-data-store.ts';
import { RecordImage } from '../../storage/record.ts';
import { FrameWriter, forEachRecord, readFrame } from '../../storage/wal-frame.ts';
import { LoggedDataStore } from '../../storage/logged-data-store.ts';
import { WriteBehind } from '../../storage/write-behind.ts';
import { CounterTable } from './counter-table.ts';

interface Join {
  readonly name: string;
  readonly node: string;
  readonly positive: number;
  readonly negative: number;
}

const sum = fc.oneof(
  fc.integer({ min: 0, max: 40 }).map((quarters) => quarters / 4),
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -1),
);
const join: fc.Arbitrary<Join> = fc.record({
  name: fc.constantFrom('hits', 'likes', '__proto__'),
  node: fc.constantFrom('a', 'b', '__proto__', 'ü'),
  positive: sum,
  negative: sum,
});

function contents(table: CounterTable): unknown {
  return ['hits', 'likes', '__proto__'].map((name) =>
    [...(table.find(name)?.entries.values() ?? [])]
      .map(({ node, positive, negative }) => [node, positive, negative])
      .sort(([left], [right]) => (String(left) < String(right) ? -1 : 1)),
  );
}

function joined(table: CounterTable, joins: readonly Join[]): CounterTable {
  for (const { name, node, positive, negative } of joins) table.join(table.open(name), node, 'device', positive, negative, 0);
  return table;
}

test('joins commute, repeat harmlessly, and give what the PN counter gives', () => {
  fc.assert(
    fc.property(fc.array(join, { maxLength: 30 }), fc.nat(), (joins, turn) => {
      const shuffled = [...joins.slice(turn % (joins.length + 1)), ...joins];
      const one = joined(new CounterTable(new NullDataStore()), joins);
      assert.deepEqual(contents(joined(new CounterTable(new NullDataStore()), shuffled)), contents(one));
      for (const name of new Set(joins.map((item) => item.name))) {
        const model = new PnCounter();
        for (const item of joins) {
          if (item.name !== name) continue;
          model.merge({ positive: new Map([[item.node, item.positive]]), negative: new Map([[item.node, item.negative]]) });
        }
        const entries = [...(one.find(name)?.entries.values() ?? [])];
        assert.equal(
          entries.reduce((value, entry) => value + entry.positive - entry.negative, 0),
          model.value,
        );
        assert.deepEqual(new Set(entries.map(({ node }) => node)), new Set([...model.positive.keys(), ...model.negative.keys()]));
      }
    }),
  );
});

test('what the log and the data store have of a table makes the same table again', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(join, { maxLength: 30 }), async (joins) => {
      const dataStore = new MemoryDataStore();
      const logged = new LoggedDataStore(new WriteBehind(dataStore, TIME, { flushDelayMs: 0 }));
      const frame = new FrameWriter();
      logged.logTo(frame);
      const table = joined(new CounterTable(logged), joins);

      const replayed = new CounterTable(new NullDataStore());
      const fields = { salt: 1, sequence: 1, syncedSequence: 0, flushedSequence: 0, writtenAtMs: 0, inboxPositions: [] };
      const read = readFrame(frame.finish(fields), 0, 1);
      assert.ok(read !== undefined);
      forEachRecord(read, (_kind, _map, image) => replayed.replay(image, 0));
      assert.deepEqual(contents(replayed), contents(table));

      await logged.hardFlush(1000);
      const loaded = new CounterTable(new NullDataStore());
      const all = Array.from({ length: 271 }, (_, partition) => partition);
      await dataStore.load(all, (_kind, _map, image) => loaded.restore(image));
      assert.deepEqual(contents(loaded), contents(table));
      assert.equal(logged.stagedRecords, 0);
    }),
    { numRuns: 50 },
  );
});

test('a join that raises nothing is not staged, and an owner is named once', () => {
  const staged: number[] = [];
  const dataStore = new (class extends NullDataStore {
    override changed(_source?: unknown, ref = 0): void {
      staged.push(ref);
    }
  })();
  const table = new CounterTable(dataStore);
  const counter = table.open('hits');
  assert.equal(table.join(counter, 'n', '', 2, 0, 0), true);
  assert.equal(table.join(counter, 'n', 'first', 2, 0, 0), false);
  assert.equal(table.join(counter, 'n', 'first', 3, 0, 0), true);
  assert.equal(table.join(counter, 'n', 'second', 4, 1, 0), true);
  assert.deepEqual(staged, [1, 1, 1]);
  assert.equal(counter.entries.get('n')?.owner, 'first');
  const image = new RecordImage();
  table.read(1, image);
  const { source, tagStart, nodeStart, nodeBytes } = image;
  assert.equal(Buffer.from(source.subarray(tagStart, nodeStart + nodeBytes)).toString(), 'firstn');
});

test('a counter that nobody wrote goes when nobody watches it', () => {
  const table = new CounterTable(new NullDataStore());
  const counter = table.open('hits');
  counter.watchedBy[1] = true;
  table.dropIfUnused(counter);
  assert.equal(table.counters, 1);
  counter.watchedBy[1] = false;
  table.dropIfUnused(counter);
  assert.equal(table.counters, 0);
  const written = table.open('hits');
  table.join(written, 'n', '', 1, 0, 0);
  table.dropIfUnused(written);
  assert.equal(table.counters, 1);
});

const TIME = {
  nowMs: () => 0,
  random: () => 0,
  yieldTurn: () => Promise.resolve(),
  startTimer: () => () => {},
};
