import assert from 'node:assert/strict';
import test from 'node:test';
import { type LateTurn, LateTurns } from './late-turns.ts';

async function soon(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** Who was given a turn, in order. */
function asking(turns: LateTurns): { readonly given: LateTurn[]; readonly refused: string[]; ask(asker: string): void } {
  const [given, refused]: [LateTurn[], string[]] = [[], []];
  const ask = (asker: string): void => {
    turns.take(asker).then(
      (turn) => void given.push(turn),
      () => void refused.push(asker),
    );
  };
  return { given, refused, ask };
}

test('an asker waits for others once, however much they ask', async () => {
  const turns = new LateTurns(2, 100);
  const { given, ask } = asking(turns);
  for (let index = 0; index < 6; index++) ask('much');
  ask('little');
  await soon();
  for (let index = 0; index < 5; index++) {
    const turn = given[index];
    assert.ok(turn !== undefined);
    turns.giveBack(turn);
    await soon();
  }
  assert.deepEqual(
    given.map(({ asker }) => asker),
    ['much', 'much', 'much', 'little', 'much', 'much', 'much'],
  );
});

test('of an asker that is gone nothing waits, and what is under way is over', async () => {
  const turns = new LateTurns(1, 100);
  const { given, refused, ask } = asking(turns);
  for (const asker of ['gone', 'gone', 'here']) ask(asker);
  await soon();
  turns.forget('gone');
  await soon();
  assert.deepEqual([given.map(({ isOver }) => isOver), refused], [[true], ['gone']]);
  assert.ok(given[0] !== undefined);
  turns.giveBack(given[0]);
  await soon();
  assert.equal(given[1]?.asker, 'here');
});

test('more than may wait is refused, and turns that nobody waits for are free again', async () => {
  const turns = new LateTurns(1, 1);
  const { given, refused, ask } = asking(turns);
  for (const asker of ['a', 'b', 'c']) ask(asker);
  await soon();
  assert.deepEqual(refused, ['c']);
  for (const turn of given) turns.giveBack(turn);
  await soon();
  for (const turn of given.slice(1)) turns.giveBack(turn);
  assert.equal(turns.answers, 0);
});
