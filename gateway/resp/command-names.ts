/**
 * Finds a command by the bytes of its name, in any mix of cases, without a string: asked for each command that comes.
 *
 *   bytes ─ hash of their lower case (FNV-1a) ─▶ the place of that hash, and those behind it up to a free one ─ is it its name?
 */
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
/** A power of two, many times the number of names: most have a place of their own. */
const PLACES = 4096;
const BY_PLACE = new Array<NamedCommand | undefined>(PLACES).fill(undefined);

for (const name of new Set([...CONNECTION_COMMANDS.keys(), ...COMMANDS_BY_NAME.keys()])) {
  const bytes = new TextEncoder().encode(name);
  let place = lowerCaseHash(bytes, 0, bytes.length) & (PLACES - 1);
  while (BY_PLACE[place] !== undefined) place = (place + 1) & (PLACES - 1);
  BY_PLACE[place] = { name, own: CONNECTION_COMMANDS.get(name), ofWorkers: COMMANDS_BY_NAME.get(name) };
}

/** The command that `bytes[start, start + length)` names; undefined when there is none. */
export function commandNamed(bytes: Uint8Array, start: number, length: number): NamedCommand | undefined {
  if (length > NAME_BYTES_MAX) return undefined;
  let place = lowerCaseHash(bytes, start, length) & (PLACES - 1);
  for (let found = BY_PLACE[place]; found !== undefined; found = BY_PLACE[place]) {
    if (isName(found.name, bytes, start, length)) return found;
    place = (place + 1) & (PLACES - 1);
  }
  return undefined;
}

function isName(name: string, bytes: Uint8Array, start: number, length: number): boolean {
  if (name.length !== length) return false;
  for (let index = 0; index < length; index++) {
    if (lowerCase(bytes[start + index] as number) !== name.charCodeAt(index)) return false;
  }
  return true;
}

function lowerCaseHash(bytes: Uint8Array, start: number, length: number): number {
  let hash = FNV_BASIS;
  for (let index = 0; index < length; index++) hash = Math.imul(hash ^ lowerCase(bytes[start + index] as number), FNV_PRIME);
  return hash;
}

function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}
