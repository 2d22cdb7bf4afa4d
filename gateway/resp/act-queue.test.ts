import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Touched } from '../../engine/domains/kv/touched-keys.ts';
import { ActQueue } from './act-queue.ts';

interface Wish {
  readonly keys: readonly string[];
  readonly isWrite: boolean;
  readonly isEverything: boolean;
}

const SPACE = Buffer.from('db0');

function touching({ keys, isWrite, isEverything }: Wish): Touched {
  return { isWrite, isEverything, keys: keys.map((key) => ({ space: SPACE, key: Buffer.from(key) })) };
}

/** Lets promises that are settled run on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function meet(left: Wish, right: Wish): boolean {
  return left.isEverything || right.isEverything || left.keys.some((key) => right.keys.includes(key));
}

const wish: fc.Arbitrary<Wish> = fc.record({
  keys: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1, maxLength: 3 }),
  isWrite: fc.boolean(),
  isEverything: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
});

test('acts that meet run one after another in their order, save those that read, and every act runs', () =>
  fc.assert(
    fc.asyncProperty(fc.array(wish, { maxLength: 40 }), fc.array(fc.nat(), { maxLength: 40 }), async (wishes, choices) => {
      const queue = new ActQueue(() => 0);
      const running = new Map<number, () => void>();
      const begun: number[] = [];
      wishes.forEach((one, index) => {
        void queue.enter(touching(one)).then((leave) => {
          assert.ok(leave !== undefined);
          running.set(index, leave);
          begun.push(index);
        });
      });
      for (let step = 0; step < wishes.length; step++) {
        await settled();
        const indexes = [...running.keys()];
        assert.ok(indexes.length > 0, 'somebody may always run');
        for (const one of indexes) {
          for (const other of indexes) {
            const [left, right] = [wishes[one], wishes[other]];
            if (one < other && left !== undefined && right !== undefined && (left.isWrite || right.isWrite))
              assert.ok(!meet(left, right), `${one} and ${other} run together`);
          }
        }
        const chosen = indexes[(choices[step] ?? 0) % indexes.length] ?? 0;
        running.get(chosen)?.();
        running.delete(chosen);
      }
      assert.deepEqual(
        [...begun].sort((left, right) => left - right),
        [...wishes.keys()],
      );
      begun.forEach((later, at) => {
        for (const earlier of begun.slice(at + 1)) {
          const [left, right] = [wishes[later], wishes[earlier]];
          if (later > earlier && left !== undefined && right !== undefined && (left.isWrite || right.isWrite))
            assert.ok(!meet(left, right), `${later} overtook ${earlier}`);
        }
      });
    }),
    { numRuns: 200 },
  ));

test('acts that read the same key run together only for a while: workers keep writers waiting meanwhile', async () => {
  let nowMs = 0;
  const queue = new ActQueue(() => nowMs);
  const read = touching({ keys: ['a'], isWrite: false, isEverything: false });
  const first = await queue.enter(read);
  nowMs = 4;
  const second = await queue.enter(read);
  nowMs = 6;
  let isThird = false;
  const third = queue.enter(read).then((leave) => {
    isThird = true;
    return leave;
  });
  await settled();
  assert.equal(isThird, false);
  first?.();
  await settled();
  assert.equal(isThird, false, 'the second began with the first');
  second?.();
  (await third)?.();
});

test('an act that leaves twice does not let two others in', async () => {
  const queue = new ActQueue(() => 0);
  const write = touching({ keys: ['a'], isWrite: true, isEverything: false });
  const first = await queue.enter(write);
  const entered: number[] = [];
  const later = [1, 2].map((number) =>
    queue.enter(write).then((leave) => {
      entered.push(number);
      return leave;
    }),
  );
  first?.();
  first?.();
  await settled();
  assert.deepEqual(entered, [1]);
  (await later[0])?.();
  (await later[1])?.();
  assert.deepEqual(entered, [1, 2]);
});
