/** Random policies, subjects and rows: what records by HTTP and the journal show, compared with the oracle. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { PagePosition, SeenRecord, WriteOutcome } from '../engine/domains/records/record-requests.ts';
import type { Policy } from '../engine/domains/security/policy.ts';
import { oracleSees, policiesArbitrary, rowArbitrary, subjectArbitrary } from '../engine/domains/security/policy-oracle.ts';
import type { Subject } from '../engine/domains/security/subject.ts';
import { decode } from '../engine/protocol/codec.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { RecordDoor } from './http/record-door.ts';
import type { OneThreadNode } from './testing/one-thread-node.ts';
import { define, gatewayOf, newNode, rootOf, settle } from './testing/policy-node.ts';

const MAPS = ['notes', 'staff'];
const KEYS = ['k', 'l', 'm', 'n'];

const story = fc.record({
  subject: subjectArbitrary,
  policies: policiesArbitrary,
  writes: fc.array(
    fc.record({
      map: fc.constantFrom(...MAPS),
      key: fc.constantFrom(...KEYS),
      value: fc.option(
        rowArbitrary.filter((row) => row !== null),
        { nil: null, freq: 4 },
      ),
    }),
    { minLength: 1, maxLength: 12 },
  ),
});

type Drawn = typeof story extends fc.Arbitrary<infer Value> ? Value : never;

interface Change {
  readonly map: string;
  readonly key: string;
  readonly before: unknown;
  readonly value: unknown;
}

/** A node with the rows, written by whom no policy is about, and what the oracle must be asked with. */
class Shown {
  readonly node: OneThreadNode;
  readonly policies: readonly Policy[];
  readonly subject: Subject | undefined;
  readonly rows = new Map<string, Map<string, unknown>>(MAPS.map((map) => [map, new Map()]));
  readonly changes: Change[] = [];

  constructor(node: OneThreadNode, policies: readonly Policy[], subject: Subject | undefined) {
    this.node = node;
    this.policies = policies;
    this.subject = subject;
  }

  sees(map: string, value: unknown): unknown {
    return value === undefined || value === null ? undefined : oracleSees(this.policies, this.subject, map, value);
  }

  /** Carries the answer of a door to its end. */
  async through<Answer>(asked: Promise<Answer>): Promise<Answer> {
    const answer = asked.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    await settle(this.node);
    const settled = await answer;
    if ('error' in settled) throw settled.error;
    return settled.value;
  }
}

async function shown({ subject, policies, writes }: Drawn): Promise<Shown> {
  const node = await newNode();
  const made = new Shown(node, policies, subject);
  const root = rootOf(node);
  for (const [index, { map, key, value }] of writes.entries()) {
    const timestamp = { millis: 1_700_000_000_000 + index, counter: 0, nodeId: 'n' };
    root.write({ id: String(index + 1), mapName: map, key, opType: 'PUT', record: { value, timestamp } });
    const rows = made.rows.get(map);
    made.changes.push({ map, key, before: rows?.get(key), value: value ?? undefined });
    if (value === null) rows?.delete(key);
    else rows?.set(key, value);
  }
  define(node, policies, 1);
  await settle(node);
  return made;
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const decodedOf = (record: SeenRecord | undefined): unknown =>
  record?.value === undefined ? undefined : plain(decode(record.value));
const plain = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));

test('records by HTTP: what is read, paged and told of conditions is what the oracle says, and as if there were nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(story, fc.integer({ min: 1, max: 3 }), async (drawn, limit) => {
      const made = await shown(drawn);
      const { door } = gatewayOf(made.node);
      const access = door.accessOf(drawn.subject === undefined ? undefined : { ...drawn.subject, expiresSeconds: 0 });
      const records = new RecordDoor(door);
      for (const map of MAPS) {
        const rows = KEYS.flatMap((key) => {
          const seen = made.sees(map, made.rows.get(map)?.get(key));
          return seen === undefined ? [] : [[key, plain(seen)] as const];
        });
        if (!access.may('read', map)) {
          assert.deepEqual(rows, []);
          continue;
        }
        const { scope } = access;
        const bounds = { limit, bytesMax: 1 << 20, withValues: true, scope, since: undefined };
        const paged: (readonly [string, unknown])[] = [];
        let after: PagePosition | undefined;
        do {
          const page = await made.through(records.page(map, { ...bounds, after }));
          assert.ok(page.records.length <= limit);
          for (const record of page.records) paged.push([textOf(record.key), decodedOf(record)]);
          after = page.next;
        } while (after !== undefined);
        assert.deepEqual([...paged].sort(), rows, `page of ${map}`);
        for (const key of KEYS) {
          const seen = rows.find(([name]) => name === key)?.[1];
          assert.deepEqual(decodedOf(await made.through(records.read(map, key, scope))), seen, `${map} ${key}`);
          if (seen !== undefined) continue;
          for (const value of [undefined, Uint8Array.of(1)]) {
            const wish = { value, ttlMs: undefined, scope, match: ['*'] };
            const outcome = await made.through<WriteOutcome | GridError>(
              records.write(wish, map, key, '').then(({ outcome: told }) => told, refusalOf),
            );
            assert.deepEqual(outcome, { outcome: 'condition', stamp: undefined }, 'as where there is no row');
          }
        }
      }
    }),
    { numRuns: 60, includeErrorInReport: true },
  );
});

function refusalOf(error: unknown): GridError {
  if (error instanceof GridError) return error;
  throw error;
}

test('the journal: what a subject reads of it is what the oracle makes of each change', async () => {
  await fc.assert(
    fc.asyncProperty(story, async (drawn) => {
      const made = await shown(drawn);
      const client = made.node.client();
      const { accessControl } = gatewayOf(made.node);
      client.session.access = accessControl.accessOf(
        drawn.subject === undefined ? undefined : { ...drawn.subject, expiresSeconds: 0 },
      );
      client.heard();
      client.say({ type: 'JOURNAL_READ', requestId: 'r', fromSequence: '0', limit: 1000 });
      await settle(made.node);
      const [answer] = client.heardOf('JOURNAL_READ_RESPONSE');
      const events = Array.isArray(answer?.events) ? answer.events : [];
      const told = events.map(({ type, mapName, key, value, previousValue }) => [
        type,
        mapName,
        key,
        plain(value),
        plain(previousValue),
      ]);
      const expected = made.changes.flatMap(({ map, key, before, value }) => {
        const [now, then] = [plain(made.sees(map, value)), plain(made.sees(map, before))];
        if (now === undefined && then === undefined) return [];
        return [[now === undefined ? 'DELETE' : then === undefined ? 'PUT' : 'UPDATE', map, key, now, then]];
      });
      // Who may read all of a map is told of the removal of nothing, too.
      const ofRows = told.filter(([type, , , , previous]) => type !== 'DELETE' || previous !== undefined);
      // In order key by key: keys have workers of their own.
      assert.deepEqual(byKey(ofRows), byKey(expected));
      for (const [, map] of told.filter(([type, , , , previous]) => type === 'DELETE' && previous === undefined))
        assert.ok(client.session.access.guard?.grants.decide('read', String(map)) === 'allow');
    }),
    { numRuns: 60, includeErrorInReport: true },
  );
});

function byKey(events: readonly (readonly unknown[])[]): unknown[] {
  const place = ([, map, key]: readonly unknown[]): string => `${String(map)} ${String(key)}`;
  return events.toSorted((a, b) => (place(a) < place(b) ? -1 : place(a) > place(b) ? 1 : 0));
}
