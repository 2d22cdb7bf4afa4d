/** How many keys each database has, as INFO tells it. */
import { CommandBatchWriter, replyStarts } from '../../engine/domains/kv/command-batch.ts';
import { commandNumber } from '../../engine/domains/kv/commands.ts';
import { REQUEST_COMMANDS } from '../../engine/protocol/envelope.ts';
import { integersOf } from './merge.ts';
import type { RespContext } from './resp-context.ts';

const NO_BYTES = new Uint8Array(0);

/** Keys of each database, and about how many of them expire. */
export async function countKeys({ calls, writers }: RespContext): Promise<(readonly [keys: number, expiring: number])[]> {
  const counts: [number, number][] = [];
  const number = commandNumber('keyspace');
  const bodies = writers.map(() => {
    const writer = new CommandBatchWriter();
    writer.begin(number, false, 0, 0);
    return writer.take();
  });
  const answers = await calls.request(REQUEST_COMMANDS, calls.everyone, (worker) => bodies[worker] ?? NO_BYTES);
  for (const [body] of answers) {
    if (body === undefined) continue;
    const numbers = integersOf(body.subarray(replyStarts(body)[0]));
    for (let db = 0; 2 * db < numbers.length; db++) {
      const [keys, expiring] = counts[db] ?? [0, 0];
      counts[db] = [keys + (numbers[2 * db] ?? 0), expiring + (numbers[2 * db + 1] ?? 0)];
    }
  }
  return counts;
}
