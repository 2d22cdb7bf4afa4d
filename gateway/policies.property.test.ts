/**
 * Random policies, subjects and writes over a whole node in one thread, compared with the oracle after every write: what is
 * rejected, which rows, fields and hashes are served, and what each client holds that only listens.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { LwwMap, OrMap } from '../engine/crdt/model.ts';
import type { Policy } from '../engine/domains/security/policy.ts';
import {
  oracleAllows,
  oracleSees,
  policiesArbitrary,
  rowArbitrary,
  subjectArbitrary,
} from '../engine/domains/security/policy-oracle.ts';
import type { Subject } from '../engine/domains/security/subject.ts';
import { encode } from '../engine/protocol/codec.ts';
import type { Message, OneThreadNode, TestClient } from './testing/one-thread-node.ts';
import { define, gatewayOf, newNode, rootOf, settle } from './testing/policy-node.ts';

const MAPS = ['notes', 'notes.a', 'staff'];
const KEYS = ['k', 'l', 'm'];

interface Stored {
  readonly value: unknown;
  readonly millis: number;
}

/** A client that only listens: it asks for its maps when it is told to. */
class Listener {
  readonly client: TestClient;
  readonly subject: Subject | undefined;
  readonly held = new Map<string, Map<string, unknown>>();
  readonly #node: OneThreadNode;

  constructor(node: OneThreadNode, subject: Subject | undefined) {
    this.#node = node;
    this.subject = subject;
    this.client = node.client();
    const { accessControl } = gatewayOf(node);
    this.client.session.access = accessControl.accessOf(subject === undefined ? undefined : { ...subject, expiresSeconds: 0 });
    accessControl.listen(this.client.session, undefined);
    for (const map of MAPS) this.held.set(map, new Map());
  }

  /** Takes what came; answers a reset as a client does. */
  async hear(): Promise<Message[]> {
    const heard: Message[] = [];
    for (let frames = this.client.heard(); frames.length > 0; frames = this.client.heard()) {
      heard.push(...frames);
      for (const message of frames) this.#take(message);
      await settle(this.#node);
    }
    return heard;
  }

  #take(message: Message): void {
    const payload: Fields = { ...Object(message.payload) };
    const mapName = String(payload.mapName);
    if (message.type === 'SERVER_EVENT') this.#event(payload);
    if (message.type === 'SERVER_BATCH_EVENT') for (const event of listOf(payload.events)) this.#event({ ...Object(event) });
    if (message.type === 'SYNC_RESET_REQUIRED') {
      this.held.set(mapName, new Map());
      this.client.say({ type: 'MERKLE_REQ_BUCKET', payload: { mapName, path: '' } });
    }
    if (message.type !== 'SYNC_RESP_LEAF') return;
    for (const item of listOf(payload.records)) {
      const { key, record }: { key?: unknown; record?: { value?: unknown } } = Object(item);
      this.#event({ mapName, key, record });
    }
  }

  #event({ mapName, key, record }: Fields): void {
    const { value }: { value?: unknown } = Object(record);
    if (value === null || value === undefined) this.held.get(String(mapName))?.delete(String(key));
    else this.held.get(String(mapName))?.set(String(key), value);
  }
}

type Fields = Readonly<Record<string, unknown>>;

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

const write = fc.record({
  writer: fc.nat(2),
  map: fc.constantFrom(...MAPS),
  key: fc.constantFrom(...KEYS),
  value: fc.option(rowArbitrary, { nil: null, freq: 4 }),
});
const story = fc.record({
  subjects: fc.tuple(subjectArbitrary, subjectArbitrary),
  before: policiesArbitrary,
  after: policiesArbitrary,
  writes: fc.array(write, { minLength: 1, maxLength: 12 }),
});

/** What is stored when the write is allowed, by the oracle; undefined when it is refused. */
function outcome(
  policies: readonly Policy[],
  subject: Subject | undefined,
  map: string,
  stored: unknown,
  value: unknown,
): { value: unknown } | undefined {
  const hasRow = stored !== undefined;
  if (value === null) {
    if (!hasRow) return isSameForEveryRow(policies, subject, map) ? { value: null } : undefined;
    return oracleAllows(policies, subject, 'remove', map, stored) ? { value: null } : undefined;
  }
  const kept = keepHidden(policies, subject, map, stored, value);
  if (kept === undefined || (hasRow && !oracleAllows(policies, subject, 'write', map, stored))) return undefined;
  return oracleAllows(policies, subject, 'write', map, kept.value) ? kept : undefined;
}

/** The removal of nothing is only allowed to whom every removal is. */
function isSameForEveryRow(policies: readonly Policy[], subject: Subject | undefined, map: string): boolean {
  const unconditional = policies.filter(({ actions }) => actions.includes('remove'));
  const plain = unconditional.filter(({ condition }) => condition === undefined);
  if (!oracleAllows(plain, subject, 'remove', map, {})) return false;
  return unconditional.every((policy) => {
    if (policy.condition === undefined || policy.effect === 'allow') return true;
    const { condition: _, ...always } = policy;
    return !oracleAllows([{ ...always, effect: 'allow' }], subject, 'remove', map, {});
  });
}

function keepHidden(
  policies: readonly Policy[],
  subject: Subject | undefined,
  map: string,
  stored: unknown,
  value: unknown,
): { value: unknown } | undefined {
  const seen = stored === undefined ? undefined : oracleSees(policies, subject, map, stored);
  if (isMap(stored) && isMap(seen)) {
    const hidden = Object.entries(stored).filter(([field]) => !Object.hasOwn(seen, field));
    if (!isMap(value)) return hidden.length > 0 ? undefined : { value };
    const probe = Object.fromEntries(Object.keys(value).map((field) => [field, 0]));
    const shown = oracleSees(
      policies.map((policy) => judgedBy(policy, subject, map, stored)),
      subject,
      map,
      probe,
    );
    const given = Object.entries(value).filter(([field]) => isMap(shown) && Object.hasOwn(shown, field));
    return { value: Object.fromEntries([...given, ...hidden]) };
  }
  if (!isMap(value)) return { value };
  const cut = oracleSees(policies, subject, map, value);
  return { value: cut === undefined ? value : cut };
}

/** The policy with its condition settled by a row. */
function judgedBy(policy: Policy, subject: Subject | undefined, map: string, row: unknown): Policy {
  const { condition, fields, ...always } = policy;
  if (condition === undefined) return policy;
  const holds = oracleAllows([{ ...always, condition, effect: 'allow' }], subject, 'read', map, row);
  const isDeny = policy.effect === 'deny' && oracleAllows([{ ...always, effect: 'allow' }], subject, 'read', map, row);
  const met = policy.effect === 'allow' ? holds : isDeny && denies(policy, subject, map, row);
  const settled = fields === undefined ? always : { ...always, fields };
  return met ? settled : { ...settled, pattern: 'nowhere' };
}

function denies({ fields: _, ...policy }: Policy, subject: Subject | undefined, map: string, row: unknown): boolean {
  const all: Policy = { id: 'all', pattern: '*', actions: ['read'], effect: 'allow' };
  return !oracleAllows([all, policy], subject, 'read', map, row);
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

class Story {
  readonly node: OneThreadNode;
  readonly root: TestClient;
  readonly listeners: readonly Listener[];
  readonly rows = new Map<string, Map<string, Stored>>(MAPS.map((map) => [map, new Map()]));
  policies: readonly Policy[] = [];
  #id = 0;

  constructor(node: OneThreadNode, subjects: readonly (Subject | undefined)[]) {
    this.node = node;
    this.root = rootOf(node);
    this.listeners = subjects.map((subject) => new Listener(node, subject));
  }

  async write(writer: number, map: string, key: string, value: unknown): Promise<void> {
    this.#id += 1;
    const millis = 1_700_000_000_000 + this.#id;
    const record = { value, timestamp: { millis, counter: 0, nodeId: 'n' } };
    const listener = this.listeners[writer - 1];
    const client = listener?.client ?? this.root;
    const rows = this.rows.get(map) ?? new Map<string, Stored>();
    const stored = rows.get(key)?.value ?? undefined;
    const result = listener === undefined ? { value } : outcome(this.policies, listener.subject, map, stored, value);
    client.write({ id: String(this.#id), mapName: map, key, opType: 'PUT', record });
    await settle(this.node);
    const heard = listener === undefined ? client.heard() : await listener.hear();
    const rejected = heard.filter(({ type }) => type === 'OP_REJECTED');
    assert.equal(rejected.length, result === undefined ? 1 : 0, `write ${this.#id} of ${writer} to ${map} ${key}`);
    for (const { payload } of rejected) assert.equal(Object(payload).reason, 'FORBIDDEN: the policies do not allow this write');
    if (result !== undefined) rows.set(key, { value: result.value, millis });
    // The writer has what it wrote itself.
    if (result !== undefined && listener !== undefined) this.#hold(listener, map, key, value);
  }

  #hold(listener: Listener, map: string, key: string, value: unknown): void {
    const held = listener.held.get(map);
    const seen = oracleSees(this.policies, listener.subject, map, this.rows.get(map)?.get(key)?.value ?? undefined);
    if (seen === undefined || value === null) held?.delete(key);
    else held?.set(key, seen);
  }

  /** Everybody holds, and is served, what the oracle says. */
  async check(): Promise<void> {
    for (const listener of this.listeners) {
      await listener.hear();
      for (const map of MAPS) await this.#checkMap(listener, map);
    }
  }

  async #checkMap(listener: Listener, map: string): Promise<void> {
    const seen = new Map<string, unknown>();
    const reference = new LwwMap();
    for (const [key, { value, millis }] of this.rows.get(map) ?? []) {
      const part = value === null ? undefined : oracleSees(this.policies, listener.subject, map, value);
      if (part === undefined) continue;
      seen.set(key, part);
      reference.put(key, { millis, counter: 0, nodeId: 'n', value: encode(part).slice() });
    }
    assert.deepEqual(sorted(listener.held.get(map)), sorted(seen), `${map} as it was told`);
    const client = listener.client;
    client.say({ type: 'SYNC_INIT', mapName: map, lastSyncTimestamp: 0 });
    client.say({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: map, path: '' } });
    await settle(this.node);
    const answers = client.heard();
    const root = answers.find(({ type }) => type === 'SYNC_RESP_ROOT');
    const leaf = answers.find(({ type }) => type === 'SYNC_RESP_LEAF');
    if (root === undefined) {
      assert.deepEqual([answers.map(({ type }) => type), seen.size], [['ERROR', 'ERROR'], 0]);
      return;
    }
    if (this.#hasTombstones(map) && leaf === undefined) return;
    const records = listOf(Object(leaf?.payload).records).map((item) => [Object(item).key, Object(item).record.value]);
    const live = records.filter(([, value]) => value !== null);
    assert.deepEqual(sorted(new Map(live.map(([key, value]) => [String(key), value]))), sorted(seen), `${map} as it is served`);
    if (live.length === records.length)
      assert.equal(Object(root.payload).rootHash, reference.tree().root, `${map}: hashes of what is seen`);
    else assert.ok(this.#readsAll(listener, map), 'tombstones are told to whom no row is hidden alone');
  }

  #hasTombstones(map: string): boolean {
    return [...(this.rows.get(map)?.values() ?? [])].some(({ value }) => value === null);
  }

  #readsAll({ client }: Listener, map: string): boolean {
    return client.session.access.guard?.grants.decide('read', map) === 'allow';
  }
}

function sorted(rows: ReadonlyMap<string, unknown> | undefined): [string, unknown][] {
  return [...(rows ?? [])]
    .map(([key, value]): [string, unknown] => [key, isMap(value) ? { ...value } : value])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

test('whatever the policies, subjects hold, are served and are told what they may see, and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(story, async ({ subjects, before, after, writes }) => {
      const told = new Story(await newNode(), subjects);
      told.policies = before;
      define(told.node, before, 1);
      await settle(told.node);
      const half = Math.ceil(writes.length / 2);
      for (const [index, { writer, map, key, value }] of writes.entries()) {
        if (index === half) {
          told.policies = after;
          define(told.node, after, 2);
          await settle(told.node);
        }
        await told.write(writer, map, key, value);
        await told.check();
      }
    }),
    { numRuns: 80, includeErrorInReport: true },
  );
});

test('an OR-Map shows the tags that are seen, with hashes of what is shown of them', async () => {
  const adds = fc.array(fc.record({ key: fc.constantFrom(...KEYS), value: rowArbitrary }), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(policiesArbitrary, subjectArbitrary, adds, async (policies, subject, added) => {
      const node = await newNode();
      define(node, policies, 1);
      const [root, listener] = [rootOf(node), new Listener(node, subject)];
      const reference = new OrMap();
      for (const [index, { key, value }] of added.entries()) {
        const timestamp = { millis: 1_700_000_000_000 + index, counter: 0, nodeId: 'n' };
        const tag = `${timestamp.millis}:0:n`;
        root.write({ id: String(index + 1), mapName: 'notes', key, opType: 'OR_ADD', orRecord: { value, timestamp, tag } });
        const seen = value === null ? undefined : oracleSees(policies, subject, 'notes', value);
        if (seen !== undefined) reference.add(key, { tag, value: seen, ...timestamp });
      }
      await settle(node);
      listener.client.heard();
      listener.client.say({ type: 'ORMAP_SYNC_INIT', mapName: 'notes', rootHash: 0, bucketHashes: {}, lastSyncTimestamp: 0 });
      await settle(node);
      const answers = listener.client.heard();
      const answer = answers.find(({ type }) => type === 'ORMAP_SYNC_RESP_ROOT');
      if (answer === undefined) assert.deepEqual([answers.map(({ type }) => type), reference.tree().root], [['ERROR'], 0]);
      else assert.equal(Object(answer.payload).rootHash, reference.tree().root);
    }),
    { numRuns: 60, includeErrorInReport: true },
  );
});
