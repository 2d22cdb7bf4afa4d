/** All commands that workers run, by number and by name. The numbers cross the rings, between threads of one process. */
import { assert, broken } from '../../assert.ts';
import { BIT_COMMANDS } from './bits.ts';
import type { CommandSpec } from './command.ts';
import { COUNTER_COMMANDS } from './counters.ts';
import { DEADLINE_COMMANDS } from './deadlines.ts';
import { HASH_COMMANDS } from './hashes.ts';
import { INTERNAL_COMMANDS } from './internal-commands.ts';
import { KEY_COMMANDS } from './keys.ts';
import { LCS_COMMANDS } from './lcs.ts';
import { PLAIN_COMMANDS } from './plain-commands.ts';
import { SCAN_COMMANDS } from './scan.ts';
import { STRING_COMMANDS } from './strings.ts';
import { WHOLE_COMMANDS } from './whole-changes.ts';

export const WORKER_COMMANDS: readonly CommandSpec[] = Object.freeze([
  ...STRING_COMMANDS,
  ...COUNTER_COMMANDS,
  ...BIT_COMMANDS,
  ...LCS_COMMANDS,
  ...Object.values(PLAIN_COMMANDS),
  ...DEADLINE_COMMANDS,
  ...KEY_COMMANDS,
  ...SCAN_COMMANDS,
  ...WHOLE_COMMANDS,
  ...HASH_COMMANDS,
  ...INTERNAL_COMMANDS,
]);

/** The command of a number. */
export function commandAt(number: number): CommandSpec {
  const spec = WORKER_COMMANDS[number];
  if (spec === undefined) broken(`command number ${number}`);
  return spec;
}

/** The number of a command. */
export function commandNumber(name: string): number {
  const number = WORKER_COMMANDS.findIndex((spec) => spec.name === name);
  assert(number >= 0, `no command ${name}`);
  return number;
}
