/** Fault injection that is on and does nothing, save for what a test asks for. */
import type { FaultOptions } from '../../engine/faults.ts';

export function faultOptions(overrides: Partial<FaultOptions> = {}): FaultOptions {
  return {
    faultInjection: true,
    faultSeed: 1,
    faultRingDelayMs: 0,
    faultRingDropPermille: 0,
    faultSyncDelayMs: 0,
    faultSyncErrorPermille: 0,
    faultWriteErrorPermille: 0,
    faultWriteDelayMs: 0,
    faultPostgresDelayMs: 0,
    faultPostgresErrorPermille: 0,
    faultWorkerKillMs: 0,
    faultLogEvents: true,
    ...overrides,
  };
}
