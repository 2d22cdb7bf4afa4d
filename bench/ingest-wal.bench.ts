/**
 * What safety costs: the same load into servers that differ in nothing but their log, in alternating runs.
 *
 *   log-off        acknowledged from memory          fsync-off      in a file, synced when the system likes
 *   fsync-10       synced within 10 ms (default)     fsync-always   synced before each answer
 *
 * ISO asks whether Postgres and the log disturb clients: F10 into a server that logs, flushes without pauses and ticks, beside
 * one that has neither log nor Postgres. `log-off` tells the two apart.
 */
import { load, type RunSettings, runScenarios, type Scenario } from './ingest.bench.ts';
import type { Variant } from './harness.ts';
import type { ScenarioResult } from './result.ts';

const POLICIES: readonly Variant[] = ['log-off', 'fsync-off', 'fsync-10', 'fsync-always'];
const ISOLATION: readonly Variant[] = ['flushing', 'lattice', 'log-off', 'alone'];

const SCENARIOS: readonly Scenario[] = [
  logged('F1-WAL', '1 op a batch, 50 connections × 64 in flight', 50, 1, 64, 18_000),
  logged('F10-WAL', '10 ops a batch, 50 connections × 32 in flight', 50, 10, 32, 33_000),
  logged('W50-WAL', '10 ops a batch, 50 connections wait for each ack', 50, 10, 1, 33_000),
  logged('W1-WAL', '10 ops a batch, 1 connection waits for each ack', 1, 10, 1, 33_000),
  {
    ...load('ISO', 'F10 with log and flushes at full speed, beside F10 alone', 50, 10, 32, 33_000, ISOLATION),
    ceiling: 'alone',
  },
];

function logged(name: string, title: string, connections: number, opsPerFrame: number, window: number, keys: number): Scenario {
  return { ...load(name, title, connections, opsPerFrame, window, keys, POLICIES), ceiling: 'log-off' };
}

/** Runs the wanted scenarios and yields each result when it is complete. */
export function runIngestWal(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  return runScenarios(SCENARIOS, settings);
}
