/**
 * kill -9 of the embedded Postgres while the server lives and writers write.
 *
 *   load ─▶ SIGKILL of Postgres ─▶ load goes on ─▶ healed by itself? ─┬─ yes ─▶ look
 *                                                                     └─ no ─▶ kill -9 of the server ─▶ start ─▶ look
 *
 * How often it healed by itself is counted. Whether it did or not, what was acknowledged must be there.
 */
import type { Arena, Campaign, Fault } from '../campaign.ts';
import { APPLIED } from '../levels.ts';
import { storageHealed, storageState, becomes } from '../node-health.ts';
import { StruckNode } from '../struck-node.ts';

const NOTICED_MS_MAX = 10_000;
const HEALED_MS_MAX = 15_000;

export const postgresKillFault: Fault = {
  name: 'postgres-kill',
  title: 'kill -9 of the embedded Postgres while the server lives',
  outlives: APPLIED,
  async prepare(campaign: Campaign): Promise<Arena> {
    const node = await StruckNode.make({ flags: campaign.flags });
    return { node, strike: () => strike(campaign, node), close: async () => {} };
  },
};

async function strike(campaign: Campaign, node: StruckNode): Promise<'untouched' | 'restarted'> {
  const { load } = campaign;
  const givesUp = campaign.random.below(2) === 0;
  await campaign.moment();
  const killed = await node.killPostgres();
  if (killed === undefined) campaign.fail('there is no Postgres to kill');
  const before = load.acknowledgedAt(0);
  // Either health says so, or another Postgres is there already.
  const isNoticed = async (): Promise<boolean> =>
    (await storageState(node.port)) !== 'normal' || ![killed, undefined].includes(await node.postgresPid());
  if (!(await becomes(isNoticed, NOTICED_MS_MAX)))
    campaign.fail(`nobody notices within ${NOTICED_MS_MAX} ms that Postgres is gone`);
  await campaign.moment(100, 600);
  if (!(await becomes(() => load.acknowledgedAt(0) > before, NOTICED_MS_MAX)))
    campaign.fail('writes are not served while Postgres is away');
  if (await storageHealed(node.port, HEALED_MS_MAX)) {
    campaign.note('healed by itself');
    await campaign.rest(node);
    return 'untouched';
  }
  campaign.note('needed a restart of the server');
  await node.kill();
  await load.stop(givesUp);
  await node.start();
  return 'restarted';
}
