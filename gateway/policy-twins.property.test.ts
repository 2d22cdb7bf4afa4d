/**
 * Two nodes that differ only in what a subject may not see: at every door it hears the same of both, to the letter. So no count,
 * order, hash or text of an error tells it that there is something which is hidden.
 *
 *   what root does ─┬─ all of it ───────────────────────────────────▶ one node   ─ doors ─▶ what is said ┐ equal
 *                   └─ otherwise, or not at all, where it is hidden ─▶ its twin  ─ doors ─▶ what is said ┘
 *
 * Hidden means: by every set of policies of the story, since these change in its middle. Left out, as limits of what policies
 * hide: numbers of the whole node (subject-doors.ts), names of maps that it may read some of, string commands on keys of
 * Redis that are names of maps, writes over hidden rows.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Action } from '../engine/domains/security/access.ts';
import type { Policy } from '../engine/domains/security/policy.ts';
import {
  oracleAllows,
  oracleSees,
  policiesArbitrary,
  rightsArbitrary,
  rowArbitrary,
  subjectArbitrary,
} from '../engine/domains/security/policy-oracle.ts';
import type { Subject } from '../engine/domains/security/subject.ts';
import type { OneThreadNode, TestClient } from './testing/one-thread-node.ts';
import { define, newNode, rootOf, settle } from './testing/policy-node.ts';
import { propertyRuns } from './testing/property-runs.ts';
import { RedisEnd, replyText, SubjectDoors } from './testing/subject-doors.ts';

const MAPS = ['notes', 'notes.a', 'staff'];
const TAGS = 'notes.a.b';
const KEYS = ['k', 'l', 'm'];
const NAMES = ['notes', 'notes.a', 'staff'];
const FIRST_MS = 1_700_000_000_000;

const map = fc.constantFrom(...MAPS);
const key = fc.constantFrom(...KEYS);
const name = fc.constantFrom(...NAMES);
const rows = fc.array(rowArbitrary, { minLength: 1, maxLength: 3 });
const number = fc.integer({ min: 1, max: 9 });

/** What root does, and what it may do instead at the twin. */
const rootStep = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ by: fc.constant('put' as const), map, key, value: fc.option(rowArbitrary, { freq: 4 }), rows }),
  },
  { weight: 2, arbitrary: fc.record({ by: fc.constant('tag' as const), key, value: rowArbitrary, rows }) },
  { weight: 2, arbitrary: fc.record({ by: fc.constant('publish' as const), name, number }) },
  { weight: 1, arbitrary: fc.record({ by: fc.constant('attend' as const), name, number }) },
  { weight: 2, arbitrary: fc.record({ by: fc.constant('count' as const), name, number }) },
  { weight: 2, arbitrary: fc.record({ by: fc.constant('lock' as const), name, number }) },
  { weight: 1, arbitrary: fc.record({ by: fc.constant('unlock' as const), name, number }) },
  {
    weight: 3,
    arbitrary: fc.record({
      by: fc.constant('redis' as const),
      into: fc.constantFrom('db0', 'db1', 'user:1', 'user:2'),
      key,
      number,
    }),
  },
);
type RootStep = typeof rootStep extends fc.Arbitrary<infer Step> ? Step : never;

const field = fc.constantFrom('owner', 'team', 'level', 'secret');
const query = fc.oneof(
  fc.constant({}),
  fc.record({ where: fc.record({ team: fc.constantFrom('red', 'blue') }) }),
  fc.record({ predicate: fc.record({ op: fc.constantFrom('isNull', 'isNotNull'), attribute: field }) }),
  fc.record({
    sort: fc.tuple(fc.record({ field, direction: fc.constantFrom('asc', 'desc') })),
    limit: fc.integer({ min: 1, max: 2 }),
  }),
  fc.record({ groupBy: fc.tuple(field), aggregations: fc.constant([{ func: 'count' }, { func: 'sum', field: 'level' }]) }),
);
const words = fc.oneof(
  fc
    .record({ head: fc.constantFrom('GET', 'EXISTS', 'TYPE', 'STRLEN', 'TTL', 'DEL', 'GETDEL', 'OBJECT ENCODING'), key })
    .map((of) => [...of.head.split(' '), of.key]),
  fc.constantFrom(
    ['MGET', ...KEYS],
    ['EXISTS', ...KEYS],
    ['KEYS', '*'],
    ['SCAN', '0'],
    ['SCAN', '0', 'COUNT', '1000', 'TYPE', 'hash'],
    ['DBSIZE'],
    ['SELECT', '0'],
    ['SELECT', '1'],
    ['INFO', 'keyspace'],
    ['SET', 'own', 'v'],
    ['SET', 'k', 'v', 'NX'],
    ['MSETNX', 'own', 'v', 'k', 'v'],
    ['WATCH', 'k'],
    ['COPY', 'k', 'own', 'DB', '1'],
    ['RENAME', 'k', 'own'],
    ['FLUSHALL'],
    ['PUBSUB', 'CHANNELS'],
    ['PUBSUB', 'NUMSUB', ...NAMES],
    ...NAMES.map((topic) => ['PUBLISH', topic, 'x']),
    ['EXISTS', 'k', 'user:1', 'user:2'],
    ['TOUCH', 'user:2'],
    ['TYPE', 'user:1'],
  ),
  fc
    .record({
      words: fc.constantFrom(
        ['HGETALL'],
        ['HLEN'],
        ['HKEYS'],
        ['HGET', 'k'],
        ['HEXISTS', 'k'],
        ['HSET', 'own', 'v'],
        ['HDEL', 'k'],
        ['HSCAN', '0'],
      ),
      of: fc.constantFrom('user:1', 'user:2', 'none'),
    })
    .map(({ words: [head = '', ...rest], of }) => [head, of, ...rest]),
);

/** What the subject asks. */
const subjectStep = fc.oneof(
  fc.record({ by: fc.constant('sync' as const), map }),
  fc.record({ by: fc.constant('tags' as const) }),
  fc.record({ by: fc.constant('query' as const), map, query, id: fc.constantFrom('q1', 'q2') }),
  fc.record({ by: fc.constant('journal' as const) }),
  fc.record({ by: fc.constant('hear' as const), name }),
  fc.record({ by: fc.constant('tell' as const), name }),
  fc.record({ by: fc.constant('countOn' as const), name, number }),
  fc.record({ by: fc.constant('counter' as const), name }),
  fc.record({ by: fc.constant('holds' as const), name, number }),
  fc.record({ by: fc.constant('writes' as const), map, value: rowArbitrary }),
  fc.record({ by: fc.constant('stream' as const), maps: fc.subarray(MAPS), topics: fc.subarray(NAMES), query }),
  fc.record({
    by: fc.constant('posts' as const),
    maps: fc.subarray(MAPS),
    map,
    team: fc.constantFrom('red', 'blue', undefined),
    number,
  }),
  fc.record({ by: fc.constant('reads' as const), map, key }),
  fc.record({ by: fc.constant('pages' as const), map, where: fc.boolean(), field }),
  { weight: 6, arbitrary: fc.record({ by: fc.constant('command' as const), words }) },
  fc.record({
    by: fc.constant('subscribes' as const),
    words: fc.constantFrom(['PSUBSCRIBE', '*'], ...NAMES.map((topic) => ['SUBSCRIBE', topic])),
  }),
);
type SubjectStep = typeof subjectStep extends fc.Arbitrary<infer Step> ? Step : never;

const policyStep = fc.record({ by: fc.constant('policies' as const), set: fc.nat(2) });
const policySet = fc.tuple(policiesArbitrary, rightsArbitrary).map(([about, rights]) => [...about, ...rights]);
const story = fc.record({
  subject: subjectArbitrary,
  sets: fc.tuple(policySet, policySet, policySet),
  steps: fc.array(
    fc.oneof({ weight: 6, arbitrary: rootStep }, { weight: 8, arbitrary: subjectStep }, { weight: 2, arbitrary: policyStep }),
    { minLength: 10, maxLength: 40, size: 'max' },
  ),
});

/** What the subject may see, by the oracle, under every set of policies. */
class Hidden {
  readonly #sets: readonly (readonly Policy[])[];
  readonly #subject: Subject | undefined;

  constructor(sets: readonly (readonly Policy[])[], subject: Subject | undefined) {
    this.#sets = sets.map((set) => [...set]);
    this.#subject = subject;
  }

  may(action: Action, of: string): boolean {
    return this.#sets.some((set) => oracleAllows(set, this.#subject, action, of, undefined));
  }

  /** A value that looks the same as `value`, always, and is another; undefined when there is none among these. */
  like(of: string, value: unknown, others: readonly unknown[]): unknown {
    const sees = (row: unknown): string => JSON.stringify(this.#sets.map((set) => [oracleSees(set, this.#subject, of, row)]));
    return others.find((row) => row !== null && sees(row) === sees(value) && JSON.stringify(row) !== JSON.stringify(value));
  }

  isHidden(of: string, value: unknown): boolean {
    return this.#sets.every((set) => oracleSees(set, this.#subject, of, value) === undefined);
  }
}

/** One of the nodes, with root and the subject. */
class Twin {
  readonly node: OneThreadNode;
  readonly root: TestClient;
  readonly redis: RedisEnd;
  readonly doors: SubjectDoors;

  private constructor(node: OneThreadNode, subject: Subject | undefined) {
    this.node = node;
    this.root = rootOf(node);
    this.root.session.deviceId = 'device of root';
    this.redis = new RedisEnd(node, { id: 'root', roles: [], claims: new Map(), expiresSeconds: 4e9 });
    this.doors = new SubjectDoors(node, subject);
    this.doors.client.session.deviceId = 'device of the subject';
  }

  static async create(subject: Subject | undefined): Promise<Twin> {
    const twin = new Twin(await newNode(true), subject);
    for (const mapName of [...MAPS, TAGS]) twin.root.say({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 });
    await settle(twin.node);
    twin.root.heard();
    return twin;
  }

  define(policies: readonly Policy[], version: number): void {
    define(this.node, policies, version);
  }

  /** Root does it, at that place of the story. */
  do(step: RootStep, at: number): void {
    const timestamp = { millis: FIRST_MS + at, counter: 0, nodeId: 'n' };
    const id = String(at + 1);
    switch (step.by) {
      case 'put':
        return this.root.write({ id, mapName: step.map, key: step.key, opType: 'PUT', record: { value: step.value, timestamp } });
      case 'tag': {
        const orRecord = { value: step.value, timestamp, tag: `${timestamp.millis}:0:n` };
        return this.root.write({ id, mapName: TAGS, key: step.key, opType: 'OR_ADD', orRecord });
      }
      case 'publish':
        return this.root.say({ type: 'TOPIC_PUB', payload: { topic: step.name, data: { n: step.number } } });
      case 'count':
        return this.root.say({
          type: 'COUNTER_SYNC',
          payload: { name: step.name, state: { p: { r: at * 10 + step.number }, n: {} } },
        });
      case 'lock':
        return this.root.say({ type: 'LOCK_REQUEST', payload: { requestId: id, name: step.name, ttl: 1_000_000 } });
      case 'unlock': {
        for (const { type, payload } of this.root.heard())
          if (type === 'LOCK_GRANTED' && Object(payload).name === step.name)
            this.root.say({ type: 'LOCK_RELEASE', payload: { ...Object(payload) } });
        return;
      }
      case 'redis': {
        const [, db] = /^db(\d)$/.exec(step.into) ?? [];
        if (db === undefined) return this.redis.say('HSET', step.into, step.key, `v${step.number}`);
        this.redis.say('SELECT', db);
        this.redis.say('SET', step.key, `v${step.number}`);
      }
    }
  }

  /** The subject asks, and what is answered at once. */
  async ask(step: SubjectStep, at: number): Promise<string> {
    const { doors } = this;
    // One after another: how long an answer takes is not kept secret.
    const say = async (...messages: readonly object[]): Promise<string> => {
      for (const message of messages) {
        doors.client.say(message);
        await settle(this.node);
      }
      return '';
    };
    switch (step.by) {
      case 'sync':
        return say(
          { type: 'SYNC_INIT', mapName: step.map, lastSyncTimestamp: 0 },
          { type: 'MERKLE_REQ_BUCKET', payload: { mapName: step.map, path: '' } },
        );
      case 'tags':
        return say(
          { type: 'ORMAP_SYNC_INIT', mapName: TAGS, rootHash: 0, bucketHashes: {}, lastSyncTimestamp: 0 },
          { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: TAGS, path: '' } },
          { type: 'ORMAP_DIFF_REQUEST', payload: { mapName: TAGS, keys: KEYS } },
        );
      case 'query': {
        const { id: queryId, map: mapName } = step;
        const asked = { type: 'QUERY_SUB', payload: { queryId, mapName, query: step.query } };
        const ended = { type: 'QUERY_UNSUB', payload: { queryId } };
        return 'groupBy' in step.query ? say(asked, ended) : say(asked); // groups are told anew by time
      }
      case 'journal':
        return say(
          { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '0', limit: 1000 },
          { type: 'JOURNAL_SUBSCRIBE', requestId: 's' },
        );
      case 'hear':
        return say({ type: 'TOPIC_SUB', payload: { topic: step.name } });
      case 'tell':
        return say({ type: 'TOPIC_PUB', payload: { topic: step.name, data: 'x' } });
      case 'counter':
        return say({ type: 'COUNTER_REQUEST', payload: { name: step.name } });
      case 'countOn': {
        const p = { s: at * 10 + step.number, r: at * 10 + 9 };
        return say({ type: 'COUNTER_SYNC', payload: { name: step.name, state: { p, n: {} } } });
      }
      case 'holds':
        return say(
          { type: 'LOCK_REQUEST', payload: { requestId: `r${at}`, name: step.name, ttl: 1_000_000 } },
          {
            type: 'LOCK_RELEASE',
            payload: { requestId: `u${at}`, name: step.name, fencingToken: 2 ** 32 + step.number },
          },
        );
      case 'writes': {
        const timestamp = { millis: FIRST_MS + at, counter: 0, nodeId: 's' };
        const record = { value: step.value, timestamp };
        doors.client.write({ id: String(at + 1), mapName: step.map, key: 'own', opType: 'PUT', record });
        return '';
      }
      case 'stream': {
        const queries = [JSON.stringify({ map: step.maps[0] ?? 'notes', ...step.query })];
        const isPlain = !('groupBy' in step.query);
        const stream = await doors.stream({ map: step.maps, topic: step.topics, ...(isPlain ? { query: queries } : {}) });
        return replyText(stream);
      }
      case 'posts': {
        const millis = { millis: 0, counter: 0, nodeId: '' };
        const { team, number: limit } = step;
        const filter = team === undefined ? {} : { team };
        const timestamp = { millis: FIRST_MS + at, counter: 0, nodeId: 's' };
        const body = {
          operations: [
            { id: String(at + 1), mapName: step.map, key: 'own', opType: 'PUT', record: { value: { team }, timestamp } },
          ],
          syncMaps: step.maps.map((mapName) => ({ mapName, lastSyncTimestamp: millis })),
          queries: [{ queryId: 'q', mapName: step.map, filter, limit }],
        };
        const headers = { 'content-type': 'application/json' };
        return replyText(await doors.http('/sync', { method: 'post', body: JSON.stringify(body), headers }));
      }
      case 'reads':
        return replyText(await doors.http('/maps/{map}/{key}', { parameters: [step.map, step.key] }));
      case 'pages': {
        const question = step.where
          ? { where: JSON.stringify({ op: 'isNotNull', attribute: step.field }), sort: step.field }
          : {};
        return replyText(await doors.http('/maps/{map}', { parameters: [step.map], query: { limit: '2', ...question } }));
      }
      case 'command':
        return doors.command(...step.words);
      case 'subscribes':
        return doors.subscriber(...step.words);
    }
  }
}

/** What root does at the twin, where that looks the same; nothing, or the step itself. */
function otherwise(step: RootStep, hidden: Hidden, seen: Set<string>): RootStep | undefined {
  switch (step.by) {
    case 'put':
    case 'tag': {
      const of = step.by === 'put' ? step.map : TAGS;
      const place = `${of} ${step.key}`;
      if (step.value === null) return step;
      const isFresh = !seen.has(place);
      if (!hidden.isHidden(of, step.value)) seen.add(place);
      else if (isFresh || step.by === 'tag') return undefined;
      const value = hidden.like(of, step.value, step.rows);
      return value === undefined ? step : { ...step, value };
    }
    case 'publish':
    case 'attend':
      return hidden.may('subscribe', step.name) ? step : undefined;
    case 'count':
      return hidden.may('readCounter', step.name) ? step : undefined;
    case 'lock':
      return hidden.may('lock', step.name) ? step : undefined;
    case 'unlock':
      return step;
    case 'redis':
      if (!hidden.isHidden(step.into, `v${step.number}`)) seen.add(`${step.into} ${step.key}`);
      else if (!seen.has(`${step.into} ${step.key}`)) return undefined;
      return step;
  }
}

let otherwiseDone = 0;

test('a subject cannot tell two nodes apart that differ in what is hidden from it, at whatever door', async (t) => {
  await fc.assert(
    fc.asyncProperty(story, async ({ subject, sets, steps }) => {
      const [one, two] = [await Twin.create(subject), await Twin.create(subject)];
      const twins = [one, two];
      const hidden = new Hidden(sets, subject);
      const seen = new Set<string>();
      let version = 1;
      for (const twin of twins) twin.define(sets[0], version);
      for (const [at, step] of steps.entries()) {
        const replies: string[] = [];
        if (step.by === 'policies') {
          version += 1;
          for (const twin of twins) twin.define(sets[step.set] ?? [], version);
        } else if (isRootStep(step)) {
          const other = otherwise(step, hidden, seen);
          if (other !== step) otherwiseDone += 1;
          one.do(step, at);
          if (other !== undefined) two.do(other, at);
        } else for (const twin of twins) replies.push(await twin.ask(step, at));
        assert.equal(replies[0], replies[1], `the reply to step ${at}`);
        for (const twin of twins) await settle(twin.node);
        assert.deepEqual(one.doors.heard(), two.doors.heard(), `what is heard at step ${at}`);
      }
    }),
    propertyRuns(60),
  );
  t.diagnostic(`${otherwiseDone} things were done at one node and not, or otherwise, at the other`);
  assert.ok(otherwiseDone > 60, 'the nodes differ');
});

const ROOT_STEPS: ReadonlySet<string> = new Set(['put', 'tag', 'publish', 'attend', 'count', 'lock', 'unlock', 'redis']);

function isRootStep(step: RootStep | SubjectStep): step is RootStep {
  return ROOT_STEPS.has(step.by);
}
