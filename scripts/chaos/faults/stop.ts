/**
 * An orderly stop at a random moment under load: what was acknowledged in memory is flushed, also without a log.
 *
 *   load ─▶ SIGTERM ─▶ exit status 0 ─▶ start ─▶ look
 */
import type { Arena, Campaign, Fault } from '../campaign.ts';
import { MEMORY } from '../levels.ts';
import { StruckNode } from '../struck-node.ts';

export const stopFault: Fault = {
  name: 'stop',
  title: 'SIGTERM under load, without a log',
  outlives: MEMORY,
  flags: ['--wal', 'off'],
  async prepare(campaign: Campaign): Promise<Arena> {
    const node = await StruckNode.make({ flags: campaign.flags });
    return { node, strike: () => strike(campaign, node), close: async () => {} };
  },
};

async function strike(campaign: Campaign, node: StruckNode): Promise<'restarted'> {
  const givesUp = campaign.random.below(2) === 0;
  await campaign.moment();
  const status = await node.stop();
  if (status !== 0) campaign.fail(`the exit status after SIGTERM is ${status}`);
  await campaign.load.stop(givesUp);
  await node.start();
  return 'restarted';
}
