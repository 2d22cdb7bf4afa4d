import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { FlushWatch } from './flush-watch.ts';

test('the longest lag and the most waiting records of all workers are kept, and nothing is said where nothing waits', async () => {
  assert.deepEqual(
    await watched([
      [10, 1, 2],
      [400, 30, 40],
      [5, 0, 0],
    ]),
    { flushLagMaxMs: 400, stagedRecordsMax: 70 },
  );
  assert.deepEqual(await watched([[0, 0, 0]]), {});
});

/** What is kept when the metrics say these, one after the other: lag, records of two workers. */
async function watched(answers: readonly (readonly [lagMs: number, first: number, second: number])[]): Promise<unknown> {
  let asked = 0;
  let allAsked: () => void = () => {};
  const all = new Promise<void>((resolve) => {
    allAsked = resolve;
  });
  const server = createServer((_, response) => {
    const [lagMs, first, second] = answers[Math.min(asked, answers.length - 1)] ?? [0, 0, 0];
    asked += 1;
    response.end(
      `lattice_flush_lag_ms{worker="0"} 7\nlattice_flush_lag_ms{worker="1"} ${lagMs}\nlattice_staged_records{worker="0"} ${first}\nlattice_staged_records{worker="1"} ${second}\n`,
    );
    if (asked === answers.length) allAsked();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const watch = new FlushWatch((server.address() as AddressInfo).port);
    await all;
    return await watch.stop();
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
