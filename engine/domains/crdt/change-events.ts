/**
 * Change events of one drained batch, encoded once per change, gathered per gateway.
 *
 * An event is the MessagePack map `{mapName, eventType, key, record | orRecord | orTag}` of docs/PROTOCOL.md §5.4,
 * built from the record as it was merged: what a quarantined clock sent is not passed on, a removal always carries
 * its record, and `ttlMs` is left out where there is none. A gateway gets the events that somebody there listens to.
 */
import { assert } from '../../assert.ts';
import { OP_OR_ADD, OP_OR_REMOVE, OP_PUT, OP_REMOVE } from '../../protocol/op-index.ts';
import { MessageWriter } from '../../protocol/msgpack-writer.ts';
import { EVENT_ROW, EVENT_ROW_WORDS } from '../../protocol/envelope.ts';
import type { RecordImage } from '../../storage/record.ts';
import type { GridMap } from './map-catalogue.ts';

const EVENT_NAMES = { [OP_PUT]: 'PUT', [OP_REMOVE]: 'REMOVE', [OP_OR_ADD]: 'OR_ADD', [OP_OR_REMOVE]: 'OR_REMOVE' } as const;
export type EventKind = keyof typeof EVENT_NAMES;

/** How many sessions of a gateway get every event; written by the gateway, read here. */
export interface Listeners {
  /** Sessions at `gateway` that get events of every map. */
  broadcastSessions(gateway: number): number;
}

/** Events for one gateway: rows of envelope.ts and the bytes they point into. */
export class EventBatch {
  count = 0;
  rows: Int32Array = new Int32Array(64 * EVENT_ROW_WORDS);
  readonly bodies: MessageWriter = new MessageWriter();

  add(origin: number, mapId: number, event: Uint8Array, eventBytes: number): void {
    if ((this.count + 1) * EVENT_ROW_WORDS > this.rows.length) this.#grow();
    const row = this.count * EVENT_ROW_WORDS;
    this.rows[row + EVENT_ROW.ORIGIN] = origin;
    this.rows[row + EVENT_ROW.MAP_ID] = mapId;
    this.rows[row + EVENT_ROW.START] = this.bodies.length;
    this.rows[row + EVENT_ROW.BYTES] = eventBytes;
    this.bodies.raw(event, 0, eventBytes);
    this.count += 1;
  }

  clear(): void {
    this.count = 0;
    this.bodies.reset();
  }

  #grow(): void {
    const rows = new Int32Array(this.rows.length * 2);
    rows.set(this.rows);
    this.rows = rows;
  }
}

export class ChangeEvents {
  /** One batch per gateway, emptied by the worker after each drain. */
  readonly batches: readonly EventBatch[];
  readonly #listeners: Listeners;
  readonly #event = new MessageWriter();

  constructor(gateways: number, listeners: Listeners) {
    this.batches = Array.from({ length: gateways }, () => new EventBatch());
    this.#listeners = listeners;
  }

  /** True when somebody may listen to changes of the map, at any gateway. */
  isHeard(map: GridMap): boolean {
    for (let target = 0; target < this.batches.length; target++) {
      if (map.wantedBy[target] === true || this.#listeners.broadcastSessions(target) > 0) return true;
    }
    return false;
  }

  /**
   * Notes that `image` is now the record of its key. `origin` is the writing session at `gateway` (0 = none), which
   * does not get the event; `writerListens` says whether it counts among its gateway's broadcast sessions.
   */
  changed(map: GridMap, kind: EventKind, image: RecordImage, gateway: number, origin: number, writerListens: boolean): void {
    let encoded = false;
    for (let target = 0; target < this.batches.length; target++) {
      const others = this.#listeners.broadcastSessions(target) - (target === gateway && writerListens ? 1 : 0);
      if (others <= 0 && map.wantedBy[target] !== true) continue;
      if (!encoded) {
        encodeEvent(this.#event, map.name, kind, image);
        encoded = true;
      }
      const batch = this.batches[target];
      batch?.add(target === gateway ? origin : 0, map.idAtGateway[target] ?? 0, this.#event.bytes, this.#event.length);
    }
  }
}

/** Writes the event that `image` is now the record of its key in `map`. */
export function encodeEvent(out: MessageWriter, map: Uint8Array, kind: EventKind, image: RecordImage): void {
  out.reset();
  out.mapHeader(4);
  out.string('mapName');
  out.stringBytes(map, 0, map.length);
  out.string('eventType');
  out.string(EVENT_NAMES[kind]);
  out.string('key');
  out.stringBytes(image.source, image.keyStart, image.keyBytes);
  if (kind === OP_OR_REMOVE) {
    out.string('orTag');
    out.stringBytes(image.source, image.tagStart, image.tagBytes);
    return;
  }
  out.string(kind === OP_OR_ADD ? 'orRecord' : 'record');
  encodeRecord(out, image);
}

/** Appends the record of an image as clients know it: `{value, timestamp, tag?, ttlMs?}`. */
export function encodeRecord(out: MessageWriter, image: RecordImage): void {
  assert(!image.evicted || image.valueBytes === 0, 'an evicted value must be read back before it is encoded');
  const hasTag = image.tagBytes > 0;
  const hasTtl = !Number.isNaN(image.ttlMs);
  out.mapHeader(2 + (hasTag ? 1 : 0) + (hasTtl ? 1 : 0));
  out.string('value');
  if (image.valueBytes === 0) out.nil();
  else out.raw(image.source, image.valueStart, image.valueBytes);
  out.string('timestamp');
  out.mapHeader(3);
  out.string('millis');
  out.number(image.millis);
  out.string('counter');
  out.number(image.counter);
  out.string('nodeId');
  out.stringBytes(image.source, image.nodeStart, image.nodeBytes);
  if (hasTag) {
    out.string('tag');
    out.stringBytes(image.source, image.tagStart, image.tagBytes);
  }
  if (hasTtl) {
    out.string('ttlMs');
    out.number(image.ttlMs);
  }
}
