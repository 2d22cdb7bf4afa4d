/**
 * What the TopGun client does with a change event. Their frames: docs/PROTOCOL.md §5.4; the rules are the client's.
 *
 * Events of maps that are not open and removals without a record mean nothing to it. An echo of its own value under a
 * stamp that is not above its own is adopted.
 */
import type { HybridLogicalClock } from '../../engine/crdt/hlc.ts';
import type { ServerEvent } from './client-fields.ts';
import { type ClientLwwMap, ClientOrMap, compareStampsOf, type LwwRecord } from './client-maps.ts';
import type { ClientMap } from './client-sync.ts';

export function applyEvent(map: ClientMap | undefined, event: ServerEvent, clock: HybridLogicalClock): void {
  if (map === undefined) return;
  if (map instanceof ClientOrMap) return applyOrEvent(map, event, clock);
  if (event.record === undefined) return;
  clock.update(event.record.timestamp);
  if (!map.merge(event.key, event.record)) adoptEcho(map, event.key, event.record);
}

function applyOrEvent(map: ClientOrMap, { eventType, key, orRecord, orTag }: ServerEvent, clock: HybridLogicalClock): void {
  if (eventType === 'OR_REMOVE' && orTag !== undefined) map.applyTombstone(orTag);
  if (eventType !== 'OR_ADD' || orRecord === undefined) return;
  map.apply(key, orRecord);
  clock.update(orRecord.timestamp);
}

function adoptEcho(map: ClientLwwMap, key: string, record: LwwRecord): void {
  const local = map.records.get(key);
  if (local === undefined || compareStampsOf(record.timestamp, local.timestamp) > 0) return;
  if (JSON.stringify(local.value) !== JSON.stringify(record.value)) return;
  map.records.set(key, { ...local, timestamp: record.timestamp });
}
