/** All ways in beside the map ops of the WebSocket, and the maps that are written through them. */
import { CounterDoor } from './counter-door.ts';
import type { Door, DoorOptions } from './door.ts';
import { HTTP_MAP, HttpDoor } from './http-door.ts';
import { JournalDoor } from './journal-door.ts';
import { LockDoor } from './lock-door.ts';
import { DATABASE_MAP, HASH_MAP, RespDoor } from './resp-door.ts';

export const DOOR_MAPS = [HTTP_MAP, HASH_MAP, DATABASE_MAP] as const;

export interface DoorKind {
  /** Begins the names of its writers. */
  readonly letter: string;
  /** True: one writer is enough, whatever the load. */
  readonly isSingle: boolean;
  readonly make: (options: DoorOptions) => Door;
}

export const DOORS: readonly DoorKind[] = [
  { letter: 'h', isSingle: false, make: (options) => new HttpDoor(options) },
  { letter: 'r', isSingle: false, make: (options) => new RespDoor(options) },
  { letter: 'c', isSingle: false, make: (options) => new CounterDoor(options) },
  { letter: 'l', isSingle: true, make: (options) => new LockDoor(options) },
  { letter: 'j', isSingle: true, make: (options) => new JournalDoor(options) },
];
