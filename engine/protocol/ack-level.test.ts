import assert from 'node:assert/strict';
import test from 'node:test';
import { ackLevels, type DurabilityOptions, hasReached, levelName, levelShortage } from './ack-level.ts';
import {
  CONCERN_APPLIED,
  CONCERN_FIRE_AND_FORGET,
  CONCERN_MEMORY,
  CONCERN_NAMES,
  CONCERN_NONE,
  CONCERN_PERSISTED,
  CONCERN_REPLICATED,
} from './op-index.ts';

function levelsOf(store: DurabilityOptions['store'], wal: boolean, walFsync: string): [string, boolean, boolean] {
  const { plain, persists, hasLog } = ackLevels({ store, wal, walFsync });
  return [levelName(plain), persists, hasLog];
}

test('a plain ack says what the configuration reaches before it answers', () => {
  for (const policy of ['always', 'off', '10']) {
    assert.deepEqual(levelsOf('none', true, policy), ['MEMORY', false, false]);
    assert.deepEqual(levelsOf('write-through', true, policy), ['PERSISTED', true, false]);
    assert.deepEqual(levelsOf('write-behind', false, policy), ['MEMORY', true, false]);
  }
  assert.deepEqual(levelsOf('write-behind', true, 'always'), ['PERSISTED', true, true]);
  for (const policy of ['off', '1', '60000']) assert.deepEqual(levelsOf('write-behind', true, policy), ['APPLIED', true, true]);
});

test('each level is judged by itself: only PERSISTED stands for another one', () => {
  const reached = [CONCERN_MEMORY, CONCERN_APPLIED, CONCERN_PERSISTED];
  const keeps = (asked: number): string[] => reached.filter((level) => hasReached(asked, level)).map(levelName);
  assert.deepEqual(keeps(CONCERN_NONE), ['MEMORY', 'APPLIED', 'PERSISTED']);
  assert.deepEqual(keeps(CONCERN_FIRE_AND_FORGET), ['MEMORY', 'APPLIED', 'PERSISTED']);
  assert.deepEqual(keeps(CONCERN_MEMORY), ['MEMORY', 'APPLIED', 'PERSISTED']);
  assert.deepEqual(keeps(CONCERN_APPLIED), ['APPLIED', 'PERSISTED']);
  assert.deepEqual(keeps(CONCERN_REPLICATED), []);
  assert.deepEqual(keeps(CONCERN_PERSISTED), ['PERSISTED']);
});

test('a shortage is named exactly where no waiting would help', () => {
  for (const store of ['none', 'write-behind', 'write-through'] as const) {
    for (const wal of [true, false]) {
      const levels = ackLevels({ store, wal, walFsync: 'always' });
      for (let asked = CONCERN_NONE; asked < CONCERN_NAMES.length; asked++) {
        const best = asked === CONCERN_PERSISTED && levels.persists ? CONCERN_PERSISTED : levels.plain;
        if (!hasReached(asked, best)) assert.notEqual(levelShortage(asked, levels), '', `${store} ${wal} ${levelName(asked)}`);
      }
      assert.equal(levelShortage(CONCERN_MEMORY, levels), '');
    }
  }
});
