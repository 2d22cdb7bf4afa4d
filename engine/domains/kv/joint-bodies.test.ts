import assert from 'node:assert/strict';
import test from 'node:test';
import { databaseName } from './hash-names.ts';
import { decodeHold, decodeHoldAnswer, encodeHold, encodeHoldAnswer } from './joint-bodies.ts';

const KEY = Buffer.from('k');
const NOTHING = { wholes: [], watched: [], commands: new Uint8Array(0), change: new Uint8Array(0) };

test('keys of a database come with the one name that it has everywhere, those of other maps with theirs', () => {
  const keys = [0, 9, 15].map((db) => ({ space: databaseName(db).slice(), key: KEY }));
  const others = ['db16', 'db05', 'db', 'dbx', 'ab1'].map((name) => ({ space: Buffer.from(name), key: KEY }));
  const read = decodeHold(encodeHold({ act: 1, isExclusive: true, isEverything: false, keys, told: others, ...NOTHING }));
  for (const [index, db] of [0, 9, 15].entries()) assert.equal(read.keys[index]?.space, databaseName(db));
  assert.deepEqual(
    read.told.map(({ space }) => Buffer.from(space).toString()),
    ['db16', 'db05', 'db', 'dbx', 'ab1'],
  );
});

test('what is read stands where it can be read as words, and stays when the body is used again', () => {
  const replies = Buffer.from('replies!');
  const body = encodeHoldAnswer({ refusal: 'odd', told: [], versions: ['v'], hashNames: [KEY], replies });
  const answer = decodeHoldAnswer(body);
  body.fill(0);
  assert.equal(answer.replies.byteOffset % 4, 0);
  assert.deepEqual([...answer.replies], [...replies]);
  assert.deepEqual([...(answer.hashNames[0] ?? [])], [...KEY]);
});
