/**
 * The rows of FLUSH: small documents of eight fields, each under a key of its own, the same for every writer and every run.
 *
 * Made from their numbers alone, so that what the table must hold afterwards can be computed: an md5 over the md5s of all rows, in
 * the order of their keys, as `TABLE_DIGEST` has Postgres compute it.
 */
import { createHash } from 'node:crypto';
import { Packr } from 'msgpackr';
import { fnv1a } from '../../engine/partition/hash.ts';
import type { RecordImage } from '../../engine/storage/record.ts';

export const FLUSH_MAP = Buffer.from('flush');
/** Of Postgres's row of the same name: how many rows there are, and what they say, without and with their JSON. */
export const TABLE_DIGEST = `
select count(*)::int as rows, coalesce(md5(string_agg(
  md5(key || node || value || convert_to(millis::int8::text || ' ' || coalesce(json ->> 'id', ''), 'UTF8')), '' order by key)), '') as digest
from lattice.lww`;

const FIRST_MILLIS = 1_700_000_000_000;
const KEY_DIGITS = 8;
const NODE = Buffer.from('bench-01');
const PACKR = new Packr({ useRecords: false, variableMapSize: false });

/** A row, for a client that has objects. */
export interface FlushRow {
  readonly key: Buffer;
  readonly keyHash: number;
  readonly millis: number;
  readonly node: Buffer;
  readonly value: Buffer;
  readonly document: FlushDocument;
}

interface FlushDocument {
  readonly id: string;
}

export function flushRow(number: number): FlushRow {
  const digits = String(number).padStart(KEY_DIGITS, '0');
  const document = {
    id: `u-${digits}`,
    name: 'Ada Lovelace',
    email: 'ada@example.org',
    city: 'London, UK',
    age: 36,
    score: 12.5,
    active: true,
    tags: ['admin', 'beta'],
  };
  const key = `k-${digits}`;
  const value = Buffer.from(PACKR.pack(document)); // pack's answer lies in a buffer that is used again
  return { key: Buffer.from(key), keyHash: fnv1a(key), millis: FIRST_MILLIS + number, node: NODE, value, document };
}

/** Points `image` at the row, laid out in bytes of its own. */
export function pointAt(image: RecordImage, { key, keyHash, millis, node, value }: FlushRow): RecordImage {
  image.source = Buffer.concat([key, node, value]);
  image.keyHash = keyHash;
  image.keyStart = 0;
  image.keyBytes = key.length;
  image.nodeStart = key.length;
  image.nodeBytes = node.length;
  image.valueStart = key.length + node.length;
  image.valueBytes = value.length;
  image.millis = millis;
  return image;
}

/** What `TABLE_DIGEST` must answer after the rows from 0 on. */
export function expectedDigest(rows: number, json: boolean): { readonly rows: number; readonly digest: string } {
  const whole = createHash('md5');
  for (let number = 0; number < rows; number++) {
    const { key, node, value, millis, document } = flushRow(number);
    const row = createHash('md5').update(key).update(node).update(value);
    whole.update(row.update(`${millis} ${json ? document.id : ''}`).digest('hex'));
  }
  return { rows, digest: rows === 0 ? '' : whole.digest('hex') };
}
