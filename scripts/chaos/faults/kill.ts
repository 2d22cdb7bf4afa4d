/**
 * kill -9 of the server at a random moment under load, and at times again while it starts.
 *
 *   load ─▶ SIGKILL ─┬─ the process alone: the kernel tells its Postgres to end         ─▶ start ─▶ [SIGKILL ─▶ start] ─▶ look
 *                    └─ and its Postgres, as when a container is killed
 *
 * Writers send again after half of the cycles what had no answer, and give it up after the others. Each start takes another
 * number of workers, size of segments and policy of syncs: a log must be read whatever wrote it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Arena, Campaign, Fault } from '../campaign.ts';
import { APPLIED } from '../levels.ts';
import { StruckNode } from '../struck-node.ts';

const SECOND_KILL_MS_MAX = 900;
const SETTINGS: readonly (readonly [string, readonly string[]])[] = [
  ['--worker-threads', ['1', '2', '3']],
  ['--wal-segment-bytes', ['65536', '1048576', '67108864']],
  ['--wal-fsync', ['always', '10', '10', '200', 'off']],
];

export const killFault: Fault = {
  name: 'kill',
  title: 'kill -9 of the server, alone or with its embedded Postgres, also while it starts',
  outlives: APPLIED,
  async prepare(campaign: Campaign): Promise<Arena> {
    const node = await StruckNode.make({ flags: campaign.flags });
    return { node, strike: () => strike(campaign, node), close: async () => {} };
  },
};

async function strike(campaign: Campaign, node: StruckNode): Promise<'restarted'> {
  const { random, load } = campaign;
  const takesPostgres = random.below(2) === 0;
  const strikesAgain = random.below(4) === 0;
  const givesUp = random.below(2) === 0;
  const againMs = random.below(SECOND_KILL_MS_MAX);
  const flags = drawnFlags(campaign);
  await campaign.moment();
  if (takesPostgres) await node.killAll();
  else await node.kill();
  await load.stop(givesUp);
  campaign.note(takesPostgres ? 'killed with its Postgres' : 'killed alone');
  if (strikesAgain) {
    await node.start(flags, 'spawned');
    await delay(againMs);
    await node.kill();
    campaign.note('killed while starting');
  }
  await node.start(flags);
  return 'restarted';
}

/** Settings of the next start, save those that the run has fixed. */
function drawnFlags({ random, options }: Campaign): string[] {
  return SETTINGS.flatMap(([flag, values]) => {
    const value = random.pick(values);
    return options.flags.includes(flag) ? [] : [flag, value];
  });
}
