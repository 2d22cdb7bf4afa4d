/**
 * Postgres behind a network that misbehaves: connections that end by FIN or RST in the middle of a message, that hang, that
 * are slow, that are refused; in half of the cycles the server is killed meanwhile.
 *
 *   load ─▶ trouble ─▶ trouble ─▶ … ─┬─ kill -9 ─▶ the network is well ─▶ start ─▶ look
 *                                    └─ the network is well ─▶ storage is well by itself ─▶ look
 */
import { APPLIED } from '../levels.ts';
import type { Arena, Campaign, Fault } from '../campaign.ts';
import { externalDatabase, type ExternalDatabase } from '../external-database.ts';
import type { FaultyProxy } from '../faulty-proxy.ts';
import { storageHealed } from '../node-health.ts';
import { StruckNode } from '../struck-node.ts';

const TROUBLES_MAX = 4;
const TROUBLE_MS_MAX = 1200;
const LATENCY_MS_MAX = 300;
/** About what a few flushes carry. */
const CUT_BYTES_MAX = 300_000;
const HEALED_MS_MAX = 30_000;
/** A connection that hangs is given up after this. */
const STORAGE_TIMEOUT_MS = 1500;

export const proxyFault: Fault = {
  name: 'proxy',
  title: 'Postgres behind a network that cuts, hangs, delays and refuses, with kill -9 of the server meanwhile',
  outlives: APPLIED,
  async prepare(campaign: Campaign): Promise<Arena> {
    const database = await externalDatabase();
    const flags = [...campaign.flags, '--storage-timeout-ms', String(STORAGE_TIMEOUT_MS)];
    const node = await StruckNode.make({ flags, database });
    return {
      node,
      strike: () => strike(campaign, node, database),
      close: () => database.proxy.close(),
    };
  },
};

async function strike(campaign: Campaign, node: StruckNode, { proxy }: ExternalDatabase): Promise<'untouched' | 'restarted'> {
  const { random, load } = campaign;
  const isKilled = random.below(2) === 0;
  const givesUp = random.below(2) === 0;
  const cutsBefore = proxy.cuts;
  for (let troubles = 1 + random.below(TROUBLES_MAX); troubles > 0; troubles--) {
    campaign.note(trouble(campaign, proxy));
    await campaign.moment(50, TROUBLE_MS_MAX);
  }
  campaign.note('connections cut within a message', proxy.cuts - cutsBefore);
  if (isKilled) {
    await node.kill();
    await load.stop(givesUp);
    proxy.set('pass');
    await node.start();
    campaign.note('killed meanwhile');
    return 'restarted';
  }
  proxy.set('pass');
  if (!(await storageHealed(node.port, HEALED_MS_MAX)))
    campaign.fail(`storage is not well ${HEALED_MS_MAX} ms after the network is`);
  await campaign.rest(node);
  return 'untouched';
}

/** Starts one trouble and answers its name. */
function trouble(campaign: Campaign, proxy: FaultyProxy): string {
  const { random } = campaign;
  const name = random.pick(['FIN', 'RST', 'black hole', 'latency', 'refuse'] as const);
  if (name === 'FIN' || name === 'RST') proxy.cutAfter(random.below(CUT_BYTES_MAX), name);
  else proxy.set(name, 1 + random.below(LATENCY_MS_MAX));
  return name;
}
