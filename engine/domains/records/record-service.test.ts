import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { decode, encode } from '../../protocol/codec.ts';
import { REQUEST_RECORD_PAGE, REQUEST_RECORD_READ, REQUEST_RECORD_WRITE } from '../../protocol/envelope.ts';
import { JUDGED_ALLOWED } from '../crdt/row-judge.ts';
import { HIDDEN, UNSCOPED } from '../security/access.ts';
import { BoundedEngine, packedText, textOf } from '../testing/bounded-engine.ts';
import { utf8 } from '../testing/scanned-ops.ts';
import { RecordReader } from './record-reader.ts';
import {
  encodeBody,
  type PagePart,
  type PagePosition,
  type PageSince,
  parseOutcome,
  parsePart,
  parseRecord,
  type SeenRecord,
  type WriteOutcome,
  type WriteQuestion,
} from './record-requests.ts';
import { RecordService } from './record-service.ts';

const MAP = utf8('map');
const EVER: PageSince = { millis: 0, counter: 0, node: utf8('') };

class ServiceUnderTest {
  readonly engine = new BoundedEngine();
  readonly service: RecordService;

  constructor(scopes = UNSCOPED) {
    const { maps, crdt, loader, eviction, time } = this.engine;
    const nowMs = (): number => time.nowMs();
    const reader = new RecordReader({ loader, hasRoomFor: (bytes) => eviction.hasRoomFor(bytes), nowMs });
    this.service = new RecordService({
      maps,
      crdt,
      reader,
      scopes,
      judge: { judge: () => JUDGED_ALLOWED },
      nodeId: utf8('server'),
      yieldTurn: async () => {},
    });
  }

  async ask(kind: number, body: Uint8Array): Promise<Uint8Array | undefined> {
    const answer = this.service.answer({ kind, body, gateway: 0, session: 0, nowMs: this.engine.time.nowMs() });
    const parts: Uint8Array[] = [];
    if (Array.isArray(answer)) parts.push(...answer);
    else for await (const part of answer) parts.push(part);
    assert.ok(parts.length <= 1);
    return parts[0];
  }

  async write(key: string, value: unknown, more: Partial<WriteQuestion> = {}): Promise<WriteOutcome> {
    const packed = value === undefined ? undefined : encode(value).slice();
    const body = encodeBody({ map: MAP, key: utf8(key), value: packed, ttlMs: undefined, scope: 0, ...more });
    const answer = await this.ask(REQUEST_RECORD_WRITE, body);
    return parseOutcome(answer ?? assert.fail('an answer'));
  }

  async read(key: string, scope = 0): Promise<unknown> {
    const asked = this.ask(REQUEST_RECORD_READ, encodeBody({ map: MAP, key: utf8(key), scope }));
    const answer = await this.engine.time.run(asked);
    return answer === undefined ? undefined : decode(parseRecord(answer).value ?? assert.fail('a value'));
  }

  async page(
    after: PagePosition | undefined,
    limit: number,
    since?: PageSince,
    bytesMax = 1 << 20,
    scope = 0,
  ): Promise<PagePart> {
    const body = encodeBody({ map: MAP, after, limit, bytesMax, withValues: true, since, scope });
    const part = await this.engine.time.run(this.ask(REQUEST_RECORD_PAGE, body));
    return parsePart(part ?? assert.fail('a page'));
  }

  async pages(limit: number, since?: PageSince, bytesMax?: number): Promise<SeenRecord[]> {
    const records: SeenRecord[] = [];
    for (let next: PagePosition | undefined; ; ) {
      const part = await this.page(next, limit, since, bytesMax);
      records.push(...part.records);
      next = part.next;
      if (next === undefined) return records;
      assert.ok(part.records.length <= limit);
    }
  }
}

test('a value that was dropped from memory is read back, and a page of such too', async () => {
  const under = new ServiceUnderTest();
  for (let n = 0; n < 30; n++) await under.write(`k${n}`, textOf(500, n));
  await under.engine.flush();
  under.engine.dropAll();
  assert.ok(under.engine.store().evicted >= 30);
  assert.equal(await under.read('k7'), textOf(500, 7));
  assert.equal(await under.read('absent'), undefined);
  const records = await under.pages(8);
  assert.equal(records.length, 30);
  for (const { key, value } of records) {
    const n = Number(new TextDecoder().decode(key).slice(1));
    assert.deepEqual(value, packedText(500, n));
  }
});

test('a write meets a dropped value without waiting, and its condition is judged', async () => {
  const under = new ServiceUnderTest();
  const first = await under.write('k', textOf(500));
  await under.engine.flush();
  under.engine.dropAll();
  assert.ok(first.outcome === 'written');
  assert.deepEqual(await under.write('k', 1, { match: ['other'] }), { outcome: 'condition', stamp: first.stamp });
  assert.equal((await under.write('k', 1, { match: [first.stamp] })).outcome, 'written');
  assert.equal(await under.read('k'), 1);
});

test('a write without a clock wins over whatever is stored, tombstones of the future included', async () => {
  const under = new ServiceUnderTest();
  under.engine.write({ key: 'k', tombstone: true, millis: 9_000_000_000_000, counter: 3 });
  assert.equal((await under.write('k', 1, { noneMatch: ['*'] })).outcome, 'written');
  assert.equal(await under.read('k'), 1);
  const removed = await under.write('k', undefined);
  assert.ok(removed.outcome === 'written');
  assert.match(removed.stamp, /^9000000000000:5:server$/);
  assert.deepEqual(await under.write('k', undefined), { outcome: 'absent' });
});

test('a TTL counts from now, also where the write must be stamped ahead of this clock', async () => {
  const under = new ServiceUnderTest();
  under.engine.write({ key: 'k', tombstone: true, millis: under.engine.time.nowMs() + 50_000, counter: 0 });
  await under.write('k', 1, { ttlMs: 10 });
  assert.equal(await under.read('k'), 1);
  await under.engine.time.run(under.engine.time.wait(20));
  assert.equal(await under.read('k'), undefined);
});

test('what is too large, and a map too many, is refused by name', async () => {
  const under = new ServiceUnderTest();
  const longKey = await under.write('k'.repeat(3000), 1);
  assert.ok(longKey.outcome === 'refused' && longKey.code === 'KEY_TOO_LARGE');
  for (let n = 0; n < 100; n++) under.engine.maps.openByName(utf8(`m${n}`));
  const oneMore = await under.write('k', 1, { map: utf8('one more') });
  assert.ok(oneMore.outcome === 'refused' && oneMore.code === 'TOO_MANY_MAPS');
});

test('an expired record is none, and a page since some time shows it as the removal that it becomes', async () => {
  const under = new ServiceUnderTest();
  await under.write('k', 1, { ttlMs: 10 });
  await under.engine.time.run(under.engine.time.wait(20));
  assert.equal(await under.read('k'), undefined);
  assert.deepEqual(await under.pages(10), []);
  const [removal] = await under.pages(10, { millis: 0, counter: 0, node: utf8('') });
  assert.ok(removal?.isRemoval === true);
  assert.equal((await under.write('k', 2, { match: ['*'] })).outcome, 'condition');
});

test('pages have every record once, whatever their size, and since a stamp the newer ones with removals', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ key: fc.string({ maxLength: 3 }), millis: fc.integer({ min: 1, max: 50 }), tombstone: fc.boolean() })),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 400 }),
      fc.integer({ min: 0, max: 50 }),
      async (writes, limit, bytesMax, sinceMillis) => {
        const under = new ServiceUnderTest();
        const model = new Map<string, { millis: number; tombstone: boolean }>();
        for (const { key, millis, tombstone } of writes) {
          if (!key.isWellFormed()) continue;
          under.engine.write({ key, millis, tombstone, value: tombstone ? '' : packedText(5, millis) });
          const known = model.get(key);
          if (known === undefined || millis > known.millis) model.set(key, { millis, tombstone });
        }
        const keysOf = (records: readonly SeenRecord[]): string[] =>
          records.map(({ key }) => new TextDecoder().decode(key)).sort();
        const live = [...model].filter(([, { tombstone }]) => !tombstone).map(([key]) => key);
        const ties = writes.some((a, i) => writes.some((b, j) => i !== j && a.key === b.key && a.millis === b.millis));
        if (!ties) assert.deepEqual(keysOf(await under.pages(limit, undefined, bytesMax)), live.sort());
        const newer = [...model].filter(([, { millis }]) => millis > sinceMillis).map(([key]) => key);
        const since = { millis: sinceMillis, counter: 0, node: utf8('node') };
        assert.deepEqual(keysOf(await under.pages(limit, since, bytesMax)), newer.sort());
      },
    ),
    { numRuns: 60 },
  );
});

test('a reader with row rules sees its rows only, and cannot find the others by conditions', async () => {
  const seesEven = { see: (value: unknown) => (typeof value === 'number' && value % 2 === 0 ? value : HIDDEN) };
  const under = new ServiceUnderTest({ rows: () => seesEven });
  await under.write('even', 2);
  await under.write('odd', 3);
  assert.equal(await under.read('even', 1), 2);
  assert.equal(await under.read('odd', 1), undefined);
  assert.deepEqual(await under.write('odd', undefined, { scope: 1 }), { outcome: 'absent' });
  assert.deepEqual(await under.write('odd', 4, { scope: 1, match: ['*'] }), { outcome: 'condition', stamp: undefined });
});

test('a condition about a hidden row whose value was dropped is answered as if there were no row', async () => {
  const under = new ServiceUnderTest({ rows: () => ({ see: (value) => (value === 'seen' ? value : HIDDEN) }) });
  await under.write('k', textOf(500));
  await under.write('l', 'seen');
  await under.engine.flush();
  under.engine.dropAll();
  const { time } = under.engine;
  for (const key of ['k', 'none']) {
    const conditional = await time.run(under.write(key, 1, { scope: 1, match: ['*'] }));
    assert.deepEqual(conditional, { outcome: 'condition', stamp: undefined }, key);
    assert.deepEqual(await time.run(under.write(key, undefined, { scope: 1 })), { outcome: 'absent' }, key);
    under.engine.dropAll();
  }
  const removed = await time.run(under.write('l', undefined, { scope: 1, match: ['*'] }));
  assert.equal(removed.outcome, 'written');
});

test('whoever sees some rows only is told of no removals: nobody can say whose they were', async () => {
  const under = new ServiceUnderTest({ rows: () => ({ see: (value) => (value === 1 ? value : HIDDEN) }) });
  for (const [key, value] of [
    ['seen', 1],
    ['hidden', 2],
    ['gone', 1],
  ] as const)
    await under.write(key, value);
  await under.write('gone', undefined);
  const all = await under.page(undefined, 10, EVER);
  const some = await under.page(undefined, 10, EVER, 1 << 20, 1);
  const names = ({ records }: PagePart): string[] => records.map(({ key }) => new TextDecoder().decode(key)).sort();
  assert.deepEqual([names(all), names(some)], [['gone', 'hidden', 'seen'], ['seen']]);
});
