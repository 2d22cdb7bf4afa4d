/**
 * Write-behind over a Postgres that misbehaves, with deadlines shortened: whatever happens on the way, no commit is
 * pending beyond its deadline, and in the end each key has the row of its newest clock.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { BatchResult, DataBatch, DataStore } from '../../engine/storage/data-store.ts';
import type { FlushTime } from '../../engine/storage/flusher.ts';
import { FakeSource } from '../../engine/storage/map-data-store.conformance.ts';
import { KIND_LWW, type RecordImage, type RecordKind } from '../../engine/storage/record.ts';
import { WriteBehind } from '../../engine/storage/write-behind.ts';
import { type Fault, FaultyProxy } from '../testing/faulty-proxy.ts';
import { CircuitBreaker } from '../../engine/operation/circuit-breaker.ts';
import { PgClient } from './connection.ts';
import type { PgTarget } from './pg-session.ts';
import { PostgresDataStore } from './postgres-data-store.ts';
import { migrate } from './schema.ts';
import { testPostgres } from './test-postgres.ts';

const COMMIT_DEADLINE_MS = 400;
/** Of a machine that does other things too; without a deadline a swallowed statement would be pending for ever. */
const SLACK_MS = 3000;
const KEYS = 20;
const ROUNDS = 250;

const TIME: FlushTime = {
  nowMs: Date.now,
  random: Math.random,
  yieldTurn: () => new Promise((resolve) => setImmediate(resolve)),
  startTimer: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Measures how long commits are pending. */
class WatchedStore implements DataStore {
  pending = 0;
  longestMs = 0;
  readonly #store: DataStore;

  constructor(store: DataStore) {
    this.#store = store;
  }

  batch(): DataBatch {
    const batch = this.#store.batch();
    const commit = (deadlineMs: number): Promise<BatchResult> => this.#watched(() => batch.commit(deadlineMs));
    const put = (kind: RecordKind, map: Uint8Array, image: RecordImage): void => batch.put(kind, map, image);
    const prune = (kind: RecordKind, map: Uint8Array, image: RecordImage): void => batch.prune(kind, map, image);
    return Object.defineProperties(
      { put, prune, commit, rows: 0, bytes: 0 },
      { rows: { get: () => batch.rows }, bytes: { get: () => batch.bytes } },
    );
  }

  bury(...letter: Parameters<DataStore['bury']>): Promise<void> {
    return this.#watched(() => this.#store.bury(...letter));
  }

  load(...what: Parameters<DataStore['load']>): Promise<void> {
    return this.#store.load(...what);
  }

  read(...what: Parameters<DataStore['read']>): ReturnType<DataStore['read']> {
    return this.#store.read(...what);
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #watched<T>(call: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    this.pending += 1;
    try {
      return await call();
    } finally {
      this.pending -= 1;
      this.longestMs = Math.max(this.longestMs, performance.now() - startedMs);
    }
  }
}

interface Rig {
  readonly proxy: FaultyProxy;
  readonly store: WatchedStore;
  readonly behind: WriteBehind;
  readonly source: FakeSource;
  readonly direct: PgClient;
  /** Key → millis in the table. */
  rows(): Promise<Map<string, number>>;
}

const ends: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const end of ends) await end();
});

async function rig(): Promise<Rig> {
  const { target } = await testPostgres();
  assert.ok('path' in target);
  const direct = new PgClient({ target, applicationName: 'test' });
  await direct.run(10_000, migrate);
  const proxy = new FaultyProxy(target.path);
  proxy.delayMs = COMMIT_DEADLINE_MS * 2;
  const viaProxy: PgTarget = { url: `postgres://${target.user}@127.0.0.1:${await proxy.listen()}/${target.database}` };
  const breaker = new CircuitBreaker({ failuresMax: 1, openMinMs: 1, openMaxMs: 20, random: Math.random });
  const store = new WatchedStore(new PostgresDataStore({ target: viaProxy, applicationName: 'test', ownerEpoch: 0, breaker }));
  const options = { flushDelayMs: 0, flushRecordsMax: 7, flushShare: 1, commitDeadlineMs: COMMIT_DEADLINE_MS };
  const behind = new WriteBehind(store, TIME, options);
  ends.push(() => Promise.all([store.close(), direct.close(), proxy.close()]));
  const rows = async (): Promise<Map<string, number>> => {
    const text = `select convert_from(key, 'utf8') as key, millis from lattice.lww order by key`;
    const found = await direct.run(10_000, (session) => session.rows(text));
    return new Map(found.map(({ key, millis }) => [String(key), Number(millis)]));
  };
  return { proxy, store, behind, source: new FakeSource(KIND_LWW, 'faults', behind, TIME), direct, rows };
}

function newest(source: FakeSource): Map<string, number> {
  const pairs = source.records().map(({ key, millis }) => [Buffer.from(key).toString(), millis] as const);
  return new Map(pairs.sort(([left], [right]) => (left < right ? -1 : 1)));
}

for (const fault of ['FIN', 'RESET', 'SWALLOW', 'DELAY'] as const) {
  test(`${fault} at random steps of random flushes: nothing is pending for long, and each key ends with its newest clock`, async (t) => {
    const { proxy, store, behind, source, rows } = await rig();
    const seed = Math.trunc(Math.random() * 2 ** 31);
    t.diagnostic(`seed ${seed}`);
    const random = randomOf(seed);
    let faults = 0;
    proxy.onClientChunk = (): Fault => {
      if (random() > 0.06) return 'PASS';
      faults += 1;
      return fault;
    };
    let watermark = 0;
    for (let round = 1; round <= ROUNDS; round++) {
      source.write({ key: `k${Math.trunc(random() * KEYS)}`, value: `v${round}`, millis: round });
      behind.softFlush(Date.now() + 60_000); // whatever the backoff says: more attempts, more faults
      assert.ok(behind.flushedSequence >= watermark, 'the watermark does not go back');
      watermark = behind.flushedSequence;
      if (round % 5 === 0) await delay(2);
    }
    while (faults === 0 && behind.flushedSequence < behind.stagedSequence) await delay(5);
    proxy.onClientChunk = () => 'PASS';
    await behind.hardFlush(30_000);
    assert.deepEqual(await rows(), newest(source));
    assert.equal(store.pending, 0);
    assert.ok(store.longestMs < COMMIT_DEADLINE_MS + SLACK_MS, `a commit was pending for ${store.longestMs} ms`);
    assert.equal(behind.flushedSequence, behind.stagedSequence);
  });
}

test('the watermark waits for a refused row until its dead letter is committed, and the letter is loaded and buried once', async () => {
  const { proxy, store, behind, source, direct, rows } = await rig();
  await direct.run(10_000, (session) =>
    session.script(`create function lattice.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
      create trigger refuse before insert or update on lattice.lww for each row when (new.key = 'bad') execute function lattice.refuse()`),
  );
  const lettersOf = async (): Promise<number> => {
    const [row] = await direct.run(10_000, (session) =>
      session.script('select count(*)::int as letters from lattice.dead_letters'),
    );
    return Number(row?.letters);
  };
  let burials = 0;
  let isBurying = false;
  // The first burial is cut before it, the second loses the answer to its commit, later ones come through.
  proxy.onClientChunk = (text): Fault => {
    if (text.includes('insert into lattice.dead_letters')) {
      burials += 1;
      isBurying = burials === 2;
      return burials === 1 ? 'FIN' : 'PASS';
    }
    if (!isBurying || !text.includes('commit')) return 'PASS';
    isBurying = false;
    return 'SWALLOW';
  };
  for (const [millis, key] of ['a', 'bad', 'c'].entries()) source.write({ key, value: 'v', millis: millis + 1 });
  for (let attempt = 1; burials < 3; attempt++) {
    assert.ok(attempt < 2000, 'it is tried again');
    if (behind.flushedSequence >= 2) assert.equal(await lettersOf(), 1, 'the watermark passed a row that is nowhere');
    behind.softFlush(Date.now() + 60_000);
    await delay(5);
  }
  await behind.hardFlush(30_000);
  assert.equal(behind.flushedSequence, 3);
  assert.equal(await lettersOf(), 1);
  assert.deepEqual(
    await rows(),
    new Map([
      ['a', 1],
      ['c', 3],
    ]),
  );
  const loaded: number[] = [];
  await store.load(
    Array.from({ length: 271 }, (_, partition) => partition),
    (_kind, _map, image) => loaded.push(image.millis),
  );
  assert.deepEqual(loaded.sort(), [1, 2, 3]);
});

/** mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
