/**
 * The short form of the chaos suite: a cycle or two of each fault, and the proof that the suite can fail.
 *
 * LATTICE_TEST_SEED repeats a run. The long form is `npm run chaos -- --fault kill --cycles 200`.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Random } from '../../gateway/testing/random.ts';
import { Campaign, type CampaignOptions, type Outcome } from './campaign.ts';
import { FAULTS } from './faults/faults.ts';
import { killFault } from './faults/kill.ts';
import { MEMORY } from './levels.ts';

const { seed } = Random.ofThisRun();
/** A stop before anything was acknowledged proves nothing, and a machine with much else to do may take that long. */
const ACKNOWLEDGED_MIN: Readonly<Record<string, number>> = { stop: 30 };
const CYCLES: Readonly<Record<string, number>> = { kill: 2 };

function options(changes: Partial<CampaignOptions>): CampaignOptions {
  return { seed, cycles: 1, writers: 12, flags: [], isShort: true, log: () => {}, ...changes };
}

function report({ failureTexts, levels, refused, notes }: Outcome): string {
  return [`LATTICE_TEST_SEED=${seed}`, ...failureTexts, JSON.stringify({ levels, refused, notes })].join('\n');
}

for (const fault of FAULTS) {
  test(`nothing acknowledged is lost by ${fault.title}`, async (t) => {
    t.diagnostic(`LATTICE_TEST_SEED=${seed}`);
    const outcome = await new Campaign(
      fault,
      options({ cycles: CYCLES[fault.name] ?? 1, acknowledgedMin: ACKNOWLEDGED_MIN[fault.name] }),
    ).run();
    if (outcome.skipped !== undefined) return t.skip(outcome.skipped);
    assert.equal(outcome.failures, 0, report(outcome));
    assert.ok(outcome.demanded > 0);
  });
}

test('nothing acknowledged is lost by kill -9 of a server whose gateway and worker are one thread', async (t) => {
  t.diagnostic(`LATTICE_TEST_SEED=${seed}`);
  const outcome = await new Campaign(killFault, options({ flags: ['--fused', 'on', '--worker-threads', '1'] })).run();
  assert.equal(outcome.failures, 0, report(outcome));
  assert.ok(outcome.demanded > 0);
});

test('without a log a kill loses what was acknowledged in memory, whichever door it came by, and the suite says so', async (t) => {
  t.diagnostic(`LATTICE_TEST_SEED=${seed}`);
  const flags = ['--store', 'none']; // everything that was acknowledged is lost with the process
  const outcome = await new Campaign(killFault, options({ flags, demand: MEMORY, acknowledgedMin: 1500 })).run();
  assert.ok(outcome.failures > 0, report(outcome));
  for (const place of ['chaos-notes', 'chaos-tags', 'chaos-http', 'chaos-hash', 'db0', 'counters'])
    assert.ok((outcome.notes[`lost in ${place}`] ?? 0) > 0, `${place}\n${report(outcome)}`);
});
