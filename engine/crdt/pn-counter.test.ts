import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AssertionError } from '../assert.ts';
import { type CounterState, PnCounter, readCounterState } from './pn-counter.ts';

const nodeId = fc.constantFrom('a', 'b', 'c', '__proto__', 'constructor');
const side = fc
  .array(
    fc.tuple(
      nodeId,
      fc.integer({ min: 0, max: 400 }).map((quarters) => quarters / 4),
    ),
  )
  .map((list) => new Map(list));
const state: fc.Arbitrary<CounterState> = fc.tuple(side, side).map(([positive, negative]) => ({ positive, negative }));

function joined(...states: readonly CounterState[]): PnCounter {
  const counter = new PnCounter();
  for (const one of states) counter.merge(one);
  return counter;
}

/** Sums in the order of node ids, so that equal states compare equal. */
function sums(counter: CounterState): unknown {
  return [[...counter.positive].sort(), [...counter.negative].sort()];
}

function parse(json: string): CounterState {
  const read = readCounterState(JSON.parse(json));
  assert.ok(read !== null);
  return read;
}

test('the value is what was added minus what was subtracted, fractions included', () => {
  const counter = new PnCounter();
  counter.add('a', 5);
  counter.add('b', -1.5);
  counter.add('a', 0.25);
  counter.add('a', 0);
  assert.equal(counter.value, 3.75);
  assert.deepEqual(sums(counter), [[['a', 5.25]], [['b', 1.5]]]);
});

test('a join keeps the larger sum of each node and says whether anything changed', () => {
  const counter = joined(parse('{"positive":{"x":5,"y":1},"negative":{"x":2}}'));
  assert.equal(counter.merge(parse('{"positive":{"x":4,"y":3},"negative":{}}')), true);
  assert.equal(counter.value, 6);
  assert.equal(counter.merge(parse('{"positive":{"x":5},"negative":{"x":1}}')), false);
  assert.equal(counter.value, 6);
});

test('both spellings are read, alone or together', () => {
  for (const json of [
    '{"positive":{"n1":10},"negative":{"n2":4}}',
    '{"p":{"n1":10},"n":{"n2":4}}',
    '{"p":{"n1":10},"positive":{"n1":7},"negative":{"n2":4}}',
  ]) {
    assert.deepEqual(sums(parse(json)), [[['n1', 10]], [['n2', 4]]]);
  }
});

test('both spellings are written, and the client reads 5 - 1 as 4', () => {
  const wire = joined(parse('{"positive":{"x":5},"negative":{"x":1}}')).toWire();
  assert.equal(JSON.stringify(wire), '{"positive":{"x":5},"negative":{"x":1},"p":{"x":5},"n":{"x":1}}');
});

test('a node called __proto__ counts like any other', () => {
  const json = '{"positive":{"__proto__":3,"constructor":2},"negative":{"__proto__":1}}';
  const counter = joined(parse(json));
  assert.equal(counter.value, 4);
  const text = JSON.stringify(counter.toWire());
  assert.equal(joined(parse(text)).value, 4);
  assert.ok(text.startsWith(json.slice(0, -1)));
  assert.equal(Object.getPrototypeOf({}), Object.prototype);
  assert.equal(parse('{"__proto__":{"positive":{"a":1}}}').positive.size, 0);
});

test('sums that are no finite number above 0 are skipped', () => {
  const wire = { positive: { a: -1, b: Number.NaN, c: Number.POSITIVE_INFINITY, d: 'x', e: null, f: 0, g: 7n }, negative: [] };
  const read = readCounterState(wire);
  assert.ok(read !== null);
  assert.deepEqual(sums(read), [[['g', 7]], []]);
});

test('a state that is no object is refused, and missing sides are empty', () => {
  for (const wire of [null, undefined, 5, 'x']) assert.equal(readCounterState(wire), null);
  assert.equal(joined(parse('{}'), parse('{"p":5,"n":null}')).entries, 0);
});

test('a state survives the wire', () => {
  fc.assert(
    fc.property(state, (one) => {
      const counter = joined(one);
      assert.deepEqual(sums(parse(JSON.stringify(counter.toWire()))), sums(counter));
    }),
  );
});

test('joins commute, associate and repeat without effect', () => {
  fc.assert(
    fc.property(state, state, state, (a, b, c) => {
      assert.deepEqual(sums(joined(a, b)), sums(joined(b, a)));
      assert.deepEqual(sums(joined(joined(a, b), c)), sums(joined(a, joined(b, c))));
      assert.deepEqual(sums(joined(a, a)), sums(joined(a)));
    }),
  );
});

test('replicas that add in their own name and exchange states in any order agree on the true sum', () => {
  const change = fc.tuple(fc.nat(2), fc.integer({ min: -50, max: 50 }), fc.nat(2));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const names = ['a', 'b', 'c'];
      const replicas = names.map(() => new PnCounter());
      let total = 0;
      for (const [at, amount, to] of changes) {
        replicas[at]?.add(names[at] ?? '', amount);
        total += amount;
        replicas[to]?.merge(replicas[at] ?? new PnCounter());
      }
      const order = [...replicas, ...replicas];
      for (const replica of replicas) {
        for (const other of order) replica.merge(other);
        assert.equal(replica.value, total);
      }
    }),
  );
});

test('adding what is no number is a mistake of the caller', () => {
  assert.throws(() => new PnCounter().add('a', Number.NaN), AssertionError);
  assert.throws(() => new PnCounter().add('a', Number.POSITIVE_INFINITY), AssertionError);
});
