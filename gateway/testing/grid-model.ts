/**
 * What a grid must hold after a set of writes, in whatever order they came: the models of engine/crdt, by map.
 */
import { encode } from '@msgpack/msgpack';
import { type LwwRecord, LwwMap, OrMap } from '../../engine/crdt/model.ts';
import type { ClientOp } from './client-op-log.ts';

export class GridModel {
  readonly lww = new Map<string, LwwMap>();
  readonly or = new Map<string, OrMap>();

  /** Joins one write. Bound, so that it can be handed to clients. */
  readonly take = (op: Omit<ClientOp, 'id' | 'synced'>): void => {
    const { mapName, key, record, orRecord, orTag } = op;
    if (record !== undefined) this.lwwMap(mapName).put(key, modelRecord(record));
    if (orRecord !== undefined) this.orMap(mapName).add(key, { ...orRecord, ...orRecord.timestamp });
    if (orTag !== undefined) this.orMap(mapName).remove(orTag);
  };

  lwwMap(mapName: string): LwwMap {
    const map = this.lww.get(mapName) ?? new LwwMap();
    this.lww.set(mapName, map);
    return map;
  }

  orMap(mapName: string): OrMap {
    const map = this.or.get(mapName) ?? new OrMap();
    this.or.set(mapName, map);
    return map;
  }

  roots(): Map<string, number> {
    const trees = [...this.lww, ...this.or].map(([name, map]) => [name, map.tree().root] as const);
    return new Map(trees.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

function modelRecord({ value, timestamp }: NonNullable<ClientOp['record']>): LwwRecord {
  return { ...timestamp, value: value === null ? new Uint8Array(0) : encode(value) };
}
