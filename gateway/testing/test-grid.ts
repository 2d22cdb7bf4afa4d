/**
 * Real grids for tests: real threads, real sockets and, unless `store: 'none'` is asked for, a real Postgres with a
 * database of its own, reached through a TCP proxy that can be cut.
 *
 * Threads load .js files, so tests of grids run compiled.
 */
import pino from 'pino';
import type { Config } from '../../engine/config.ts';
import { resolveConfig } from '../../engine/config-resolution.ts';
import { PgClient } from '../../workers/postgres/connection.ts';
import { testFolder, testPostgres } from '../../workers/postgres/test-postgres.ts';
import { Grid, type GridTuning } from '../grid.ts';
import { PostgresProxy } from './postgres-proxy.ts';

export interface TestGrid {
  readonly grid: Grid;
  readonly port: number;
  readonly config: Config;
  /** What ended the grid by itself. */
  readonly fatal: Error[];
}

export interface TestStorage {
  /** Overrides for `startGrid`. */
  readonly config: { readonly databaseUrl: string; readonly dataDir: string };
  readonly proxy: PostgresProxy;
  /** Rows of one statement, past the proxy. */
  rows(statement: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
  /** Runs several statements, past the proxy. */
  script(statements: string): Promise<void>;
  close(): Promise<void>;
}

/** A settled configuration: defaults, one gateway and one worker, any free port; then `overrides`, whatever their range. */
export function testConfig(overrides: Partial<Config>): Config {
  const machine = { dataDir: '/nonexistent', gatewayThreads: 1, workerThreads: () => 1 };
  const { config } = resolveConfig({
    flags: new Map([
      ['--port', '0'],
      ['--store', 'none'],
    ]),
    env: {},
    machine,
  });
  return { ...config, logLevel: 'fatal', ...overrides };
}

/** Starts a grid that keeps nothing, unless `overrides` say otherwise. */
export async function startGrid(overrides: Partial<Config> = {}, tuning: GridTuning = {}): Promise<TestGrid> {
  const config = testConfig(overrides);
  const fatal: Error[] = [];
  const log = pino({ level: config.logLevel }, pino.destination({ fd: 2, sync: true }));
  const grid = await Grid.start(config, log, { onFatal: (error) => void fatal.push(error) }, tuning);
  return { grid, port: grid.port, config, fatal };
}

/** A fresh database behind a proxy. */
export async function testStorage(): Promise<TestStorage> {
  const { target } = await testPostgres();
  if (!('path' in target)) throw new Error('the test Postgres is reached by a unix socket');
  const proxy = await PostgresProxy.open(target.path);
  const client = new PgClient({ target, applicationName: 'lattice test' });
  return {
    config: { databaseUrl: `postgres://${target.user}@127.0.0.1:${proxy.port}/${target.database}`, dataDir: await testFolder() },
    proxy,
    rows: (statement) => client.run(30_000, (session) => session.rows(statement)),
    script: (statements) => client.run(30_000, async (session) => void (await session.script(statements))),
    close: async () => {
      await client.close();
      await proxy.close();
    },
  };
}

const EVENTUALLY_MS = 10_000;

/** Tries again until the assertions hold. */
export async function eventually(assertions: () => void | Promise<void>, deadlineMs: number = EVENTUALLY_MS): Promise<void> {
  const endsMs = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await assertions();
    } catch (error) {
      if (performance.now() > endsMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** The document of GET /health. */
export async function healthOf(port: number): Promise<Readonly<Record<string, unknown>>> {
  const answer: unknown = await (await fetch(`http://127.0.0.1:${port}/health`)).json();
  return typeof answer === 'object' && answer !== null ? { ...answer } : {};
}

/** Sum of a metric over its labels. */
export async function metricOf(port: number, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (lines.length === 0) throw new Error(`no metric ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
