/**
 * Finds a command by the bytes of its name, in any mix of cases, without a string: asked for each command that comes.
 *
 *   bytes ─ hash of their lower case (FNV-1a) ─▶ the command of that hash ─ is it its name?
 *
 * All names have hashes of their own, which is seen to at start.
 */
import { assert } from '../../engine/assert.ts';
import { COMMANDS_BY_NAME, type WorkerCommand } from './command-router.ts';
import { CONNECTION_COMMANDS, type ConnectionCommand } from './connection-commands.ts';

/** A command of the connection, or of workers. */
export interface NamedCommand {
  /** In lower case. */
  readonly name: string;
  readonly own: ConnectionCommand | undefined;
  readonly ofWorkers: WorkerCommand | undefined;
}

const NAME_BYTES_MAX = 24;
const FNV_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
const BY_HASH = new Map<number, NamedCommand>();

for (const name of new Set([...CONNECTION_COMMANDS.keys(), ...COMMANDS_BY_NAME.keys()])) {
  const bytes = new TextEncoder().encode(name);
  const hash = lowerCaseHash(bytes, 0, bytes.length);
  assert(!BY_HASH.has(hash), `another command has the hash of ${name}`);
  BY_HASH.set(hash, { name, own: CONNECTION_COMMANDS.get(name), ofWorkers: COMMANDS_BY_NAME.get(name) });
}

/** The command that `bytes[start, start + length)` names; undefined when there is none. */
export function commandNamed(bytes: Uint8Array, start: number, length: number): NamedCommand | undefined {
  if (length > NAME_BYTES_MAX) return undefined;
  const found = BY_HASH.get(lowerCaseHash(bytes, start, length));
  if (found === undefined || found.name.length !== length) return undefined;
  for (let index = 0; index < length; index++) {
    if (lowerCase(bytes[start + index] as number) !== found.name.charCodeAt(index)) return undefined;
  }
  return found;
}

function lowerCaseHash(bytes: Uint8Array, start: number, length: number): number {
  let hash = FNV_BASIS;
  for (let index = 0; index < length; index++) hash = Math.imul(hash ^ lowerCase(bytes[start + index] as number), FNV_PRIME);
  return hash;
}

function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}
