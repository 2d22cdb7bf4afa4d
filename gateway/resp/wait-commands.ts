/**
 * WAIT and WAITAOF: until others have what this connection wrote. There are no replicas, so WAIT has nobody to wait for; WAITAOF waits
 * until the logs of all workers are forced to the disk.
 */
import { KvError, NOT_AN_INTEGER } from '../../engine/domains/kv/command.ts';
import { integerOf } from '../../engine/domains/kv/numbers.ts';
import { REQUEST_PERSISTED } from '../../engine/protocol/envelope.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import type { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { RespConnection } from './resp-connection.ts';
import type { RespContext } from './resp-context.ts';

export function wait(_connection: RespConnection, args: RespCommand, out: RespWriter): void {
  if (integerOf(args.argument(1)) === undefined) throw new KvError(NOT_AN_INTEGER);
  timeoutMsOf(args, 2);
  out.integer(0);
}

/** WAITAOF local replicas timeout: answered with how many logs have it, 1 or 0, and no replica. */
export function waitAof(connection: RespConnection, args: RespCommand, _out: RespWriter): void {
  const { context } = connection;
  const local = integerOf(args.argument(1));
  if (local === undefined || local < 0 || local > 1) throw new KvError('ERR value is out of range, value must between 0 and 1');
  const replicas = integerOf(args.argument(2));
  if (replicas === undefined || replicas < 0) throw new KvError('ERR value is out of range, must be positive');
  const timeoutMs = timeoutMsOf(args, 3);
  const hasLog = context.config.wal && context.config.store === 'write-behind';
  if (local === 1 && !hasLog) {
    throw new KvError('ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.');
  }
  connection.alone(async (out) => {
    const isSynced = local === 1 && (await isPersisted(context, timeoutMs));
    out.array(2);
    out.integer(isSynced ? 1 : 0);
    out.integer(0);
  });
}

/** False when it takes longer. A timeout of 0 ms is none. */
async function isPersisted({ calls }: RespContext, timeoutMs: number): Promise<boolean> {
  const persisted = calls
    .request(REQUEST_PERSISTED, calls.everyone, () => new Uint8Array(0))
    .then(
      () => true,
      (error: unknown) => {
        if (error instanceof GridError) return false;
        throw error;
      },
    );
  if (timeoutMs === 0) return persisted;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.min(timeoutMs, TIMEOUT_MS_MAX));
  });
  return Promise.race([persisted, late]).finally(() => clearTimeout(timer));
}

/** What a timer takes. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

function timeoutMsOf(args: RespCommand, index: number): number {
  const timeout = integerOf(args.argument(index));
  if (timeout === undefined) throw new KvError('ERR timeout is not an integer or out of range');
  if (timeout < 0) throw new KvError('ERR timeout is negative');
  return Number(timeout);
}
