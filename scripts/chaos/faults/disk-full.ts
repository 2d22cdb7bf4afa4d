/**
 * The data directory is a small disk of its own that fills up under load, and has room again.
 *
 *   load ─▶ disk filled ─▶ writes refused by name ─▶ reads served ─▶ [kill -9 ─▶ filled again ─▶ start ─▶ reads served]
 *        ─▶ room ─▶ writes go on by themselves ─▶ [kill -9 ─▶ start] ─▶ look
 *
 * It needs the right to mount a tmpfs, and a Postgres elsewhere: the embedded one would be full as well.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Arena, Campaign, Fault } from '../campaign.ts';
import { externalDatabase } from '../external-database.ts';
import { APPLIED } from '../levels.ts';
import { becomes } from '../node-health.ts';
import { StruckNode } from '../struck-node.ts';

const DISK = '64m';
const REFUSED_MS_MAX = 20_000;
const FLAGS = ['--wal-segment-bytes', '1048576', '--wal-max-bytes', '33554432'];
const REFUSAL = /DISK_FULL|LOG_FULL/;

export const diskFullFault: Fault = {
  name: 'disk-full',
  title: 'a disk of 64 MB that fills up under load and has room again',
  outlives: APPLIED,
  async prepare(campaign: Campaign): Promise<Arena | string> {
    const folder = mkdtempSync(join(tmpdir(), 'lattice-chaos-disk-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK},mode=0755`, 'tmpfs', folder], { stdio: 'pipe' });
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      return `a tmpfs cannot be mounted here (${error instanceof Error ? error.message.split('\n').join(' ').trim() : String(error)})`;
    }
    const database = await externalDatabase();
    const node = await StruckNode.make({ flags: [...campaign.flags, ...FLAGS], database, dataDir: folder });
    return {
      node,
      strike: () => strike(campaign, node, join(folder, 'filler')),
      close: async () => {
        await database.proxy.close();
        execFileSync('umount', ['-l', folder]);
        rmSync(folder, { recursive: true, force: true });
      },
    };
  },
};

async function strike(campaign: Campaign, node: StruckNode, filler: string): Promise<'untouched' | 'restarted'> {
  const { load, random } = campaign;
  const isKilled = random.below(2) === 0;
  const givesUp = random.below(2) === 0;
  await campaign.moment(5, 800);
  const before = refusals(campaign);
  fill(filler);
  // Segments that are flushed are deleted and make room: the rest of the disk is filled as it appears.
  const isRefused = await becomes(() => {
    fill(filler);
    return refusals(campaign) > before;
  }, REFUSED_MS_MAX);
  if (!isRefused) campaign.fail('writes are not refused while the disk is full: the fault never struck');
  await campaign.look(node, 'while the disk is full');
  const startsFull = random.below(2) === 0;
  if (startsFull) {
    await node.kill();
    fill(filler);
    await node.start();
    campaign.note('started on the full disk');
    await campaign.look(node, 'after a start on the full disk');
  }
  load.begin(node);
  rmSync(filler);
  const acknowledged = load.acknowledgedAt(0);
  if (!(await becomes(() => load.acknowledgedAt(0) > acknowledged, REFUSED_MS_MAX)))
    campaign.fail('writes are not served again when there is room');
  if (!isKilled) {
    await campaign.rest(node);
    return startsFull ? 'restarted' : 'untouched';
  }
  await node.kill();
  await load.stop(givesUp);
  await node.start();
  campaign.note('killed afterwards');
  return 'restarted';
}

function refusals(campaign: Campaign): number {
  return [...campaign.load.counts.refused].reduce((sum, [reason, times]) => (REFUSAL.test(reason) ? sum + times : sum), 0);
}

/** Writes until there is no room for a byte. */
function fill(path: string): void {
  const file = openSync(path, 'a');
  try {
    for (let size = 1024 * 1024; size >= 1; ) {
      try {
        if (writeSync(file, Buffer.alloc(size, 1)) < size) size = Math.floor(size / 2);
      } catch {
        size = Math.floor(size / 2);
      }
    }
  } finally {
    closeSync(file);
  }
}
