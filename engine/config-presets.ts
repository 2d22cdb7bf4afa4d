/** Presets: other defaults for a group of options. What is set by name wins over them. */
import type { Config } from './config.ts';

const MIB = 1024 * 1024;

export type Preset = Exclude<Config['preset'], 'none'>;

/** What each preset changes. Thread counts stay those of the machine: more threads than cores cost more than they give. */
export const PRESETS: Readonly<Record<Preset, Partial<Config>>> = {
  'high-throughput': {
    ringBytes: 16 * MIB,
    batchRecords: 500,
    requestTimeoutMs: 60_000,
    flushDelayMs: 200,
    flushRecordsMax: 10_000,
  },
  'low-latency': {
    batchRecords: 10,
    requestTimeoutMs: 10_000,
    opTimeoutMs: 2_000,
    flushRecordsMax: 1_000,
    sessionBackpressureBytesMax: MIB,
  },
};
