/**
 * The guards of the data store, in SQL: rows gathered in a temporary table join the stored ones.
 *
 *   COPY ─▶ pg_temp.lattice_batch ─▶ INSERT … ON CONFLICT DO UPDATE … WHERE newer ─▶ lattice.lww, lattice.or_map
 *             kind 0 LWW, 1 OR         DELETE … WHERE tombstone, not newer
 *             +2 for a removal, 4 a counter   lattice.counter
 *
 * LWW rows compare (millis, counter, node bytes, value bytes), a tombstone's value as no bytes; OR rows only turn
 * from live to tombstone; a removal hits a tombstone whose clock is not newer, and dead letters; counters only grow. Repeats and
 * reordering therefore change nothing. The DISTINCT forms take a batch that may name a record twice; they sort,
 * so the plain ones are used where the batch knows that it does not. One table for all kinds, because emptying a
 * temporary table at the commit costs near a millisecond.
 */
import { KIND_COUNTER, KIND_LWW, type RecordKind } from '../../engine/storage/record.ts';

/** Columns of the temporary table, in the order of its COPY. */
const BATCH_COLUMNS = 'kind, partition, map, key, tag, millis, counter, node, ttl_ms, tombstone, value, json, provenance';
export const BATCH_COLUMN_COUNT = 13;
/** Added to the kind of a record that is to be removed. */
export const PRUNE_KIND = 2;

const LWW_COLUMNS = 'partition, map, key, millis, counter, node, ttl_ms, value, json, provenance';
const OR_COLUMNS = 'partition, map, key, tag, millis, counter, node, ttl_ms, tombstone, value, json, provenance';

/** Made once a session. */
export const CREATE_BATCH_TABLE = `
create temporary table if not exists lattice_batch (kind smallint, partition smallint, map bytea, key bytea, tag bytea,
  millis float8, counter float8, node bytea, ttl_ms float8, tombstone boolean, value bytea, json jsonb, provenance smallint)
on commit delete rows`;

export const COPY_BATCH = `copy pg_temp.lattice_batch (${BATCH_COLUMNS}) from stdin (format binary)`;

/** @param repeats True when a key may stand in the batch more than once. */
export function mergeLww(repeats: boolean): string {
  const newest = `order by partition, map, key, millis desc, counter desc, node desc, coalesce(value, '') desc`;
  return `
insert into lattice.lww as stored (${LWW_COLUMNS})
select ${repeats ? 'distinct on (partition, map, key)' : ''} ${LWW_COLUMNS} from pg_temp.lattice_batch where kind = 0 ${repeats ? newest : ''}
on conflict (partition, map, key) do update set ${setAll('millis, counter, node, ttl_ms, value, json, provenance')}
where (excluded.millis, excluded.counter, excluded.node, coalesce(excluded.value, ''))
    > (stored.millis, stored.counter, stored.node, coalesce(stored.value, ''))`;
}

/** The first of a tag in a batch is the one that counts (ctid is the order of arrival), any tombstone before it. */
export function mergeOr(repeats: boolean): string {
  return `
insert into lattice.or_map as stored (${OR_COLUMNS})
select ${repeats ? 'distinct on (partition, map, key, tag)' : ''} ${OR_COLUMNS} from pg_temp.lattice_batch where kind = 1
${repeats ? 'order by partition, map, key, tag, tombstone desc, ctid' : ''}
on conflict (partition, map, key, tag) do update
set ${setAll('millis, counter, node, ttl_ms, tombstone, value, json, provenance')}
where excluded.tombstone and not stored.tombstone`;
}

/**
 * The planner knows nothing of the temporary table: kept from reading the whole stored one to join it. Dead letters of
 * what is removed are kept for people, but not loaded again: with the tombstone gone they would bring the record back.
 */
export const PRUNE = `
update lattice.dead_letters letter set applied = false from pg_temp.lattice_batch pruned
where letter.applied and pruned.kind = letter.kind + ${PRUNE_KIND} and letter.partition = pruned.partition
  and letter.map = pruned.map and letter.key = pruned.key and letter.tag = pruned.tag
  and (letter.millis, letter.counter, letter.node) <= (pruned.millis, pruned.counter, pruned.node);
set local enable_hashjoin = off; set local enable_mergejoin = off;
delete from lattice.lww stored using pg_temp.lattice_batch pruned
where pruned.kind = 2 and stored.partition = pruned.partition and stored.map = pruned.map and stored.key = pruned.key
  and stored.value is null
  and (stored.millis, stored.counter, stored.node) <= (pruned.millis, pruned.counter, pruned.node);
delete from lattice.or_map stored using pg_temp.lattice_batch pruned
where pruned.kind = 3 and stored.partition = pruned.partition and stored.map = pruned.map and stored.key = pruned.key
  and stored.tag = pruned.tag and stored.tombstone
  and (stored.millis, stored.counter, stored.node) <= (pruned.millis, pruned.counter, pruned.node)`;

/**
 * Joins the sums of counters' nodes: the map is '', the key the counter, the tag the owner ('' = none yet), millis what was
 * added, ttl_ms what was subtracted. A node may stand in the batch more than once.
 */
export const MERGE_COUNTERS = `
insert into lattice.counter as stored (partition, name, node, owner, positive, negative)
select partition, key, node, (array_agg(tag order by tag desc))[1], max(millis), max(ttl_ms) from pg_temp.lattice_batch where kind = ${KIND_COUNTER}
group by partition, key, node
on conflict (partition, name, node) do update set positive = greatest(stored.positive, excluded.positive),
  negative = greatest(stored.negative, excluded.negative), owner = case when stored.owner = '' then excluded.owner else stored.owner end,
  updated_at = now()
where excluded.positive > stored.positive or excluded.negative > stored.negative`;

/** Buries a write once: $1 digest, then the columns. One that was rejected before and is applied now will be loaded. */
export const BURY = `
insert into lattice.dead_letters as stored (digest, kind, partition, map, key, tag, millis, counter, node, ttl_ms, tombstone, value, provenance, reason, applied)
values ($1::bytea, $2::int2, $3::int2, $4::bytea, $5::bytea, $6::bytea, $7::float8, $8::float8, $9::bytea, $10::float8, $11::boolean,
  $12::bytea, $13::int2, $14, $15::boolean)
on conflict (digest) do update set applied = true, reason = excluded.reason where excluded.applied and not stored.applied`;

/** Columns of the COPY that loads, the same for each table. */
export const LOAD_COLUMN_COUNT = 11;

/** One COPY a table; `partitions` undefined means all. */
export function loadStatements(partitions: readonly number[] | undefined): readonly string[] {
  const ours = partitions === undefined ? 'true' : `partition = any ('{${partitions.map(Number).join(',')}}'::smallint[])`;
  const copy = (columns: string, table: string, which = ours): string =>
    `copy (select ${columns} from lattice.${table} where ${which}) to stdout (format binary)`;
  const rest = 'node, value, millis, counter, ttl_ms';
  return [
    copy(`0::int2, map, key, ''::bytea, ${rest}, value is null, provenance`, 'lww'),
    copy(`1::int2, map, key, tag, ${rest}, tombstone, provenance`, 'or_map'),
    copy(
      `${KIND_COUNTER}::int2, ''::bytea, name, owner, node, null::bytea, positive, 0::float8, negative, false, 0::int2`,
      'counter',
    ),
    copy(`kind, map, key, tag, ${rest}, tombstone, provenance`, 'dead_letters', `applied and ${ours}`),
  ];
}

/**
 * Rows and applied dead letters of some records of a map: $1 map, $2 partitions, $3 keys, and of an OR-Map $4 tags, of one
 * length. The limit keeps the planner from joining the whole table: each record is looked up by its primary key.
 */
export function readStatement(kind: RecordKind): string {
  const isLww = kind === KIND_LWW;
  const tags = isLww ? '' : ', $4::bytea[]';
  const wanted = `unnest($2::smallint[], $3::bytea[]${tags}) as wanted (partition, key${isLww ? '' : ', tag'})`;
  const own = `stored.partition = wanted.partition and stored.map = $1::bytea and stored.key = wanted.key
    ${isLww ? '' : 'and stored.tag = wanted.tag'}`;
  const row = isLww
    ? `select key, ''::bytea as tag, node, value, millis, counter, ttl_ms, value is null as tombstone, provenance from lattice.lww stored`
    : `select key, tag, node, value, millis, counter, ttl_ms, tombstone, provenance from lattice.or_map stored`;
  return `
select found.* from ${wanted} cross join lateral (${row} where ${own} limit 1) found
union all
select stored.key, stored.tag, stored.node, stored.value, stored.millis, stored.counter, stored.ttl_ms, stored.tombstone, stored.provenance
from ${wanted} join lattice.dead_letters stored on ${own} where stored.applied and stored.kind = ${kind}`;
}

function setAll(columns: string): string {
  const assignments = columns.split(', ').map((column) => `${column} = excluded.${column}`);
  return [...assignments, 'updated_at = now()'].join(', ');
}
