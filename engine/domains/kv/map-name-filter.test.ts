import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { MapNameFilter } from './map-name-filter.ts';

const hashOf = (name: string): number => {
  const bytes = Buffer.from(name);
  return fnv1aUtf8(bytes, 0, bytes.length);
};

test('a name that was added may be there for every thread, and of others hardly one', () =>
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { maxLength: 100 }), fc.array(fc.string(), { maxLength: 100 }), (names, others) => {
      const memory = new SharedArrayBuffer(MapNameFilter.BYTES);
      const [worker, gateway] = [new MapNameFilter(memory), new MapNameFilter(memory)];
      for (const name of [...names, ...others]) assert.equal(gateway.mayHave(hashOf(name)), false);
      for (const name of names) worker.add(Buffer.from(name));
      for (const name of names) assert.equal(gateway.mayHave(hashOf(name)), true);
      const wrong = others.filter((name) => !names.includes(name) && gateway.mayHave(hashOf(name)));
      assert.ok(new Set(wrong).size <= 2);
    }),
    { numRuns: 50 },
  ));
