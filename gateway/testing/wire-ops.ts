/** Ops and frames as tests send them by hand. */
import type { Message } from './client-codec.ts';

export interface WireStamp {
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
}

let counter = 0;

/** A stamp later than all others of this process. */
export function nextStamp(nodeId = 'aa01'): WireStamp {
  counter += 1;
  return { millis: Date.now(), counter, nodeId };
}

export function put(
  id: string | undefined,
  mapName: string,
  key: string,
  value: unknown,
  timestamp: WireStamp = nextStamp(),
): Message {
  return { mapName, opType: 'PUT', key, record: { value, timestamp }, timestamp, synced: false, id };
}

export function orAdd(
  id: string | undefined,
  mapName: string,
  key: string,
  value: unknown,
  timestamp: WireStamp = nextStamp(),
): Message {
  return { mapName, opType: 'OR_ADD', key, orRecord: { value, timestamp, tag: tagOf(timestamp) }, timestamp, synced: false, id };
}

export function orRemove(id: string | undefined, mapName: string, key: string, orTag: string): Message {
  return { mapName, opType: 'OR_REMOVE', key, orTag, timestamp: nextStamp(), synced: false, id };
}

export function tagOf({ millis, counter: count, nodeId }: WireStamp): string {
  return `${millis}:${count}:${nodeId}`;
}

/** A name that no other test uses. */
export function uniqueName(prefix: string): string {
  names += 1;
  return `${prefix}-${process.pid}-${names}`;
}

let names = 0;
