/** The raw servers beside Redis commands answer as a door would: the load that believes no reply has nothing to object to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startServer } from '../harness.ts';
import { runOnce } from './resp.bench.ts';
import { COMMAND_NAMES, PIPELINES } from './resp-commands.ts';

const SETTINGS = { quick: true, runs: 1, progress: () => {}, scenarios: undefined, pinning: undefined };

for (const variant of ['raw', 'raw-net'] as const) {
  test(`${variant} answers every command of every pipeline`, async () => {
    const server = await startServer(variant);
    try {
      for (const command of COMMAND_NAMES) {
        for (const pipeline of PIPELINES) {
          const outcome = await runOnce({ command, pipeline }, { ...server, variant, isRaw: true }, 100, SETTINGS);
          assert.ok(typeof outcome !== 'string' && (outcome.opsPerSecond ?? 0) > 0, String(outcome));
        }
      }
    } finally {
      await server.stop();
    }
  });
}
