/**
 * Commands for whom policies guard the maps: as the commands of their names, but without the maps that are keys.
 *
 *   DEL, UNLINK           of the name of a map: WRONGTYPE, and nothing is removed       KEYS, SCAN   do not tell names of maps
 *   EXISTS, TOUCH, TYPE   of the name of a map: it is not there
 */
import { type Call, type CommandSpec, KvError, reads, WRONG_TYPE } from './command.ts';
import { listKeys, scanKeys } from './scan.ts';
import type { KeySpace } from './space.ts';

function removePlain(call: Call): void {
  const { args, space } = call;
  for (let index = 1; index < args.count; index++) if (space.isHash(args.argument(index))) throw new KvError(WRONG_TYPE);
  let removed = 0;
  for (let index = 1; index < args.count; index++) if (space.remove(args.argument(index))) removed += 1;
  call.out.integer(removed);
}

function countPlain({ args, space, out }: Call): void {
  let there = 0;
  for (let index = 1; index < args.count; index++) if (isPlain(space, args.argument(index))) there += 1;
  out.integer(there);
}

function isPlain(space: KeySpace, key: Uint8Array): boolean {
  return !space.isHash(key) && space.has(key);
}

function counting(name: string): CommandSpec {
  return { name, arity: -2, flags: ['readonly'], keys: [1, -1, 1], route: 'sum', isInternal: true, run: countPlain };
}

const NO_KEYS = [0, 0, 0] as const;

/** By the names of the commands that they stand for. The gateway chooses them; clients cannot. */
export const PLAIN_COMMANDS: Readonly<Record<'del' | 'unlink' | 'exists' | 'touch' | 'type' | 'keys' | 'scan', CommandSpec>> = {
  del: { name: 'del plain', arity: -2, flags: ['write'], keys: [1, -1, 1], route: 'sum', isInternal: true, run: removePlain },
  unlink: {
    name: 'unlink plain',
    arity: -2,
    flags: ['write'],
    keys: [1, -1, 1],
    route: 'sum',
    isInternal: true,
    run: removePlain,
  },
  exists: counting('exists plain'),
  touch: counting('touch plain'),
  type: {
    ...reads('type plain', 2, ({ args, space, out }) => out.simple(isPlain(space, args.argument(1)) ? 'string' : 'none')),
    isInternal: true,
  },
  keys: {
    name: 'keys plain',
    arity: 2,
    flags: ['readonly'],
    keys: NO_KEYS,
    route: 'workers',
    merge: 'unique',
    isInternal: true,
    run: (call) => listKeys(call, false),
  },
  scan: {
    name: 'scan plain',
    arity: -2,
    flags: ['readonly'],
    keys: NO_KEYS,
    route: 'scan',
    isInternal: true,
    run: (call) => scanKeys(call, false),
  },
};
