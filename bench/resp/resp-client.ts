/** What the benchmark asks a server between the runs: to have all keys, and what its counters say. */
import { RespClient } from '../../gateway/testing/resp-client.ts';
import { commandText } from '../redis-peer.ts';
import { keyOf, wordsOf } from './resp-commands.ts';

const KEYS_PER_COMMAND = 500;

/** Sets every key, so that every GET finds one. */
export async function fill(port: number, keys: number): Promise<void> {
  const client = await RespClient.open(port);
  for (let first = 0; first < keys; first += KEYS_PER_COMMAND) {
    const numbers = range(first, keys);
    client.send(numbers.map((number) => commandText(wordsOf('SET', number))).join(''));
    for (let left = numbers.length; left > 0; left--) {
      const reply = (await client.reply()).toString();
      if (reply !== '+OK\r\n') throw new Error(`SET is answered with ${reply}`);
    }
  }
  client.close();
}

/** The sum of all counters. */
export async function sumOfCounters(port: number, keys: number): Promise<number> {
  const client = await RespClient.open(port);
  let sum = 0;
  for (let first = 0; first < keys; first += KEYS_PER_COMMAND) {
    const reply = await client.text('MGET', ...range(first, keys).map((number) => keyOf('INCR', number)));
    if (!reply.startsWith('*')) throw new Error(`MGET is answered with ${reply}`);
    for (const line of reply.split('\r\n')) if (/^\d+$/.test(line)) sum += Number(line);
  }
  client.close();
  return sum;
}

function range(first: number, end: number): number[] {
  return Array.from({ length: Math.min(KEYS_PER_COMMAND, end - first) }, (_, index) => first + index);
}
