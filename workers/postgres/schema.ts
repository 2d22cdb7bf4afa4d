/**
 * The tables of schema `lattice`, made and changed by numbered migrations.
 *
 *   lattice.lww            one row a key; value NULL = tombstone        primary key (partition, map, key)
 *   lattice.or_map         one row a tag                                primary key (partition, map, key, tag)
 *   lattice.counter        one row a node of a PN counter               primary key (partition, name, node)
 *   lattice.counter_value  a view for people: what counters add up to
 *   lattice.dead_letters   writes given up, with bytes and reason       primary key (digest of the write)
 *   lattice.meta           owner epoch, node id, secrets, watermarks    primary key (key)
 *   lattice.clock_quarantine  fixed clock offset of a node              primary key (node)
 *   lattice.definition     schemas, indexes, policies: every version    primary key (kind, name, version)
 *   lattice.audit          what was changed through the administration  primary key (id)
 *   lattice.record         a view for people: text and jsonb
 *
 * Names, keys, tags and nodes are bytea: any bytes may come, and bytes are what merging compares. Clocks are float8,
 * which holds exactly what memory holds. The partition leads the primary keys: it follows from the key, so identity
 * is the same, one index serves both the look-up of a key and the load of some partitions, and no second one costs
 * every insert. Half of all partitions are read by a sequential scan anyway, a few by the index.
 */
import { fnv1a } from '../../engine/partition/hash.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { PgSession } from './pg-session.ts';

/** First half of our advisory locks' keys; the second says which lock. */
export const LOCK_CLASS = fnv1a('lattice') | 0;
export const LOCK_OWNER = 1;
const LOCK_MIGRATION = 2;

interface Migration {
  readonly name: string;
  readonly sql: string;
}

/** Position plus one is the version. Append only: a released migration is never edited. */
export const MIGRATIONS: readonly Migration[] = [
  {
    name: 'records, counters, dead letters, meta and the view for people',
    sql: `
create table lattice.lww (
  partition smallint not null,
  map bytea not null,
  key bytea not null,
  millis float8 not null,
  counter float8 not null,
  node bytea not null,
  ttl_ms float8,
  value bytea,
  json jsonb,
  provenance smallint not null,
  updated_at timestamptz not null default now(),
  primary key (partition, map, key)
) with (fillfactor = 90);

create table lattice.or_map (
  partition smallint not null,
  map bytea not null,
  key bytea not null,
  tag bytea not null,
  millis float8 not null,
  counter float8 not null,
  node bytea not null,
  ttl_ms float8,
  tombstone boolean not null,
  value bytea,
  json jsonb,
  provenance smallint not null,
  updated_at timestamptz not null default now(),
  primary key (partition, map, key, tag)
) with (fillfactor = 90);

create table lattice.counter (
  name bytea not null,
  node bytea not null,
  positive float8 not null,
  negative float8 not null,
  updated_at timestamptz not null default now(),
  primary key (name, node)
);

create table lattice.dead_letters (
  digest bytea primary key,
  kind smallint not null,
  partition smallint not null,
  map bytea not null,
  key bytea not null,
  tag bytea not null,
  millis float8 not null,
  counter float8 not null,
  node bytea not null,
  ttl_ms float8,
  tombstone boolean not null,
  value bytea,
  provenance smallint not null,
  reason text not null,
  applied boolean not null,
  buried_at timestamptz not null default now()
);

create table lattice.meta (
  key text primary key,
  value text not null,
  updated_at timestamptz not null default now()
);
insert into lattice.meta (key, value) values ('owner_epoch', '0');

create table lattice.clock_quarantine (
  node bytea primary key,
  offset_ms float8 not null,
  since timestamptz not null default now()
);

create function lattice.text_of(bytes bytea) returns text language plpgsql immutable strict parallel safe as $$
begin
  return convert_from(bytes, 'UTF8');
exception when others then
  return encode(bytes, 'escape');
end $$;
comment on function lattice.text_of is 'The text that the bytes spell in UTF-8; when they spell none, the bytes with escapes.';

create function lattice.time_of(millis float8) returns timestamptz language sql immutable strict parallel safe as
  $$ select case when millis between -1e14 and 1e14 then to_timestamp(millis / 1000) end $$;

create view lattice.record as
  select 'lww' as kind, lattice.text_of(map) as map, lattice.text_of(key) as key, null::text as tag, json as value,
    value is null as tombstone, lattice.time_of(millis) as written_at, lattice.time_of(millis + ttl_ms) as expires_at,
    millis, counter, lattice.text_of(node) as node, partition, updated_at, value as value_msgpack
  from lattice.lww
union all
  select 'or', lattice.text_of(map), lattice.text_of(key), lattice.text_of(tag), json,
    tombstone, lattice.time_of(millis), lattice.time_of(millis + ttl_ms),
    millis, counter, lattice.text_of(node), partition, updated_at, value
  from lattice.or_map;
comment on view lattice.record is 'Every record for people to read. value is NULL for a tombstone and for what JSON cannot hold.';`,
  },
  {
    name: 'definitions of schemas, indexes and policies',
    sql: `
create table lattice.definition (
  kind text not null,
  name text not null,
  version int not null,
  body text,
  changed_by text not null,
  changed_at timestamptz not null default now(),
  primary key (kind, name, version)
);
comment on table lattice.definition is 'What was defined for the whole node. The highest version holds; a NULL body removes it.';`,
  },
  {
    name: 'the audit of the administration',
    sql: `
create table lattice.audit (
  id int8 generated always as identity primary key,
  at timestamptz not null default now(),
  subject text not null,
  address text not null,
  action text not null,
  target text not null,
  outcome text not null
);`,
  },
  {
    name: 'counters by partition, with the owner of each node; no version before this one wrote any',
    sql: `
drop table lattice.counter;
create table lattice.counter (
  partition smallint not null,
  name bytea not null,
  node bytea not null,
  owner bytea not null,
  positive float8 not null,
  negative float8 not null,
  updated_at timestamptz not null default now(),
  primary key (partition, name, node)
);
create view lattice.counter_value as
  select lattice.text_of(name) as name, sum(positive) - sum(negative) as value, count(*) as nodes, max(updated_at) as updated_at
  from lattice.counter group by name;
comment on view lattice.counter_value is 'Every PN counter for people to read.';`,
  },
];

/** The version that this program writes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Brings the schema to this program's version, in one transaction; programs that start together wait for each other.
 * Rejects with GridError STORAGE_VERSION when a newer program was here.
 */
export async function migrate(session: PgSession, migrations: readonly Migration[] = MIGRATIONS): Promise<void> {
  await session.transaction(`select pg_advisory_xact_lock(${LOCK_CLASS}, ${LOCK_MIGRATION})`, async () => {
    const stored = await storedVersion(session);
    if (stored > migrations.length) {
      const message = `the database was written by schema version ${stored}, this program knows versions up to ${migrations.length}`;
      throw new GridError('STORAGE_VERSION', message);
    }
    for (const [index, migration] of migrations.entries()) {
      if (index < stored) continue;
      await session.script(migration.sql);
      await session.rows('insert into lattice.migration (version, name) values ($1::int, $2)', [index + 1, migration.name]);
    }
  });
}

/** 0 for a database without our tables. Creates the schema and the list of migrations. */
async function storedVersion(session: PgSession): Promise<number> {
  const [found] = await session.script(`select to_regclass('lattice.migration') is not null as found`);
  if (found?.found !== true) {
    await session.script(
      `create schema if not exists lattice;
       create table lattice.migration (version int primary key, name text not null, applied_at timestamptz not null default now())`,
    );
  }
  const [row] = await session.script('select coalesce(max(version), 0)::int as version from lattice.migration');
  return Number(row?.version);
}
