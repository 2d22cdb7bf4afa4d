import assert from 'node:assert/strict';
import test from 'node:test';
import { decode, encode } from '../../protocol/codec.ts';
import {
  PUSH_COUNTER,
  REQUEST_COUNTER_LEAVE,
  REQUEST_COUNTER_READ,
  REQUEST_COUNTER_SYNC,
  REQUEST_COUNTER_WATCH,
} from '../../protocol/envelope.ts';
import { GridError } from '../../protocol/errors.ts';
import { NullDataStore } from '../../storage/null-data-store.ts';
import { plain } from '../testing/scanned-ops.ts';
import { CounterService } from './counter-service.ts';
import { CounterTable } from './counter-table.ts';

type Side = Readonly<Record<string, number>>;

class Worker {
  readonly table = new CounterTable(new NullDataStore());
  readonly pushes: { gateway: number; name: unknown; origin: unknown; state: unknown }[] = [];
  readonly #service: CounterService;

  constructor(limits = { countersMax: 10, nodesMax: 100 }) {
    this.#service = new CounterService({
      table: this.table,
      pushes: { push: (gateway, session, kind, body) => this.#pushed(gateway, session, kind, body) },
      ...limits,
    });
  }

  ask(kind: number, body: object, gateway = 0, session = 7): unknown {
    const answer = this.#service.answer({ kind, body: encode(body).slice(), gateway, session, nowMs: 1 });
    assert.ok(Array.isArray(answer));
    const [bytes] = answer;
    if (!(bytes instanceof Uint8Array)) return undefined;
    const { frame, refused } = decode(bytes) as { frame: Uint8Array; refused?: number };
    const { type, payload } = plain(decode(frame)) as { type: string; payload: { state: unknown } };
    assert.equal(type, kind === REQUEST_COUNTER_READ ? 'COUNTER_RESPONSE' : 'COUNTER_UPDATE');
    return kind === REQUEST_COUNTER_READ ? payload.state : { state: payload.state, refused };
  }

  endBatch(): void {
    this.#service.settled();
  }

  sync(device: string, positive: Side, negative: Side = {}, gateway = 0, session = 7): unknown {
    const answer = this.syncInBatch(device, positive, negative, gateway, session);
    this.endBatch();
    return answer;
  }

  syncInBatch(device: string, positive: Side, negative: Side = {}, gateway = 0, session = 7): unknown {
    return this.ask(REQUEST_COUNTER_SYNC, { name: 'hits', device, state: { positive, negative } }, gateway, session);
  }

  #pushed(gateway: number, session: number, kind: number, body: Uint8Array): void {
    assert.equal(kind, PUSH_COUNTER);
    assert.equal(session, 0, 'the gateway itself is told');
    const push = plain(decode(body)) as { name: unknown; origin: unknown };
    const raw = decode(body) as { frame: Uint8Array };
    const frame = plain(decode(raw.frame)) as { type: string; payload: { state: unknown; name: unknown } };
    assert.equal(frame.type, 'COUNTER_UPDATE');
    assert.equal(frame.payload.name, push.name);
    this.pushes.push({ gateway, name: push.name, origin: push.origin, state: frame.payload.state });
  }
}

function wire(positive: Side, negative: Side = {}): object {
  return { positive, negative, p: positive, n: negative };
}

test('a state is answered in both spellings, and whoever reads watches', () => {
  const worker = new Worker();
  assert.deepEqual(worker.ask(REQUEST_COUNTER_READ, { name: 'hits' }, 1), wire({}));
  assert.deepEqual(worker.sync('d1', { a: 2.5 }, { a: 1 }), { state: wire({ a: 2.5 }, { a: 1 }), refused: 0 });
  assert.deepEqual(worker.pushes, [
    { gateway: 0, name: 'hits', origin: 7, state: wire({ a: 2.5 }, { a: 1 }) },
    { gateway: 1, name: 'hits', origin: 0, state: wire({ a: 2.5 }, { a: 1 }) },
  ]);
});

test('what several sessions raise in one batch is told once, to all of them', () => {
  const worker = new Worker();
  worker.ask(REQUEST_COUNTER_READ, { name: 'hits' }, 1);
  assert.deepEqual(worker.syncInBatch('d1', { a: 1 }, {}, 0, 7), { state: wire({ a: 1 }), refused: 0 });
  assert.deepEqual(worker.syncInBatch('d2', { b: 4 }, {}, 0, 8), { state: wire({ a: 1, b: 4 }), refused: 0 });
  assert.deepEqual(worker.pushes, []);
  worker.endBatch();
  assert.deepEqual(worker.pushes, [
    { gateway: 0, name: 'hits', origin: 0, state: wire({ a: 1, b: 4 }) },
    { gateway: 1, name: 'hits', origin: 0, state: wire({ a: 1, b: 4 }) },
  ]);
  worker.endBatch();
  assert.equal(worker.pushes.length, 2);
});

test('what one session raises several times in a batch is told to the others alone', () => {
  const worker = new Worker();
  worker.syncInBatch('d1', { a: 1 });
  worker.syncInBatch('d1', { a: 2 });
  worker.endBatch();
  assert.deepEqual(worker.pushes, [{ gateway: 0, name: 'hits', origin: 7, state: wire({ a: 2 }) }]);
});

test('the spelling p and n is read like the other', () => {
  const worker = new Worker();
  worker.ask(REQUEST_COUNTER_SYNC, { name: 'hits', device: 'd1', state: { p: { 'node-1': 10 }, n: {} } });
  assert.deepEqual(worker.ask(REQUEST_COUNTER_READ, { name: 'hits' }), wire({ 'node-1': 10 }));
});

test('a repeat changes nothing and is told to nobody', () => {
  const worker = new Worker();
  worker.sync('d1', { a: 2 });
  worker.pushes.length = 0;
  assert.deepEqual(worker.sync('d1', { a: 2 }), { state: wire({ a: 2 }), refused: 0 });
  assert.deepEqual(worker.sync('d1', { a: 1 }), { state: wire({ a: 2 }), refused: 0 });
  assert.deepEqual(worker.pushes, []);
});

test('no device raises the node of another, and its own goes on', () => {
  const worker = new Worker();
  worker.sync('d1', { a: 2 });
  assert.deepEqual(worker.sync('d2', { a: 9, b: 1 }), { state: wire({ a: 2, b: 1 }), refused: 1 });
  assert.deepEqual(worker.sync('d2', { a: 2, b: 2 }), { state: wire({ a: 2, b: 2 }), refused: 0 });
  assert.deepEqual(worker.sync('d1', { a: 3, b: 9 }, { b: 1 }), { state: wire({ a: 3, b: 2 }), refused: 1 });
  assert.equal(worker.table.refusals, 2);
});

test('nodes that come several at once are of nobody until a device raises one', () => {
  const worker = new Worker();
  assert.deepEqual(worker.sync('d1', { a: 2, b: 5 }), { state: wire({ a: 2, b: 5 }), refused: 0 });
  assert.deepEqual(worker.sync('d2', { a: 2, b: 6 }), { state: wire({ a: 2, b: 6 }), refused: 0 });
  assert.deepEqual(worker.sync('d1', { a: 3, b: 7 }), { state: wire({ a: 3, b: 6 }), refused: 1 });
});

test('of a large counter only what rose is told, and to its sender what he does not know', () => {
  const worker = new Worker();
  const many = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [`n${index}`, index + 1]));
  worker.sync('d1', many);
  worker.pushes.length = 0;
  assert.deepEqual(worker.sync('d2', { ...many, mine: 1 }), { state: wire({}), refused: 0 });
  assert.deepEqual(worker.pushes[0]?.state, wire({ mine: 1 }));
  assert.deepEqual(worker.sync('d2', { mine: 2, n3: 4 }), {
    state: wire(Object.fromEntries(Object.entries(many).filter(([node]) => node !== 'n3'))),
    refused: 0,
  });
});

test('counters and their nodes are bounded, and what does not fit changes nothing', () => {
  const worker = new Worker({ countersMax: 1, nodesMax: 2 });
  worker.sync('d1', { a: 1 });
  assert.throws(() => worker.sync('d2', { b: 1, c: 1 }), isCode('COUNTER_FULL'));
  assert.deepEqual(worker.ask(REQUEST_COUNTER_READ, { name: 'hits' }), wire({ a: 1 }));
  worker.sync('d2', { b: 1 });
  assert.throws(() => worker.ask(REQUEST_COUNTER_READ, { name: 'likes' }), isCode('TOO_MANY_COUNTERS'));
  assert.equal(worker.table.counters, 1);
});

test('node names that no record could carry are left out', () => {
  const worker = new Worker();
  assert.deepEqual(worker.sync('d1', { '': 4, ['x'.repeat(257)]: 4, ok: 1, ['ü'.repeat(200)]: 3 }), {
    state: wire({ ok: 1 }),
    refused: 0,
  });
});

test('what is no state is refused, and a request without one is answered by name', () => {
  const worker = new Worker();
  assert.throws(() => worker.ask(REQUEST_COUNTER_SYNC, { name: 'hits', device: 'd1', state: 5 }), isCode('BAD_REQUEST'));
  assert.deepEqual(worker.sync('d1', { a: Number.NaN, b: -3, c: Number.POSITIVE_INFINITY }), { state: wire({}), refused: 0 });
});

test('a gateway that left hears nothing, and one that says what it watches gets the states', () => {
  const worker = new Worker();
  worker.ask(REQUEST_COUNTER_READ, { name: 'hits' }, 1);
  worker.ask(REQUEST_COUNTER_LEAVE, { name: 'hits' }, 1);
  assert.equal(worker.table.counters, 0, 'nobody wrote or watches it');
  worker.sync('d1', { a: 1 });
  assert.deepEqual(
    worker.pushes.map(({ gateway }) => gateway),
    [0],
  );
  worker.pushes.length = 0;
  worker.ask(REQUEST_COUNTER_WATCH, { names: ['hits', 5] }, 2);
  assert.deepEqual(worker.pushes, [{ gateway: 2, name: 'hits', origin: 0, state: wire({ a: 1 }) }]);
  worker.sync('d1', { a: 2 });
  assert.deepEqual(
    worker.pushes.map(({ gateway }) => gateway),
    [2, 0, 2],
  );
});

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof GridError && error.code === code;
}

test('who may not read a counter leaves nothing of it behind by writing nothing, and is not told of it', () => {
  const worker = new Worker({ countersMax: 1, nodesMax: 10 });
  const blind = (name: string, positive: Side): unknown =>
    worker.ask(REQUEST_COUNTER_SYNC, { name, device: 'd1', isBlind: true, state: { positive, negative: {} } });
  for (const name of ['a', 'b', 'c']) blind(name, {});
  assert.equal(worker.table.counters, 0);
  blind('hits', { a: 1 });
  worker.endBatch();
  assert.equal(worker.table.counters, 1);
  assert.deepEqual(worker.pushes, []);
});
