/**
 * The server process: starts a grid, says `PORT=<n>` when it serves, stops on SIGTERM and SIGINT.
 *
 * stdout carries that one line and nothing else; logs go to stderr. A second signal ends the process at once. SIGHUP has TLS files read
 * again and never ends it.
 */
import pino from 'pino';
import type { Config } from '../engine/config.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { Grid } from './grid.ts';

/** Time for threads to end after a stop that failed. */
const LINGER_MS = 1000;

/** Runs until a signal or a fatal error; sets the exit status: 0 after an orderly stop, 1 otherwise. */
export async function run(config: Config): Promise<void> {
  const log = pino({ level: config.logLevel }, pino.destination({ fd: 2, sync: true }));
  let end: (failure: Error | undefined) => void = () => {};
  const ended = new Promise<Error | undefined>((resolve) => {
    end = resolve;
  });
  onSignals(log, () => end(undefined));
  let renew = (): void => log.info('there is no TLS certificate to be read again');
  process.on('SIGHUP', () => renew()); // else it would end the process
  let grid: Grid;
  try {
    const starting = Grid.start(config, log, { onFatal: end });
    const outcome = await Promise.race([starting, ended.then(() => undefined)]);
    grid = outcome ?? (await starting);
  } catch (error) {
    log.fatal({ error: describe(error) }, 'the server did not start');
    process.exitCode = 1;
    return;
  }
  if (config.tlsCertFile !== undefined) renew = () => void grid.renewTls();
  process.stdout.write(`PORT=${grid.port}\n`);
  const failure = await ended;
  if (failure !== undefined) log.fatal({ error: describe(failure) }, 'the server cannot go on');
  try {
    await grid.stop();
    log.info('stopped');
    if (failure !== undefined) process.exitCode = 1;
  } catch (error) {
    log.error({ error: describe(error) }, 'the server did not stop in order');
    process.exitCode = 1;
  }
  // A thread in an endless loop would hold the process for ever.
  if (process.exitCode === 1) setTimeout(() => process.exit(), LINGER_MS).unref();
}

function onSignals(log: pino.Logger, stop: () => void): void {
  let signals = 0;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      signals += 1;
      if (signals > 1) process.exit(1);
      log.info({ signal }, 'stopping');
      stop();
    });
  }
}

function describe(error: unknown): string {
  if (error instanceof GridError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
