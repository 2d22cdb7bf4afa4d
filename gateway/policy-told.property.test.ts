/**
 * Random policies, changed in the middle, over topics, counters, locks, streams of events, POST /sync and Redis: after every step
 * each door of a subject has told what the oracle says that it may know, and nothing else.
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
import { GridError } from '../engine/protocol/errors.ts';
import type { OneThreadNode, TestClient } from './testing/one-thread-node.ts';
import { define, newNode, rootOf, settle } from './testing/policy-node.ts';
import { propertyRuns } from './testing/property-runs.ts';
import { RedisEnd, type StreamEnd, SubjectDoors } from './testing/subject-doors.ts';

const NAMES = ['notes', 'staff'];
const KEYS = ['k', 'l'];
/** A database of Redis, and a hash. */
const SPACES = ['db0', 'user:1'];
const TEAM = 'red';

const name = fc.constantFrom(...NAMES);
const key = fc.constantFrom(...KEYS);
const by = <Kind extends string>(kind: Kind): fc.Arbitrary<Kind> => fc.constant(kind);
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ by: by('put'), name, key, value: fc.option(rowArbitrary, { freq: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ by: by('publish'), name }) },
  fc.record({ by: by('tell'), name }),
  { weight: 2, arbitrary: fc.record({ by: by('hear'), name }) },
  { weight: 3, arbitrary: fc.record({ by: by('count'), name }) },
  { weight: 2, arbitrary: fc.record({ by: by('watch'), name }) },
  fc.record({ by: by('hold'), name }),
  { weight: 3, arbitrary: fc.record({ by: by('stream'), name, topics: fc.subarray(NAMES) }) },
  fc.record({ by: by('post'), name }),
  fc.record({ by: by('store'), space: fc.constantFrom(...SPACES), key }),
  { weight: 2, arbitrary: fc.record({ by: by('look'), space: fc.constantFrom(...SPACES) }) },
  fc.record({ by: by('subscribe'), name, isPattern: fc.boolean() }),
  { weight: 4, arbitrary: fc.record({ by: by('policies') }) },
);
type Step = typeof step extends fc.Arbitrary<infer One> ? One : never;

const policySet = fc.tuple(policiesArbitrary, rightsArbitrary).map(([about, rights]) => [...about, ...rights]);
const story = fc.record({
  subject: subjectArbitrary,
  sets: fc.array(policySet, { minLength: 3, maxLength: 3 }),
  steps: fc.array(step, { minLength: 10, maxLength: 40, size: 'max' }),
});

type Rows = Map<string, unknown>;

/** What a reader of events makes of what he is told. */
class Reader {
  readonly stream: StreamEnd;
  readonly map: string;
  readonly topics: ReadonlySet<string>;
  readonly held: Rows = new Map();
  readonly found: Rows = new Map();
  heardTopics: unknown[] = [];
  hasQuery = true;

  constructor(stream: StreamEnd, map: string, topics: readonly string[]) {
    this.stream = stream;
    this.map = map;
    this.topics = new Set(topics);
  }

  /** `now` is what he reads when he is told to read the map anew. */
  hear(now: Rows): void {
    for (const { event, data } of this.stream.heard()) {
      const isQuery = data.query !== undefined;
      const rows = isQuery ? this.found : this.held;
      if (event === 'topic') this.heardTopics.push(data.topic);
      else if (event === 'reset' || event === 'snapshot') {
        rows.clear();
        const found: { key: string; value: unknown }[] = Array.isArray(data.results) ? data.results : [];
        for (const [at, value] of isQuery ? found.map((row) => [row.key, row.value] as const) : now) rows.set(at, value);
      } else if (event === 'refused') this.hasQuery = false;
      else if (event === 'remove' || event === 'leave') rows.delete(String(data.key));
      else if (['put', 'enter', 'update'].includes(event)) rows.set(String(data.key), data.value);
    }
  }
}

class Told {
  readonly node: OneThreadNode;
  readonly subject: Subject | undefined;
  readonly root: TestClient;
  readonly rootRedis: RedisEnd;
  readonly doors: SubjectDoors;
  readonly rows = new Map<string, Rows>(NAMES.map((of) => [of, new Map()]));
  readonly stored = new Map<string, Map<string, string>>(SPACES.map((of) => [of, new Map()]));
  readonly readers: Reader[] = [];
  policies: readonly Policy[] = [];
  readonly #heard = new Set<string>();
  readonly #watched = new Set<string>();
  readonly #subscribed = new Set<string>();
  #hasPattern = false;

  constructor(node: OneThreadNode, subject: Subject | undefined) {
    this.node = node;
    this.subject = subject;
    this.root = rootOf(node);
    this.root.session.deviceId = 'root';
    for (const topic of NAMES) this.root.say({ type: 'TOPIC_SUB', payload: { topic } });
    this.rootRedis = new RedisEnd(node, { id: 'root', roles: [], claims: new Map(), expiresSeconds: 4e9 });
    this.doors = new SubjectDoors(node, subject);
    this.doors.client.session.deviceId = 'subject';
  }

  define(policies: readonly Policy[], version: number): void {
    this.policies = policies;
    define(this.node, policies, version);
  }

  may(action: Action, of: string): boolean {
    return oracleAllows(this.policies, this.subject, action, of, undefined);
  }

  /** The rows of the map as the subject sees them. */
  seen(of: string): Rows {
    const rows = [...(this.rows.get(of) ?? [])].map(
      ([at, value]) => [at, oracleSees(this.policies, this.subject, of, value)] as const,
    );
    return new Map(rows.filter(([, value]) => value !== undefined));
  }

  async do(one: Step, at: number): Promise<void> {
    const { client } = this.doors;
    switch (one.by) {
      case 'put': {
        const record = { value: one.value, timestamp: { millis: 1_700_000_000_000 + at, counter: 0, nodeId: 'n' } };
        this.root.write({ id: String(at + 1), mapName: one.name, key: one.key, opType: 'PUT', record });
        if (one.value === null) this.rows.get(one.name)?.delete(one.key);
        else this.rows.get(one.name)?.set(one.key, one.value);
        return;
      }
      case 'publish':
        return this.#published(this.root, one.name, at);
      case 'tell':
        return this.#published(client, one.name, at);
      case 'hear':
        client.say({ type: 'TOPIC_SUB', payload: { topic: one.name } });
        if (this.may('subscribe', one.name)) this.#heard.add(one.name);
        return;
      case 'count': {
        client.heard();
        this.root.say({ type: 'COUNTER_SYNC', payload: { name: one.name, state: { p: { root: at + 1 }, n: {} } } });
        await settle(this.node);
        const isTold = this.#watched.has(one.name) && this.may('readCounter', one.name);
        const updates = client.heardOf('COUNTER_UPDATE').map(({ payload }) => Object(payload).state.positive.root);
        assert.deepEqual(updates, isTold ? [at + 1] : []);
        return;
      }
      case 'watch': {
        client.heard();
        client.say({ type: 'COUNTER_REQUEST', payload: { name: one.name } });
        await settle(this.node);
        const isAllowed = this.may('readCounter', one.name);
        assert.equal(client.heardOf('COUNTER_RESPONSE').length, isAllowed ? 1 : 0);
        if (isAllowed) this.#watched.add(one.name);
        return;
      }
      case 'hold': {
        client.heard();
        client.say({ type: 'LOCK_REQUEST', payload: { requestId: 'r', name: one.name, ttl: 600_000 } });
        await settle(this.node);
        const granted = client.heardOf('LOCK_GRANTED');
        assert.equal(granted.length, this.may('lock', one.name) ? 1 : 0);
        for (const { payload } of granted) client.say({ type: 'LOCK_RELEASE', payload: { ...Object(payload) } });
        return;
      }
      case 'stream':
        return this.#open(one.name, one.topics);
      case 'post':
        return this.#post(one.name);
      case 'store':
        return this.#store(one.space, one.key, `v${at}`);
      case 'look':
        return this.#look(one.space);
      case 'subscribe': {
        const reply = await this.doors.subscriber(...(one.isPattern ? ['PSUBSCRIBE', '*'] : ['SUBSCRIBE', one.name]));
        const isAllowed = one.isPattern || this.may('subscribe', one.name);
        assert.match(reply, isAllowed ? /subscribe\r\n/ : /^-NOPERM/);
        if (one.isPattern) this.#hasPattern = true;
        else if (isAllowed) this.#subscribed.add(one.name);
        return;
      }
      case 'policies':
    }
  }

  /** Publishes, and whoever may hear it has heard it, at whatever door; the publisher has not. */
  async #published(publisher: TestClient, topic: string, data: number): Promise<void> {
    const { client, listener } = this.doors;
    for (const one of [this.root, client, listener]) one.heard();
    for (const reader of this.readers) reader.heardTopics = [];
    publisher.say({ type: 'TOPIC_PUB', payload: { topic, data } });
    await this.checkSettled();
    const isOwn = publisher === client;
    const isPublished = !isOwn || this.may('publish', topic);
    const isHeard = isPublished && this.may('subscribe', topic);
    const count = (is: boolean): number => (is ? 1 : 0);
    const own = isOwn ? this.root.heardOf('TOPIC_MESSAGE').length : client.heardOf('TOPIC_MESSAGE').length;
    assert.equal(own, count(isOwn ? isPublished : isHeard && this.#heard.has(topic)), 'the WebSocket');
    const lines = listener.heard().split('\r\n');
    assert.equal(lines.filter((line) => line === 'message').length, count(isHeard && this.#subscribed.has(topic)), 'SUBSCRIBE');
    assert.equal(lines.filter((line) => line === 'pmessage').length, count(isHeard && this.#hasPattern), 'PSUBSCRIBE');
    for (const { topics, heardTopics } of this.readers)
      assert.deepEqual(heardTopics, isHeard && topics.has(topic) ? [topic] : []);
  }

  async #open(map: string, topics: readonly string[]): Promise<void> {
    const query = JSON.stringify({ map, id: 'q' });
    const stream = await this.doors.stream({ map, topic: topics, query });
    const isForbidden = topics.some((topic) => !this.may('subscribe', topic));
    if (stream instanceof GridError) {
      assert.equal(stream.code, 'FORBIDDEN');
      assert.ok(isForbidden || this.seen(map).size === 0, 'a stream is refused to who may not have it');
      return;
    }
    assert.ok(!isForbidden);
    const reader = new Reader(stream, map, topics);
    for (const [at, value] of this.seen(map)) reader.held.set(at, value); // read at `ready`
    this.readers.push(reader);
  }

  async #post(map: string): Promise<void> {
    const never = { millis: 0, counter: 0, nodeId: '' };
    const queries = [{ queryId: 'q', mapName: map, filter: { team: TEAM } }];
    const body = JSON.stringify({ syncMaps: [{ mapName: map, lastSyncTimestamp: never }], queries });
    const answer = await this.doors.http('/sync', { method: 'post', body, headers: { 'content-type': 'application/json' } });
    assert.ok(!(answer instanceof GridError) && 'body' in answer);
    const { deltas = [], queryResults = [] } = JSON.parse(String(answer.body));
    const records: { key: string; record: { value: unknown } }[] = deltas[0]?.records ?? [];
    const live = records.filter(({ record }) => record.value !== null).map(({ key: at, record }) => [at, record.value] as const);
    assert.deepEqual(sorted(new Map(live)), sorted(this.seen(map)), 'what is new');
    const found = [...matching(this.seen(map))].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => plain(value));
    assert.deepEqual(queryResults[0]?.results ?? [], found, 'what a query finds');
  }

  async #store(space: string, at: string, value: string): Promise<void> {
    this.rootRedis.say(...(space === 'db0' ? ['SET', at, value] : ['HSET', space, at, value]));
    await settle(this.node);
    this.stored.get(space)?.set(at, value);
  }

  /** Whoever gets an answer may read all that the map has; whoever may do so without a condition gets one. */
  async #look(space: string): Promise<void> {
    const stored = this.stored.get(space) ?? new Map<string, string>();
    const bulk = (value: string | undefined): string => (value === undefined ? '$-1\r\n' : `$${value.length}\r\n${value}\r\n`);
    const list = KEYS.map((at) => bulk(stored.get(at))).join('');
    const isDb = space === 'db0';
    const asked: [string[], string][] = isDb
      ? [
          [['MGET', ...KEYS], `*${KEYS.length}\r\n${list}`],
          [['GET', 'k'], bulk(stored.get('k'))],
          [['EXISTS', ...KEYS], `:${stored.size}\r\n`],
          [['DBSIZE'], `:${stored.size}\r\n`],
          [['TYPE', 'k'], stored.has('k') ? '+string\r\n' : '+none\r\n'],
        ]
      : [
          [['HMGET', space, ...KEYS], `*${KEYS.length}\r\n${list}`],
          [['HLEN', space], `:${stored.size}\r\n`],
          [['HGET', space, 'k'], bulk(stored.get('k'))],
        ];
    for (const [words, expected] of asked) {
      const reply = await this.doors.command(...words);
      if (reply.startsWith('-NOPERM')) assert.ok(!this.#readsPlainly(space), words.join(' '));
      else {
        assert.equal(reply, expected, words.join(' '));
        const values = [...stored.values(), {}, { owner: 1 }];
        assert.ok(values.every((value) => plainText(oracleSees(this.policies, this.subject, space, value)) === plainText(value)));
      }
    }
    if (!isDb) return;
    for (const words of [
      ['KEYS', '*'],
      ['SCAN', '0', 'COUNT', '1000'],
    ]) {
      const reply = await this.doors.command(...words);
      if (reply.startsWith('-NOPERM')) assert.ok(!this.#readsPlainly(space), words.join(' '));
      else assert.ok(!reply.includes('user:1') && !reply.includes('notes'), 'names of maps are not told');
    }
  }

  #readsPlainly(space: string): boolean {
    const about = this.policies.filter(({ condition: _, fields: __, ...policy }) =>
      oracleAllows([{ ...policy, effect: 'allow' }], this.subject, 'read', space, {}),
    );
    const isAllowed = about.some(
      ({ effect, condition, fields }) => effect === 'allow' && condition === undefined && fields === undefined,
    );
    return isAllowed && about.every(({ effect }) => effect === 'allow');
  }

  /** A query that is filled anew takes as many turns as the machine is slow. */
  async checkSettled(): Promise<void> {
    for (let left = 20; ; left--) {
      await settle(this.node);
      try {
        return this.check();
      } catch (error) {
        if (left === 0) throw error;
      }
    }
  }

  /** Every reader holds what the oracle says. */
  check(): void {
    for (const reader of this.readers) {
      const now = this.seen(reader.map);
      reader.hear(now);
      assert.deepEqual(sorted(reader.held), sorted(now), `${reader.map} as its events tell it`);
      assert.deepEqual(sorted(reader.found), reader.hasQuery ? sorted(now) : [], `${reader.map} as a query tells it`);
    }
  }
}

function matching(rows: Rows): Rows {
  return new Map([...rows].filter(([, value]) => Object(value).team === TEAM));
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const plainText = (value: unknown): string | undefined => JSON.stringify(value);

function sorted(rows: Rows): unknown[] {
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([at, value]) => [at, plain(value)]);
}

test('at every door a subject is told what it may know of rows, topics, counters, locks and keys, and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(story, async ({ subject, sets, steps }) => {
      const told = new Told(await newNode(true), subject);
      let version = 1;
      told.define(sets[0] ?? [], version);
      await settle(told.node);
      for (const [at, one] of steps.entries()) {
        if (one.by === 'policies') told.define(sets[version++ % sets.length] ?? [], version);
        await told.do(one, at);
        await told.checkSettled();
      }
    }),
    propertyRuns(60),
  );
});
