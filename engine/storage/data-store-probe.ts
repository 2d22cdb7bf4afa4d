/**
 * How tests write to a DataStore and read it back: one call a batch, records that own their bytes.
 */
import assert from 'node:assert/strict';
import { PARTITION_COUNT } from '../partition/hash.ts';
import type { DataStore } from './data-store.ts';
import { identityOf, imageOf, type StoredRecord, storedRecord } from './stored-record.ts';

export const DEADLINE_MS = 30_000;
export const ALL_PARTITIONS: readonly number[] = Array.from({ length: PARTITION_COUNT }, (_, index) => index);

/** Registers one test on an empty store, which is closed after it. */
export type StoreTest = (title: string, run: (store: DataStore) => Promise<void>) => void;

/** Commits `records` as one batch. */
export async function put(store: DataStore, ...records: readonly StoredRecord[]): Promise<void> {
  const batch = store.batch();
  for (const record of records) batch.put(record.kind, record.map, imageOf(record));
  const result = await batch.commit(DEADLINE_MS);
  assert.equal(result.rows, records.length);
}

/** Commits the removal of `records` as one batch. */
export async function prune(store: DataStore, ...records: readonly StoredRecord[]): Promise<void> {
  const batch = store.batch();
  for (const record of records) batch.prune(record.kind, record.map, imageOf(record));
  await batch.commit(DEADLINE_MS);
}

/** Commits a dead letter. */
export async function bury(store: DataStore, record: StoredRecord, reason: string, applied = true): Promise<void> {
  await store.bury({ kind: record.kind, map: record.map, reason, applied, record: imageOf(record) }, DEADLINE_MS);
}

/** Everything that `load` delivers, in the order of identities. */
export async function loadAll(store: DataStore, partitions: readonly number[] = ALL_PARTITIONS): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  await store.load(partitions, (kind, map, image) => records.push(storedRecord(kind, Uint8Array.from(map), image)));
  return sorted(records);
}

/** In the order of identities. */
export function sorted(records: readonly StoredRecord[]): StoredRecord[] {
  const named = records.map((record) => ({ name: identityOf(record), record }));
  named.sort((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0));
  return named.map(({ record }) => record);
}
