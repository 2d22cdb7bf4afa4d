/**
 * What is new in a map since a client's last sync.
 *
 *   lastSyncTimestamp of the client's own    records with a later clock, and nothing else
 *   one that this server gave                as above, and whatever came here since that second, whatever its clock says
 *
 * A write may come late: made offline, or by a slow clock. By clocks alone a client that asks every few seconds would miss
 * it for ever, so a timestamp of ours counts as a moment of this server: some records of its second come twice, none is
 * left out. Who was away for longer than the server runs, or since a worker was replaced, which does not know when its records came, or
 * for longer than tombstones are kept, is told to start again.
 */
import type { PagePosition, SeenRecord } from '../../engine/domains/records/record-requests.ts';
import { decode } from '../../engine/protocol/codec.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { decodeText, encodeText } from '../../engine/protocol/wire-text.ts';
import { doorRefusalOf } from '../map-names.ts';
import type { HttpDoor } from './http-door.ts';
import { cursorText, positionOfCursor } from './page-cursor.ts';
import { RecordDoor } from './record-door.ts';
import type { Subject } from './route.ts';
import type { SyncRequest, SyncResponse } from './sync-messages.ts';

type SyncMap = NonNullable<NonNullable<SyncRequest['syncMaps']>[number]>;
export type Delta = NonNullable<SyncResponse['deltas']>[number];
type Timestamp = Delta['serverSyncTimestamp'];

const PAGE_RECORDS = 10_000;
const PAGE_BYTES_MAX = 1024 * 1024;

export class DeltaReader {
  readonly #door: HttpDoor;
  readonly #records: RecordDoor;
  readonly #subject: Subject;

  constructor(door: HttpDoor, subject: Subject) {
    this.#door = door;
    this.#records = new RecordDoor(door);
    this.#subject = subject;
  }

  /** True when what was removed since then may be forgotten here, or what came late cannot be told, or other rows are seen now. */
  #isTooLongAgo(millis: number, isOurs: boolean): boolean {
    const door = this.#door;
    if (millis === 0) return false;
    if (isOurs && millis < door.remembersSinceMs()) return true;
    return millis < door.pruneWatermarkMs() || door.policiesChangedSince(millis);
  }

  #assertRemembered(millis: number, isOurs: boolean): void {
    if (this.#isTooLongAgo(millis, isOurs))
      throw new GridError('STALE_OPERATION', 'the last sync is too long ago to be caught up: sync from millis 0');
  }

  /** Rejects with GridError: FORBIDDEN, STALE_OPERATION when the client must start again, BAD_REQUEST for a bad cursor. */
  async read({ mapName, lastSyncTimestamp, cursor }: SyncMap): Promise<Delta> {
    const refusal = doorRefusalOf(encodeText(mapName));
    if (refusal !== undefined) throw new GridError(refusal, 'map name refused');
    const { access } = this.#subject;
    if (!access.may('read', mapName)) throw new GridError('FORBIDDEN', `read access denied for map: ${mapName}`);
    const { millis, counter, nodeId } = lastSyncTimestamp;
    const isOurs = nodeId === this.#door.nodeId;
    this.#assertRemembered(millis, isOurs);
    // Before the workers are asked: what comes while they answer is new at the next sync.
    const begun = cursor == null ? this.#door.now() : undefined;
    const from = cursor == null ? undefined : placeOf(cursor, this.#door.nodeId);
    const page = await this.#records.page(mapName, {
      after: from?.after,
      limit: PAGE_RECORDS,
      bytesMax: PAGE_BYTES_MAX,
      withValues: true,
      since: { millis, counter, node: encodeText(nodeId), ...(isOurs ? { arrivedS: Math.floor(millis / 1000) } : {}) },
      scope: access.scope,
    });
    this.#assertRemembered(millis, isOurs); // a worker may have been replaced meanwhile
    const serverSyncTimestamp = begun ?? from?.begun ?? this.#door.now();
    const delta = { mapName, records: page.records.map(deltaRecord), serverSyncTimestamp };
    if (page.next === undefined) return delta;
    // Until the last page is there the client is as far as it was.
    const nextCursor = `${serverSyncTimestamp.millis}.${serverSyncTimestamp.counter}.${cursorText(page.next)}`;
    return { ...delta, serverSyncTimestamp: { millis, counter, nodeId }, hasMore: true, nextCursor };
  }
}

function deltaRecord({ key, value, millis, counter, node, ttlMs, isRemoval }: SeenRecord): Delta['records'][number] {
  const timestamp = { millis, counter, nodeId: decodeText(node, 0, node.length) };
  return {
    key: decodeText(key, 0, key.length),
    record: { value: value === undefined ? null : decode(value), timestamp, ...(ttlMs === undefined ? {} : { ttlMs }) },
    eventType: isRemoval ? 'REMOVE' : 'PUT',
  };
}

/** The place of a page in a walk, and when the walk began. */
function placeOf(text: string, nodeId: string): { after: PagePosition | undefined; begun: Timestamp } {
  const [, millis, counter, rest] = /^(\d{1,16})\.(\d{1,10})\.([\w-]+)$/.exec(text) ?? [];
  if (rest === undefined) throw new GridError('BAD_REQUEST', 'cursor: not one that this server gave');
  return { after: positionOfCursor(rest), begun: { millis: Number(millis), counter: Number(counter), nodeId } };
}
