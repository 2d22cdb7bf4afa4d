/**
 * Makes the golden data directory of this version: node dist/scripts/golden-data.js [FOLDER]
 *
 *   FORMAT           as the server wrote it
 *   wal/*.wal        the log of a server that was killed while Postgres was away; zeros at the end left out
 *   postgres.sql     schema and rows at that moment (a cluster would be 40 MB)
 *   expected.json    what a client sees
 *   doors.json       what clients of Redis, of counters and of locks see
 *
 * Run it once a format, and when a format gets a new kind of content, before a release; keep the folder for ever:
 * gateway/golden-data.e2e.test.ts opens each.
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DATA_FORMAT } from '../workers/data-format.ts';
import { packageFolder } from '../workers/package-folder.ts';
import { MIGRATIONS } from '../workers/postgres/schema.ts';
import { removeStored, REFUSED_KEY, syncedPicture, writeLogged, writeStored } from '../gateway/testing/golden-data.ts';
import { type GoldenDoors, GoldenWriter, seenAtDoors } from '../gateway/testing/golden-doors.ts';
import { freePort } from '../gateway/testing/redis-server.ts';
import { ServerProcess } from '../gateway/testing/server-process.ts';
import { eventually, testStorage, type TestStorage } from '../gateway/testing/test-grid.ts';
import { TopGunClient } from '../gateway/testing/topgun-client.ts';

const AHEAD_MS = 7_200_000;
const TABLES = ['migration', 'lww', 'or_map', 'counter', 'dead_letters', 'meta', 'clock_quarantine'] as const;
/** In place of the real one: the folder is public. */
const SECRET = 'A'.repeat(43);

const REFUSAL = `
create function lattice.refuse() returns trigger language plpgsql as $$ begin raise exception 'refused by the golden data'; end $$;
create trigger refuse before insert or update on lattice.lww for each row
when (new.key = convert_to('${REFUSED_KEY}', 'utf8')) execute function lattice.refuse()`;

const folder = process.argv[2] ?? join(packageFolder(), 'gateway', 'fixtures', `data-format-${DATA_FORMAT}`);
await make(folder);
process.stderr.write(`${folder}\n`);
process.exit(0);

async function make(target: string): Promise<void> {
  const storage = await testStorage();
  const { dataDir, databaseUrl } = storage.config;
  const respPort = await freePort();
  const ports = ['--port', '0', '--resp-port', String(respPort)];
  const server = new ServerProcess([...ports, '--worker-threads', '1', '--gateway-threads', '1'], {
    LATTICE_DATA_DIR: dataDir,
    DATABASE_URL: databaseUrl,
    LATTICE_WAL_SEGMENT_BYTES: String(64 * 1024),
    LATTICE_WAL_FSYNC: 'always',
  });
  const port = await server.port();
  const [ann, wild] = [
    new TopGunClient({ port, nodeId: 'a001' }),
    new TopGunClient({ port, nodeId: 'a0ad', wallClock: () => Date.now() + AHEAD_MS }),
  ];
  await storage.script(REFUSAL);
  await Promise.all([ann.connected(), wild.connected()]);
  const doors = await GoldenWriter.open(port, respPort);
  writeStored(ann);
  await doors.writeStored();
  await ann.settled();
  removeStored(ann);
  wild.set('golden', 'from a clock two hours ahead', true);
  await Promise.all([ann.settled(), wild.settled()]);
  await eventually(() => assertStored(storage));
  storage.proxy.cut();
  writeLogged(ann);
  await ann.settled();
  await doors.writeLogged();
  const tokens = await doors.lockTwice();
  const seen: GoldenDoors = { ...(await seenAtDoors(port, respPort)), tokens };
  const expected = await syncedPicture(new TopGunClient({ port, nodeId: 'c001' }));
  server.signal('SIGKILL');
  await server.exited;

  await storage.script('drop trigger refuse on lattice.lww; drop function lattice.refuse');
  await storage.script(`update lattice.meta set value = '${SECRET}' where key = 'server_secret'`);
  await rm(target, { recursive: true, force: true });
  await mkdir(join(target, 'wal'), { recursive: true });
  await cp(join(dataDir, 'FORMAT'), join(target, 'FORMAT'));
  for (const name of await readdir(join(dataDir, 'wal')).catch(() => [])) {
    if (name.endsWith('.wal')) await writeFile(join(target, 'wal', name), trimmed(await readFile(join(dataDir, 'wal', name))));
  }
  await writeFile(join(target, 'postgres.sql'), await dump(storage));
  await writeFile(join(target, 'expected.json'), `${JSON.stringify(expected, null, 1)}\n`);
  await writeFile(join(target, 'doors.json'), `${JSON.stringify(seen, null, 1)}\n`);
}

/** Everything is in Postgres that will ever be: the tombstones, the letter, the last write. */
async function assertStored(storage: TestStorage): Promise<void> {
  const [row] =
    await storage.rows(`select (select count(*) from lattice.lww)::int as lww, (select count(*) from lattice.or_map)::int as tags,
    (select count(*) from lattice.lww where value is null)::int as removed, (select count(*) from lattice.or_map where tombstone)::int as dead,
    (select count(*) from lattice.dead_letters)::int as letters, (select count(*) from lattice.counter)::int as counters`);
  const found = JSON.stringify(row);
  if (found !== JSON.stringify({ lww: 16, tags: 5, removed: 1, dead: 1, letters: 1, counters: 1 }))
    throw new Error(`not stored yet: ${found}`);
}

/** Space behind the last frame is zeros; what is left ends with a whole word of eight bytes. */
function trimmed(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return bytes.subarray(0, Math.min(bytes.length, Math.max(4096, Math.ceil(end / 8) * 8)));
}

async function dump(storage: TestStorage): Promise<string> {
  const lines = [
    'create schema lattice;',
    'create table lattice.migration (version int primary key, name text not null, applied_at timestamptz not null default now());',
    ...MIGRATIONS.map(({ sql }) => sql),
    'delete from lattice.meta;',
  ];
  for (const table of TABLES) lines.push(...(await insertsOf(storage, table)));
  return `${lines.join('\n')}\n`;
}

async function insertsOf(storage: TestStorage, table: string): Promise<string[]> {
  const columns = await storage.rows(
    `select column_name as name from information_schema.columns where table_schema = 'lattice' and table_name = '${table}' order by ordinal_position`,
  );
  const names = columns.map(({ name }) => String(name));
  const values = names.map((name) => `quote_nullable(${name}::text)`).join(', ');
  const rows = await storage.rows(`select concat_ws(', ', ${values}) as line from lattice.${table} order by 1`);
  return rows.map(({ line }) => `insert into lattice.${table} (${names.join(', ')}) values (${String(line)});`);
}
