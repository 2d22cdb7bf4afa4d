/** The faults by name, in the order in which they are run. */
import type { Fault } from '../campaign.ts';
import { diskFullFault } from './disk-full.ts';
import { killFault } from './kill.ts';
import { postgresKillFault } from './postgres-kill.ts';
import { proxyFault } from './proxy.ts';
import { stopFault } from './stop.ts';
import { syncErrorFault } from './sync-error.ts';
import { workerFault } from './worker.ts';

export const FAULTS: readonly Fault[] = [
  stopFault,
  killFault,
  postgresKillFault,
  workerFault,
  proxyFault,
  diskFullFault,
  syncErrorFault,
];
