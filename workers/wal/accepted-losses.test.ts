import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { GridError } from '../../engine/protocol/errors.ts';
import { UNKNOWN_END } from '../../engine/storage/wal-loss.ts';
import { readAcceptedLosses, writeAcceptedLosses } from './accepted-losses.ts';

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'lattice-accepted-'));
  context.after(() => rmSync(path, { recursive: true }));
  return path;
}

test('accepted losses come back as they were written, and nothing else is left in the folder', (context) => {
  const path = folder(context);
  assert.deepEqual(readAcceptedLosses(path), []);
  const losses = [
    { epoch: 1, worker: 0, fromSequence: 2, toSequence: 3 },
    { epoch: 4, worker: 7, fromSequence: 9, toSequence: UNKNOWN_END },
  ];
  writeAcceptedLosses(path, losses.slice(0, 1));
  writeAcceptedLosses(path, losses);
  assert.deepEqual(readAcceptedLosses(path), losses);
  assert.deepEqual(readdirSync(path), ['accepted.json']);
});

test('a file that is no list of losses is refused by its path', (context) => {
  const path = folder(context);
  for (const text of ['', '{}', '[1]', '[{"epoch":1}]', '[{"epoch":1,"worker":0,"fromSequence":1,"toSequence":"2"}]']) {
    writeFileSync(join(path, 'accepted.json'), text);
    assert.throws(
      () => readAcceptedLosses(path),
      (error) =>
        error instanceof GridError && error.code === 'LOG_DAMAGED' && error.message.includes(join(path, 'accepted.json')),
    );
  }
});
