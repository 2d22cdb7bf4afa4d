import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type FaultOptions, Faults } from '../../engine/faults.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { testDataStore } from '../../engine/storage/data-store.conformance.ts';
import { loadAll, put, sorted } from '../../engine/storage/data-store-probe.ts';
import { MemoryDataStore } from '../../engine/storage/memory-data-store.ts';
import { KIND_LWW } from '../../engine/storage/record.ts';
import { imageOf, recordOf } from '../../engine/storage/stored-record.ts';
import { faultOptions } from '../testing/fault-options.ts';
import { FaultyDataStore } from './faulty-data-store.ts';

function faulty(options: Partial<FaultOptions>): { inner: MemoryDataStore; store: FaultyDataStore; faults: Faults } {
  const inner = new MemoryDataStore();
  const faults = new Faults(faultOptions(options), 'worker 0', 0, () => {});
  return { inner, store: new FaultyDataStore(inner, faults), faults };
}

for (const [name, options] of [
  ['FaultyDataStore without faults', {}],
  ['FaultyDataStore with delays', { faultPostgresDelayMs: 2 }],
] as const) {
  testDataStore(name, async () => {
    const { store } = faulty(options);
    return { store, reopen: async () => store };
  });
}

describe('FaultyDataStore', () => {
  test('fails commits as if Postgres were away: some took effect, some did not, and a repeat puts both right', async () => {
    const { inner, store, faults } = faulty({ faultPostgresErrorPermille: 500 });
    const records = Array.from({ length: 100 }, (_, index) => recordOf({ key: `k${index}`, value: `v${index}`, millis: index }));
    const failures = { done: 0, notDone: 0 };
    for (const record of records) {
      for (let stored = false; !stored; ) {
        const commitsBefore = inner.commits;
        try {
          await put(store, record);
          stored = true;
        } catch (error) {
          assert.ok(error instanceof GridError && error.code === 'STORAGE_UNAVAILABLE' && error.retryable);
          failures[inner.commits > commitsBefore ? 'done' : 'notDone'] += 1;
        }
      }
    }
    assert.ok(failures.done > 10 && failures.notDone > 10, JSON.stringify(failures));
    assert.equal(faults.injected, failures.done + failures.notDone);
    assert.deepEqual(sorted(await loadAll(store)), sorted(records));
  });

  test('holds the deadline of a commit that would come later', async () => {
    const { inner, store } = faulty({ faultPostgresDelayMs: 60_000 });
    const batch = store.batch();
    batch.put(KIND_LWW, Uint8Array.of(1), imageOf(recordOf({ key: 'k', value: 'v' })));
    const beganMs = performance.now();
    await assert.rejects(batch.commit(5), { code: 'STORAGE_UNAVAILABLE' });
    assert.ok(performance.now() - beganMs < 5_000);
    assert.equal(inner.commits, 0);
  });

  test('fails burials, too', async () => {
    const { inner, store } = faulty({ faultPostgresErrorPermille: 500 });
    const record = recordOf({ key: 'k', value: 'v' });
    const letter = { kind: record.kind, map: record.map, reason: 'refused', applied: true, record: imageOf(record) };
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => store.bury(letter, 1000)));
    const failed = outcomes.filter(({ status }) => status === 'rejected').length;
    assert.ok(failed > 5 && failed < 45);
    assert.ok(inner.letters.length >= 50 - failed);
  });
});
