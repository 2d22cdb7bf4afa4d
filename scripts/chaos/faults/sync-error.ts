/**
 * The disk refuses a sync of the log: nobody knows what it holds from then on, so the worker writes no more.
 *
 *   start with failing syncs ─▶ load ─▶ writes refused by name ─▶ reads served, nothing lost ─▶ kill -9 ─▶ start without ─▶ look
 *                                                                 and nothing more is acknowledged as PERSISTED
 *
 * One worker, so that one failed sync is every worker's.
 */
import { APPLIED, PERSISTED } from '../levels.ts';
import type { Arena, Campaign, Fault } from '../campaign.ts';
import { becomes } from '../node-health.ts';
import { StruckNode } from '../struck-node.ts';

const PERMILLE = 30;
const REFUSED_MS_MAX = 20_000;
const START_REFUSED = 'could not be forced to the disk';
const REFUSAL = /READ_ONLY/;

export const syncErrorFault: Fault = {
  name: 'sync-error',
  title: 'a sync of the log that fails, and a node that is read-only until it is started anew',
  outlives: APPLIED,
  async prepare(campaign: Campaign): Promise<Arena> {
    const node = await StruckNode.make({ flags: [...campaign.flags, '--worker-threads', '1'] });
    return { node, strike: () => strike(campaign, node), close: async () => {} };
  },
};

async function strike(campaign: Campaign, node: StruckNode): Promise<'restarted'> {
  const { load, random } = campaign;
  const givesUp = random.below(2) === 0;
  await load.stop(random.below(2) === 0);
  await node.kill();
  await startFaulty(campaign, node);
  load.begin(node);
  await refused(campaign);
  // What is under way may have been synced before. From here on only new writes are sent.
  await load.stop(true);
  const persisted = load.acknowledgedAt(PERSISTED);
  load.begin(node);
  await refused(campaign);
  await campaign.moment(5, 600);
  await campaign.look(node, 'while it is read-only');
  if (load.acknowledgedAt(PERSISTED) > persisted) campaign.fail('writes were acknowledged as PERSISTED after a sync had failed');
  await node.kill();
  await load.stop(givesUp);
  await node.start();
  return 'restarted';
}

/** A start syncs as well, and ends when it cannot: then another seed is tried. */
async function startFaulty(campaign: Campaign, node: StruckNode): Promise<void> {
  for (;;) {
    const seed = String(campaign.random.below(2 ** 31));
    try {
      return await node.start(['--fault-injection', 'on', '--fault-sync-error-permille', String(PERMILLE), '--fault-seed', seed]);
    } catch (error) {
      if (!node.log.includes(START_REFUSED)) throw error;
      campaign.note('starts that ended for a failed sync');
    }
  }
}

async function refused(campaign: Campaign): Promise<void> {
  const before = refusals(campaign);
  if (await becomes(() => refusals(campaign) > before, REFUSED_MS_MAX)) return;
  campaign.fail('no write was refused as read-only: the fault never struck');
}

function refusals(campaign: Campaign): number {
  return [...campaign.load.counts.refused].reduce((sum, [reason, times]) => (REFUSAL.test(reason) ? sum + times : sum), 0);
}
