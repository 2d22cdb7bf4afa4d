/**
 * A store inside a process, filled with records: what a million of them cost in memory and time. One run a process, with
 * `--expose-gc`: garbage is collected before memory is read.
 */
import { importPeer } from './peer-packages.ts';
import { keyOf, recordValue } from './memory-records.ts';

export const MEMORY_STORES = ['js-map', 'y-map', 'tinybase'] as const;
export type MemoryStoreName = (typeof MEMORY_STORES)[number];

/** What one run does. Plain data: it crosses from the harness. */
export interface MemoryPlan {
  readonly store: MemoryStoreName;
  readonly records: number;
}

export interface MemoryReport {
  readonly rssGrowthBytes: number;
  readonly loadMs: number;
  /** Records that the store says it has. */
  readonly records: number;
}

/** As much of a store as is measured. */
interface FilledStore {
  set(key: string, value: string): void;
  size(): number;
}

interface Yjs {
  Doc: new () => { getMap(name: string): { set(key: string, value: string): void; readonly size: number } };
}

interface TinyBase {
  createMergeableStore(id: string): {
    setCell(table: string, row: string, cell: string, value: string): void;
    getRowCount(table: string): number;
  };
}

async function openStore(name: MemoryStoreName): Promise<FilledStore> {
  switch (name) {
    case 'js-map': {
      const map = new Map<string, { value: string; millis: number }>();
      return { set: (key, value) => void map.set(key, { value, millis: map.size }), size: () => map.size };
    }
    case 'y-map': {
      const { Doc } = await importPeer<Yjs>('yjs');
      const map = new Doc().getMap('records');
      return { set: (key, value) => map.set(key, value), size: () => map.size };
    }
    case 'tinybase': {
      const { createMergeableStore } = await importPeer<TinyBase>('tinybase');
      const store = createMergeableStore('bench');
      return { set: (key, value) => store.setCell('records', key, 'value', value), size: () => store.getRowCount('records') };
    }
  }
}

async function run({ store: name, records }: MemoryPlan): Promise<MemoryReport> {
  const store = await openStore(name);
  const rssBefore = rssWithoutGarbage();
  const startMs = performance.now();
  for (let record = 0; record < records; record++) store.set(flat(keyOf(record)), flat(recordValue(record)));
  const loadMs = performance.now() - startMs;
  return { rssGrowthBytes: rssWithoutGarbage() - rssBefore, loadMs, records: store.size() };
}

function rssWithoutGarbage(): number {
  globalThis.gc?.();
  return process.memoryUsage.rss();
}

/** As if read from a socket: what is cut from a string, or put together of several, keeps those in memory. */
function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

process.once('message', (plan: MemoryPlan) => {
  void run(plan).then((report) => process.send?.(report, () => process.disconnect()));
});
