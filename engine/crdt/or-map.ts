/**
 * Observed-remove map, the pure rules. A key holds a set of records, each under a tag that is unique for ever.
 *
 *   live ──remove──► tombstone          a tombstone never comes back; a remove deletes only the tags it names
 *   join of one tag: tombstone = old or new; the value never changes (the first one stays)
 *
 * The hash of a key reproduces the client's text exactly, allow-list quirk included, so that equal sets are recognised
 * by one number. It needs decoded values: it is computed when somebody syncs, not when somebody writes. Tombstones
 * are not hashed.
 *
 * Source: Shapiro et al., "A comprehensive study of CRDTs" (2011), OR-Set; docs/PROTOCOL.md §4.3, §5.6.
 */
import { fnv1a } from '../partition/hash.ts';
import { valueText } from './value-text.ts';

/** A live record of a key, decoded. */
export interface OrRecord {
  readonly tag: string;
  readonly value: unknown;
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
  /** Hashed whenever it is not undefined, null included: leave it out when there is none. */
  readonly ttlMs?: number | null | undefined;
}

/** Whether a tag is dead after both sides met. */
export function joinTombstone(isTombstone: boolean, isTombstoneToo: boolean): boolean {
  return isTombstone || isTombstoneToo;
}

/**
 * Hash of a key's live records in the Merkle tree, unsigned, in any order of `records`; 0 for none, since such a key
 * has no part in the tree. Throws TypeError when a value has a cycle or a bigint inside, which no decoder makes.
 */
export function orEntryHash(key: string, records: readonly OrRecord[]): number {
  if (records.length === 0) return 0;
  const byTag = [...records].sort(compareTags);
  return fnv1a([`key:${key}`, ...byTag.map(recordText)].join('|'));
}

/** The default order of strings in JavaScript: by UTF-16 code units, so '10:0:n' < '9:0:n'. */
function compareTags(a: OrRecord, b: OrRecord): number {
  return a.tag < b.tag ? -1 : a.tag > b.tag ? 1 : 0;
}

function recordText(record: OrRecord): string {
  const ttl = record.ttlMs === undefined ? '' : `:ttl=${record.ttlMs}`;
  return `${record.tag}:${valueText(record.value)}:${record.millis}:${record.counter}:${record.nodeId}${ttl}`;
}
