/**
 * What this worker holds of each map, for the administration: counts and bytes, no keys and no values.
 */
import type { RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { decode, encode, toBytes } from '../../protocol/codec.ts';
import { REQUEST_MAP_STATS } from '../../protocol/envelope.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import { KIND_LWW } from '../../storage/record.ts';
import type { GridMap, MapCatalogue } from '../crdt/map-catalogue.ts';

/** One map on one worker, or, added up, on all. */
export interface MapStats {
  /** Live keys of last-writer-wins maps. */
  entries: number;
  /** Live tags of observed-remove maps. */
  tags: number;
  tombstones: number;
  /** Memory of the records, indexes left out. */
  bytes: number;
  /** Records whose value only Postgres has. */
  evicted: number;
}

export class MapStatsHandler implements RequestHandler {
  readonly kinds: readonly number[] = [REQUEST_MAP_STATS];
  readonly writeKinds: readonly number[] = [];
  readonly #maps: MapCatalogue;

  constructor(maps: MapCatalogue) {
    this.#maps = maps;
  }

  answer(): RequestAnswer {
    const rows = [...this.#maps.maps()].map((map) => {
      const { entries, tags, tombstones, bytes, evicted } = statsOf(map);
      return [map.name, entries, tags, tombstones, bytes, evicted];
    });
    return [encode(rows).slice()];
  }
}

function statsOf(map: GridMap): MapStats {
  const stats: MapStats = { entries: 0, tags: 0, tombstones: 0, bytes: 0, evicted: 0 };
  for (const store of map.stores()) {
    const live = store.records - store.tombstones;
    if (store.kind === KIND_LWW) stats.entries += live;
    else stats.tags += live;
    stats.tombstones += store.tombstones;
    stats.bytes += store.bytes;
    stats.evicted += store.evicted;
  }
  return stats;
}

/** Adds the answers of all workers up, by the map's name. */
export function addMapStats(answers: readonly Uint8Array[]): Map<string, MapStats> {
  const total = new Map<string, MapStats>();
  for (const answer of answers) {
    const rows = decode(answer);
    for (const row of Array.isArray(rows) ? rows : []) addRow(total, Array.isArray(row) ? row : []);
  }
  return total;
}

function addRow(total: Map<string, MapStats>, row: readonly unknown[]): void {
  const [nameBytes, entries, tags, tombstones, bytes, evicted] = row;
  const named = toBytes(nameBytes) ?? new Uint8Array(0);
  const name = decodeText(named, 0, named.length);
  const stats = total.get(name) ?? { entries: 0, tags: 0, tombstones: 0, bytes: 0, evicted: 0 };
  stats.entries += count(entries);
  stats.tags += count(tags);
  stats.tombstones += count(tombstones);
  stats.bytes += count(bytes);
  stats.evicted += count(evicted);
  total.set(name, stats);
}

function count(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
