/** What tests of acts over several workers share. */
import assert from 'node:assert/strict';
import { fnv1a, PARTITION_COUNT, partitionOf } from '../../engine/partition/hash.ts';
import { encodeCommand, RespClient } from './resp-client.ts';

/** A worker, or a server, is back within it, also where the cores are busy. */
export const PATIENCE_MS = 30_000;

/** Keys whose partitions, and so whose workers, lie far apart. */
export function spread(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const isThere = (key: string): boolean => Math.floor((partitionOf(fnv1a(key)) * count) / PARTITION_COUNT) === index;
    for (let number = 0; ; number++) if (isThere(`${number}:${name}`)) return `${number}:${name}`;
  });
}

export async function clients(count: number, at: number): Promise<RespClient[]> {
  return Promise.all(Array.from({ length: count }, () => RespClient.open(at)));
}

/** Strings of an array reply; null for nil. */
export function stringsOf(reply: string): (string | null)[] {
  const lines = reply.split('\r\n');
  assert.equal(lines[0]?.[0], '*', reply);
  const strings: (string | null)[] = [];
  for (let at = 1; at < lines.length - 1; at++) strings.push(lines[at] === '$-1' ? null : (lines[++at] ?? null));
  return strings;
}

/** Sends the commands in one write; resolves with a reply to each. */
export async function pipelined(client: RespClient, ...commands: readonly (readonly string[])[]): Promise<string[]> {
  client.send(Buffer.concat(commands.map(encodeCommand)));
  const replies: string[] = [];
  for (let index = 0; index < commands.length; index++) replies.push((await client.reply()).toString());
  return replies;
}
