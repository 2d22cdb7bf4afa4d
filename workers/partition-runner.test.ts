import assert from 'node:assert/strict';
import test from 'node:test';
import { EngineUnderTest, scannedOps, utf8 } from '../engine/domains/testing/scanned-ops.ts';
import { RowRules } from '../engine/domains/sync/row-rules.ts';
import { SyncHandler } from '../engine/domains/sync/sync-handler.ts';
import {
  type GridRequest,
  type LateParts,
  type RequestAnswer,
  type RequestHandler,
  RequestHandlers,
} from '../engine/operation/request-handler.ts';
import { encode } from '../engine/protocol/codec.ts';
import {
  ENVELOPE,
  ENVELOPE_BYTES,
  FLAG_MORE,
  FLAG_PERSIST,
  FLAG_PERSISTED,
  FLAG_REFUSED,
  RECORD_ACKS,
  RECORD_CLOSED,
  RECORD_EVENTS,
  RECORD_INTEREST,
  RECORD_OPS,
  RECORD_PERSISTED,
  RECORD_PUSH,
  RECORD_REPLY,
  RECORD_REQUEST,
  RECORD_RESULT,
  REQUEST_ACT_COMMIT,
  REQUEST_LEAF,
  REQUEST_OR_PUSH,
  writeEnvelope,
} from '../engine/protocol/envelope.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { errorNumber, GridError } from '../engine/protocol/errors.ts';
import { KIND_LWW, KIND_OR } from '../engine/storage/record.ts';
import { Answers } from './answers.ts';
import { CounterRow, createCounters } from './counters.ts';
import { type Durability, NO_DURABILITY } from './durability.ts';
import { PartitionRunner } from './partition-runner.ts';
import { RingConsumer, RingProducer } from './ring.ts';
import { createRing, HEAD, TAIL } from './ring-layout.ts';
import { RingWriter } from './ring-writer.ts';
import { WORKER_COUNTERS } from './worker-counters.ts';

interface Answer {
  readonly type: number;
  readonly call: number;
  readonly count: number;
  readonly flags: number;
  readonly words: number[];
  /** What stands in the deadline's place: the log sequence of acks. */
  readonly sequence: number;
}

const REQUEST_ECHO = 200;

/** Answers with what it was asked, late where that is asked for, tells the asker the same once more, and fails when asked for nothing. */
class EchoHandler implements RequestHandler {
  readonly kinds = [REQUEST_ECHO];
  readonly writeKinds = [REQUEST_ECHO];
  readonly closed: number[][] = [];
  answers: Answers | undefined;
  /** Tells nobody anything unasked. */
  isQuiet = false;

  answer({ body, gateway, session }: GridRequest): RequestAnswer {
    if (body.length <= 3) throw new GridError('FORBIDDEN', 'nothing to echo');
    if (!this.isQuiet) this.answers?.push(gateway, session, 3, body);
    const asked = new TextDecoder().decode(body);
    if (asked.includes('much')) return [new Uint8Array(1 << 19)];
    return asked.includes('late') ? late(asked.includes('parts') ? [body, body, body] : [body]) : [body];
  }

  sessionClosed(gateway: number, session: number): void {
    this.closed.push([gateway, session]);
  }
}

/** Has something to push, a part at a time, and only while little waits. */
class TellingHandler implements RequestHandler {
  readonly kinds = [];
  readonly writeKinds = [];
  parts = 0;
  waitingMax = 0;
  answers: Answers | undefined;

  get isUnsettled(): boolean {
    return this.parts > 0;
  }

  answer(): RequestAnswer {
    return [];
  }

  settled(): void {
    const waiting = this.answers?.waitingBytes(0) ?? 0;
    this.waitingMax = Math.max(this.waitingMax, waiting);
    if (this.parts === 0 || waiting > 0) return;
    this.parts -= 1;
    this.answers?.push(0, 0, 3, new Uint8Array(30_000));
  }
}

const REQUEST_LATE_READ = 201;

/** Answers a while later, in two parts. */
class LateReader implements RequestHandler {
  readonly kinds = [REQUEST_LATE_READ];
  readonly writeKinds = [];

  answer({ body }: GridRequest): RequestAnswer {
    return late([body, body]);
  }
}

/** Writes, or says why not, as what it is asked says; a while later where that is asked for, too. */
class BareHandler implements RequestHandler {
  readonly kinds = [REQUEST_ACT_COMMIT];
  readonly writeKinds = this.kinds;
  readonly judgedKinds = this.kinds;
  readonly bareKinds = this.kinds;

  answer({ body }: GridRequest): RequestAnswer {
    const asked = new TextDecoder().decode(body);
    const parts = asked.includes('refuse') ? [Uint8Array.of(1)] : [];
    return asked.includes('late') ? late(parts) : parts;
  }
}

async function* late(parts: readonly Uint8Array[]): LateParts {
  await new Promise((resolve) => setImmediate(resolve));
  yield* parts;
}

class RunnerUnderTest {
  readonly echo = new EchoHandler();
  readonly telling = new TellingHandler();
  readonly engine = new EngineUnderTest({ listeners: [0] });
  admits = true;
  /** What each tick heard of the batch before it. */
  readonly told: boolean[] = [];
  readonly durability: { -readonly [Name in keyof Durability]: Durability[Name] } = { ...NO_DURABILITY };
  /** Gateway → position up to which a predecessor has merged and logged. */
  readonly loggedTo = new Map<number, number>();
  /** The same for its ops, where some were rejected or refused. */
  readonly opsLoggedTo = new Map<number, number>();
  readonly damaged = new Set<number>();
  /** Position of a record in the inbox at which workers have died. */
  readonly suspects = new Map<number, number>();
  readonly #mapIds = new Map<string, number>();
  readonly #inbox = createRing({ capacityBytes: 1 << 16, messageBytesMax: 1 << 20 });
  readonly #outbox: SharedArrayBuffer;
  #writer = new RingWriter(new RingProducer(this.#inbox, () => {}));
  #consumer = new RingConsumer(this.#inbox, 0);
  readonly #answers: RingConsumer;
  readonly #runner: PartitionRunner;

  constructor(outboxBytes = 1 << 16) {
    this.#outbox = createRing({ capacityBytes: outboxBytes, messageBytesMax: 1 << 20 });
    this.#answers = new RingConsumer(this.#outbox, 0);
    const { maps, changes, crdt, sync } = this.engine;
    const rowRules = new RowRules({
      maps,
      loader: undefined,
      pause: async () => {},
      nowMs: () => 1_000_000,
      onValueNeeded: () => {},
    });
    const counters = new CounterRow(createCounters(WORKER_COUNTERS, 1), WORKER_COUNTERS, 0);
    const answers = new Answers([new RingWriter(new RingProducer(this.#outbox, () => {}))], changes, counters);
    this.echo.answers = answers;
    this.telling.answers = answers;
    this.#runner = new PartitionRunner({
      answers,
      maps,
      crdt,
      handlers: new RequestHandlers([
        new SyncHandler(sync, rowRules.sync),
        this.echo,
        new BareHandler(),
        new LateReader(),
        this.telling,
      ]),
      durability: this.durability,
      refusal: () => (this.admits ? -1 : errorNumber('OVERLOADED')),
      loggedTo: this.loggedTo,
      opsLoggedTo: this.opsLoggedTo,
      damaged: this.damaged,
      counters,
      suspects: this.suspects,
      nowMs: () => 1_000_000,
      tickIntervalMs: 25,
      onTick: (_, isBatchTold) => this.told.push(isBatchTold),
      onShutdown: async () => {},
    });
  }

  ops(callId: number, ops: readonly object[], flags = 0): void {
    const { memory, count } = scannedOps(ops, this.#mapIds);
    this.#write(RECORD_OPS, callId, 7, count, memory.bytes, flags);
  }

  request(callId: number, kind: number, body: object): void {
    this.#write(RECORD_REQUEST, callId, 7, kind, encode(body).slice(), 0);
  }

  closed(session: number): void {
    this.#write(RECORD_CLOSED, 0, session, 0, new Uint8Array(0), 0);
  }

  tick(): void {
    this.#runner.onTick();
  }

  shutdown(): Promise<void> {
    return this.#runner.shutdown();
  }

  interest(map: string, wanted: boolean): void {
    const id = this.#mapIds.get(map) ?? this.#mapIds.size + 1;
    this.#mapIds.set(map, id);
    this.#write(RECORD_INTEREST, 0, id, 0, utf8(map), wanted ? 1 : 0);
  }

  persisted(sequence: number, error = -1): void {
    this.#runner.persisted(sequence, error);
  }

  /** The inbox as it is after so many more bytes have gone through it. */
  passBytes(bytes: number): void {
    const words = new Int32Array(this.#inbox);
    const position = (this.#consumer.position + bytes) | 0;
    words[HEAD] = position;
    words[TAIL] = position;
    this.#writer = new RingWriter(new RingProducer(this.#inbox, () => {}));
    this.#consumer = new RingConsumer(this.#inbox, 0);
  }

  get position(): number {
    return this.#consumer.position;
  }

  /** Where the next record will stand in the inbox. */
  get written(): number {
    return new Int32Array(this.#inbox)[TAIL] as number;
  }

  get isBehindPredecessor(): boolean {
    return this.#runner.isBehindPredecessor([this.#consumer]);
  }

  get loggedUpTo(): readonly number[] {
    return this.#runner.loggedUpTo([this.#consumer]);
  }

  /** Handles what is in the inbox, as one batch that ends at once. */
  run(records = 1000): void {
    assert.equal(this.batch(records), undefined);
  }

  /** Handles what is in the inbox, as one batch; a promise when the outbox has no room for the answers. */
  batch(records = 1000): Promise<void> | void {
    this.#consumer.drain(records, this.#runner);
    const ended = this.#runner.onBatchEnd();
    if (ended === undefined) this.#consumer.release();
    return ended?.then(() => this.#consumer.release());
  }

  read(): Answer[] {
    const answers: Answer[] = [];
    const onRecord = (ring: RingConsumer, at: number, bytes: number): void => {
      const words = [...ring.words.subarray(at >> 2, (at + bytes) >> 2)];
      const [type = 0, call = 0, , count = 0] = words;
      const sequence = ring.floats[(at >> 3) + ENVELOPE.SEQUENCE_F64] ?? Number.NaN;
      answers.push({ type, call, count, flags: words[ENVELOPE.FLAGS] ?? 0, words: words.slice(8), sequence });
    };
    while (this.#answers.drain(1000, { onRecord }) > 0) this.#answers.release();
    return answers;
  }

  #write(type: number, call: number, session: number, count: number, body: Uint8Array, flags: number): void {
    const record = new Uint8Array((ENVELOPE_BYTES + body.length + 7) & ~7);
    const memory = { bytes: record, words: new Int32Array(record.buffer), floats: new Float64Array(record.buffer) };
    writeEnvelope(memory, 0, type, call, session, count, body.length, flags, Number.NaN);
    record.set(body, ENVELOPE_BYTES);
    this.#writer.write(record);
    assert.equal(this.#writer.blocked, false);
  }
}

function put(key: string, value: unknown = 1, millis = 5): object {
  return { id: '1', mapName: 'm', key, opType: 'PUT', record: { value, timestamp: { millis, counter: 0, nodeId: 'n' } } };
}

function summary(answers: readonly Answer[]): unknown[] {
  return answers.map(({ type, call, count, words }) => {
    if (type === RECORD_ACKS) return ['acks', ...words.slice(0, count)];
    if (type === RECORD_RESULT) return ['result', call, ...words.slice(0, count * 2)];
    return [type === RECORD_REPLY ? 'reply' : type === RECORD_EVENTS ? 'events' : type, call];
  });
}

test('what a handler has not pushed for want of room is told when the gateway has read, though nothing comes', async () => {
  const runner = new RunnerUnderTest();
  runner.telling.parts = 20;
  runner.ops(1, [put('a')]);
  runner.run();
  let pushes = 0;
  for (let turns = 0; pushes < 20 && turns < 1000; turns++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    pushes += runner.read().filter(({ type }) => type === RECORD_PUSH).length;
  }
  assert.equal(pushes, 20);
  assert.ok(runner.telling.waitingMax <= 32_000, `${runner.telling.waitingMax} bytes waited`);
});

test('a batch that comes while much is to be told is answered as soon as what waits has been read', async () => {
  const runner = new RunnerUnderTest();
  runner.telling.parts = 1_000_000;
  runner.run();
  await new Promise((resolve) => setTimeout(resolve, 10)); // the outbox is full
  runner.ops(1, [put('a')]);
  const batch = runner.batch();
  let records = 0;
  for (let isAnswered = false; !isAnswered; records++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const read = runner.read();
    records += read.length;
    isAnswered = read.some(({ type }) => type === RECORD_ACKS);
  }
  await batch;
  assert.ok(records < 20, `${records} records came before`);
  await runner.shutdown();
});

test('calls of one batch are acknowledged together, behind their events', () => {
  const runner = new RunnerUnderTest();
  runner.engine.listeners[0] = 1;
  runner.ops(11, [put('a')]);
  runner.ops(12, [put('b'), put('c')]);
  runner.run();
  assert.deepEqual(summary(runner.read()), [
    ['events', 0],
    ['acks', 11, 12],
  ]);
});

test('a call in parts is answered at its last part; the rejected ops of each are told with their batch', () => {
  const runner = new RunnerUnderTest();
  runner.engine.watermarkMs = 100;
  const stale = errorNumber('STALE_OPERATION');
  runner.ops(21, [put('a', 1, 200), put('old', 1, 5)], FLAG_MORE);
  runner.ops(22, [put('other', 1, 200)]);
  runner.run();
  const [told, acks] = runner.read();
  assert.deepEqual([told?.call, told?.flags, told?.words[0], told?.words[1]], [21, FLAG_MORE, 1, stale]);
  assert.deepEqual([acks?.type, acks?.words[0]], [RECORD_ACKS, 22]);
  runner.ops(21, [put('b', 1, 200)]);
  runner.run();
  assert.deepEqual(summary(runner.read()), [['acks', 21]]);
  runner.ops(21, [put('b', 1, 200)], FLAG_MORE);
  runner.ops(21, [put('b', 1, 200)]);
  runner.run();
  assert.deepEqual(summary(runner.read()), [['acks', 21]]); // what was said of the earlier call is forgotten
});

test('a part that is refused ends its call, and leaves nothing behind', () => {
  const runner = new RunnerUnderTest();
  runner.engine.watermarkMs = 100;
  runner.ops(31, [put('old', 1, 5)], FLAG_MORE);
  runner.run();
  runner.read();
  runner.admits = false;
  runner.ops(31, [put('a', 1, 200)]);
  runner.run();
  const [refusal] = runner.read();
  assert.deepEqual(
    [refusal?.type, refusal?.call, refusal?.flags, refusal?.words[1]],
    [RECORD_RESULT, 31, FLAG_REFUSED, errorNumber('OVERLOADED')],
  );
  runner.admits = true;
  runner.ops(31, [put('a', 1, 200)]); // a later call with the same number
  runner.run();
  assert.deepEqual(summary(runner.read()), [['acks', 31]]);
});

test('a refused part changes nothing', () => {
  const runner = new RunnerUnderTest();
  runner.admits = false;
  runner.ops(1, [put('a')]);
  runner.run();
  assert.equal(runner.engine.maps.find(utf8('m'))?.existing(KIND_LWW), undefined);
});

test('interest of a gateway lasts until it says otherwise', () => {
  const runner = new RunnerUnderTest();
  runner.interest('m', true);
  runner.ops(1, [put('a')]);
  runner.run();
  assert.deepEqual(summary(runner.read()), [
    ['events', 0],
    ['acks', 1],
  ]);
  runner.interest('m', false);
  runner.ops(2, [put('b')]);
  runner.run();
  assert.deepEqual(summary(runner.read()), [['acks', 2]]);
});

test('an answer in several parts says of all but the last that more follow', () => {
  const runner = new RunnerUnderTest(1 << 22);
  for (let index = 0; index < 60; index++) {
    runner.ops(1, [put(`key ${index}`, 'x'.repeat(20_000))]);
    runner.run();
  }
  runner.read();
  runner.request(5, REQUEST_LEAF, { map: utf8('m'), kind: KIND_LWW, prefix: '' });
  runner.run();
  const replies = runner.read();
  assert.deepEqual(
    replies.map(({ type, call, flags }) => [type, call, flags]),
    [
      [RECORD_REPLY, 5, FLAG_MORE],
      [RECORD_REPLY, 5, 0],
    ],
  );
});

test('while an outbox is full the batch does not end, and then everything is there in order', async () => {
  const runner = new RunnerUnderTest(1 << 12);
  runner.engine.listeners[0] = 1;
  for (let call = 1; call <= 20; call++) runner.ops(call, [put(`key ${call}`, 'x'.repeat(1000))]);
  let ended = false;
  const waiting = Promise.resolve(runner.batch()).then(() => {
    ended = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(ended, false);
  const answers: Answer[] = [];
  while (!ended) {
    answers.push(...runner.read());
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await waiting;
  answers.push(...runner.read());
  assert.deepEqual(summary(answers), [
    ['events', 0],
    ['acks', ...Array.from({ length: 20 }, (_, index) => index + 1)],
  ]);
});

test('a batch ends early once its replies are some megabytes, and the rest is answered in the next', async () => {
  const runner = new RunnerUnderTest(1 << 16);
  for (let call = 1; call <= 20; call++) runner.request(call, REQUEST_ECHO, { text: 'much' });
  const replied: number[] = [];
  const batches: number[] = [];
  while (replied.length < 20) {
    let ended = false;
    const waiting = Promise.resolve(runner.batch()).then(() => {
      ended = true;
    });
    const before = replied.length;
    while (!ended) {
      replied.push(...runner.read().flatMap(({ type, call }) => (type === RECORD_REPLY ? [call] : [])));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await waiting;
    replied.push(...runner.read().flatMap(({ type, call }) => (type === RECORD_REPLY ? [call] : [])));
    batches.push(replied.length - before);
  }
  assert.deepEqual(
    replied,
    Array.from({ length: 20 }, (_, index) => index + 1),
  );
  assert.deepEqual(batches, [9, 9, 2]);
});

test('parts of late answers keep no batch from ending, though they fill the outbox each time there is room', async () => {
  const runner = new RunnerUnderTest(1 << 12);
  runner.echo.isQuiet = true;
  for (let call = 1; call <= 30; call++) runner.request(call, REQUEST_ECHO, { text: `late in parts ${'x'.repeat(1000)}` });
  await runner.batch();
  await new Promise((resolve) => setTimeout(resolve, 5));
  runner.ops(31, [put('k')]);
  let ended = false;
  const waiting = Promise.resolve(runner.batch()).then(() => {
    ended = true;
  });
  const answers: Answer[] = [];
  let repliesBefore = 0;
  for (let reads = 0; reads < 1000 && answers.length < 91; reads++) {
    answers.push(...runner.read());
    if (!ended) repliesBefore = answers.length;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await waiting;
  assert.equal(answers.length, 91);
  assert.ok(repliesBefore < 45, `${repliesBefore}`);
  assert.ok(summary(answers).some((answer) => JSON.stringify(answer) === '["acks",31]'));
});

test('a record at which workers die again and again is set aside: its ops are rejected, those around it are applied', () => {
  const runner = new RunnerUnderTest();
  runner.suspects.set(0, 0); // the first record of the inbox
  runner.ops(51, [put('deadly'), put('deadly too')]);
  runner.ops(52, [put('harmless')]);
  runner.run();
  const internal = errorNumber('INTERNAL');
  assert.deepEqual(summary(runner.read()), [
    ['result', 51, 0, internal, 1, internal],
    ['acks', 52],
  ]);
  assert.equal(runner.engine.maps.find(utf8('m'))?.existing(KIND_LWW)?.records, 1);
});

test('a record that was logged before workers died at it is not told as one that was not done', () => {
  for (const isRequest of [false, true]) {
    const runner = new RunnerUnderTest();
    runner.suspects.set(0, 0);
    if (isRequest) runner.request(51, REQUEST_ECHO, { text: 'deadly' });
    else runner.ops(51, [put('deadly')]);
    runner.loggedTo.set(0, runner.written);
    runner.run();
    const answers = runner.read();
    if (isRequest)
      assert.deepEqual(
        answers.map(({ call, count }) => [call, count]),
        [[51, errorNumber('UNAVAILABLE') + 1]],
      );
    else assert.deepEqual(summary(answers), [['acks', 51]]);
    assert.equal(runner.engine.maps.find(utf8('m'))?.existing(KIND_LWW)?.records ?? 0, 0, 'nor is it run');
  }
});

test('acks say which frame of the log holds them, and whether it is persisted', () => {
  const runner = new RunnerUnderTest();
  runner.durability.sequence = 41;
  runner.ops(61, [put('a')]);
  runner.run();
  runner.durability.sequence = 42;
  runner.durability.persistsBatches = true;
  runner.ops(62, [put('b')]);
  runner.run();
  const acks = runner.read().filter(({ type }) => type === RECORD_ACKS);
  assert.deepEqual(
    acks.map(({ sequence, flags }) => [sequence, flags]),
    [
      [41, 0],
      [42, FLAG_PERSISTED],
    ],
  );
});

test('a gateway is told of what is persisted only while somebody waits for it', () => {
  const runner = new RunnerUnderTest();
  let asked = 0;
  runner.durability.persistSoon = () => {
    asked += 1;
  };
  runner.durability.sequence = 7;
  runner.ops(71, [put('a')]);
  runner.run();
  runner.persisted(7);
  assert.equal(asked, 0);
  runner.durability.sequence = 8;
  runner.durability.neverPersists = false;
  runner.ops(72, [put('b')], FLAG_PERSIST);
  runner.run();
  assert.equal(asked, 1);
  runner.read();
  runner.persisted(7); // an older sync, of use to an older call perhaps
  runner.persisted(8);
  runner.persisted(9); // nobody waits any more
  const told = runner.read();
  assert.deepEqual(
    told.map(({ type, count, sequence }) => [type, count, sequence]),
    [
      [RECORD_PERSISTED, 0, 7],
      [RECORD_PERSISTED, 0, 8],
    ],
  );
});

test('who waits for a sync that failed is told that it never will be', () => {
  const runner = new RunnerUnderTest();
  const readOnly = errorNumber('READ_ONLY');
  runner.durability.sequence = 3;
  runner.ops(73, [put('a')], FLAG_PERSIST);
  runner.run();
  runner.read();
  runner.persisted(2, readOnly);
  assert.deepEqual(
    runner.read().map(({ type, count, sequence }) => [type, count, sequence]),
    [[RECORD_PERSISTED, readOnly + 1, 2]],
  );
});

test('a batch that the log could not take is refused, and its events are told all the same', () => {
  const runner = new RunnerUnderTest();
  runner.interest('m', true);
  runner.durability.endBatch = () => new GridError('DISK_FULL', 'no room');
  runner.ops(81, [put('a')]);
  runner.ops(82, [put('b')], FLAG_MORE);
  runner.run();
  const answers = runner.read();
  const refused = answers.filter(({ flags }) => flags === FLAG_REFUSED);
  assert.deepEqual(refused.map(({ call, words }) => [call, words[1]]).sort(), [
    [81, errorNumber('DISK_FULL')],
    [82, errorNumber('DISK_FULL')],
  ]);
  assert.deepEqual(
    answers.filter(({ type }) => type !== RECORD_RESULT).map(({ type, count }) => [type, count]),
    [[RECORD_EVENTS, 2]],
  );
});

test('records that a predecessor has logged are answered and not run again', () => {
  const runner = new RunnerUnderTest();
  runner.loggedTo.set(0, 1); // behind the first record's beginning
  runner.ops(91, [put('logged')]);
  runner.ops(92, [put('new')]);
  runner.run();
  assert.deepEqual(summary(runner.read()), [['acks', 91, 92]]);
  assert.equal(runner.engine.maps.find(utf8('m'))?.existing(KIND_LWW)?.records, 1);
});

test('what a predecessor has logged is forgotten once it is passed: positions come again after 4 GiB', () => {
  const runner = new RunnerUnderTest();
  const records = (): number | undefined => runner.engine.maps.find(utf8('m'))?.existing(KIND_LWW)?.records;
  runner.loggedTo.set(0, 1);
  runner.ops(91, [put('logged')]);
  runner.run();
  runner.request(92, REQUEST_LEAF, { map: utf8('m'), kind: KIND_LWW, prefix: '' });
  runner.run();
  runner.read();
  runner.passBytes(2 ** 31);
  runner.ops(93, [put('new')]);
  runner.run();
  assert.deepEqual(summary(runner.read()), [['acks', 93]]);
  assert.equal(records(), 1);
});

test('a record that was set aside is forgotten once it is passed', () => {
  const runner = new RunnerUnderTest();
  runner.suspects.set(0, 0);
  runner.ops(51, [put('deadly')]);
  runner.run();
  runner.read();
  runner.passBytes(2 ** 32 - runner.position);
  runner.ops(52, [put('harmless')]);
  runner.run();
  assert.deepEqual(summary(runner.read()), [['acks', 52]]);
});

test('until it is told, ops that were rejected or refused do not count as logged: a successor answers them anew', () => {
  const runner = new RunnerUnderTest();
  runner.engine.watermarkMs = 100;
  let logged: readonly number[] = [];
  runner.durability.endBatch = () => {
    logged = runner.loggedUpTo;
    return undefined;
  };
  runner.ops(61, [put('a', 1, 200)]);
  runner.run();
  const rejectedAt = runner.position;
  assert.deepEqual(logged, [rejectedAt]);
  runner.ops(62, [put('old', 1, 5)]);
  runner.ops(63, [put('b', 1, 200)]);
  runner.run();
  assert.deepEqual(logged, [runner.position, rejectedAt]);
  assert.deepEqual(runner.loggedUpTo, [runner.position]); // told
  const refusedAt = runner.position;
  runner.admits = false;
  runner.ops(64, [put('c', 1, 200)]);
  runner.run();
  assert.deepEqual(logged, [runner.position, refusedAt]);
});

test('a request behind rejected ops is not done twice: a successor answers the ops anew, and the request as one of unknown outcome', () => {
  const runner = new RunnerUnderTest();
  runner.engine.watermarkMs = 100;
  runner.opsLoggedTo.set(0, 1);
  runner.ops(71, [put('logged', 1, 200)]);
  const rejectedAt = runner.written;
  runner.ops(72, [put('old', 1, 5)]);
  runner.request(73, REQUEST_ECHO, { text: 'counted' });
  runner.opsLoggedTo.set(0, rejectedAt);
  runner.loggedTo.set(0, runner.written);
  runner.request(74, REQUEST_ECHO, { text: 'new' });
  runner.run();
  const answers = runner.read().filter(({ type }) => type !== RECORD_PUSH);
  const told = answers.map(({ type, call, count, words }) => (type === RECORD_ACKS ? [words[0], type] : [call, type, count]));
  assert.deepEqual(
    told.sort(([a = 0], [b = 0]) => a - b),
    [
      [71, RECORD_ACKS],
      [72, RECORD_RESULT, 1],
      [73, RECORD_REPLY, errorNumber('UNAVAILABLE') + 1],
      [74, RECORD_REPLY, 0],
    ],
  );
});

test('a successor that has not come as far as the worker before it keeps in the log how far that one came', () => {
  const runner = new RunnerUnderTest();
  runner.engine.watermarkMs = 100;
  let logged: readonly number[] = [];
  runner.durability.endBatch = () => {
    logged = runner.loggedUpTo;
    return undefined;
  };
  runner.ops(75, [put('logged', 1, 200)]);
  const rejectedAt = runner.written;
  runner.ops(76, [put('old', 1, 5)]);
  runner.request(77, REQUEST_ECHO, { text: 'counted' });
  const loggedTo = runner.written;
  runner.loggedTo.set(0, loggedTo);
  runner.opsLoggedTo.set(0, rejectedAt);
  assert.equal(runner.isBehindPredecessor, false);
  runner.run(1);
  assert.deepEqual(logged, [loggedTo, rejectedAt]);
  runner.run(1);
  assert.deepEqual(logged, [loggedTo, rejectedAt], 'not told yet');
  assert.deepEqual(runner.loggedUpTo, [loggedTo, runner.position], 'told');
  assert.equal(runner.isBehindPredecessor, false);
  runner.run(1);
  assert.deepEqual(logged, [loggedTo]);
  assert.equal(runner.isBehindPredecessor, true);
  runner.request(78, REQUEST_ECHO, { text: 'new' });
  runner.run();
  assert.deepEqual(logged, [runner.position]);
});

test('a request of which nothing was done says so, also where the log does not take what others of its batch have done', async () => {
  const runner = new RunnerUnderTest();
  runner.durability.endBatch = () => new GridError('DISK_FULL', 'no room');
  for (const [call, asked] of ['refuse', 'do', 'refuse late', 'do late'].entries()) {
    runner.request(80 + call, REQUEST_ACT_COMMIT, { asked });
  }
  runner.run();
  for (let wait = 0; wait < 5; wait++) await new Promise((resolve) => setImmediate(resolve));
  const replies = runner.read().filter(({ type }) => type === RECORD_REPLY);
  assert.deepEqual(
    replies.map(({ call, count }) => [call, count]),
    [
      [80, 0],
      [81, errorNumber('DISK_FULL') + 1],
      [82, 0],
      [83, errorNumber('DISK_FULL') + 1],
    ],
  );
});

test('late reads are answered while the log takes nothing', async () => {
  const runner = new RunnerUnderTest();
  runner.durability.endBatch = () => new GridError('DISK_FULL', 'no room');
  runner.request(1, REQUEST_LATE_READ, { text: 'long' });
  runner.run();
  for (let wait = 0; wait < 5; wait++) await new Promise((resolve) => setImmediate(resolve));
  const replies = runner.read().filter(({ type }) => type === RECORD_REPLY);
  assert.deepEqual(
    replies.map(({ call, count, flags }) => [call, count, flags]),
    [
      [1, 0, FLAG_MORE],
      [1, 0, 0],
    ],
  );
});

test('late answers whose writes were in a frame that another of them lost are no successes', async () => {
  const runner = new RunnerUnderTest();
  const failure = new GridError('READ_ONLY', 'the disk is broken');
  let isFrameEmpty = false;
  runner.durability.endBatch = () => {
    if (isFrameEmpty) return undefined;
    isFrameEmpty = true; // of a log that fails the frame at hand is let go
    runner.durability.failure = failure;
    return failure;
  };
  const waited = async (): Promise<number[][]> => {
    for (let wait = 0; wait < 5; wait++) await new Promise((resolve) => setImmediate(resolve));
    return runner.read().flatMap(({ type, call, count }) => (type === RECORD_REPLY ? [[call, count]] : []));
  };
  isFrameEmpty = true;
  for (const call of [1, 2]) runner.request(call, REQUEST_ECHO, { text: 'late' });
  for (const call of [3, 4]) runner.request(call, REQUEST_ACT_COMMIT, { asked: 'do late' });
  runner.run();
  isFrameEmpty = false; // now they write
  const readOnly = errorNumber('READ_ONLY') + 1;
  assert.deepEqual(await waited(), [
    [1, readOnly],
    [2, readOnly],
    [3, readOnly],
    [4, readOnly],
  ]);
  runner.request(5, REQUEST_ECHO, { text: 'late, and nothing but reads, since writes are refused' });
  runner.request(6, REQUEST_ACT_COMMIT, { asked: 'refuse late' });
  runner.request(7, REQUEST_ACT_COMMIT, { asked: 'do late' });
  runner.run();
  assert.deepEqual(await waited(), [
    [5, 0],
    [6, 0],
    [7, readOnly],
  ]);
});

test('a tick is told while a batch still stands in the inbox, because its gateway does not read', async () => {
  const runner = new RunnerUnderTest(1 << 12);
  for (let call = 1; call <= 40; call++) runner.request(call, REQUEST_ECHO, { text: 'x'.repeat(400) });
  const ended = runner.batch();
  assert.ok(ended instanceof Promise);
  runner.tick();
  assert.deepEqual(runner.told, [false]);
  while (runner.read().length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await ended;
  runner.tick();
  assert.deepEqual(runner.told, [false, true]);
});

test('ops on a partition that lost logged writes are refused, ops on others are not', () => {
  const runner = new RunnerUnderTest();
  runner.damaged.add(partitionOf(fnv1a('hurt')));
  runner.ops(95, [put('hurt')]);
  runner.ops(96, [put('well')]);
  runner.run();
  const answers = runner.read();
  assert.deepEqual(
    answers.map(({ type, call, words }) => [type, call, words[type === RECORD_RESULT ? 1 : 0]]),
    [
      [RECORD_RESULT, 95, errorNumber('LOG_DAMAGED')],
      [RECORD_ACKS, 0, 96],
    ],
  );
});

test('a push is refused where partitions lost logged writes', () => {
  const runner = new RunnerUnderTest();
  const record = { tag: '5:0:n', value: 1, millis: 5, counter: 0, nodeId: 'n' };
  const push = { map: utf8('m'), entries: [{ key: 'hurt', records: [record] }], tombstones: [] };
  runner.damaged.add(partitionOf(fnv1a('hurt')));
  runner.request(98, REQUEST_OR_PUSH, push);
  runner.run();
  assert.deepEqual(
    runner.read().map(({ type, call, count }) => [type, call, count]),
    [[RECORD_REPLY, 98, errorNumber('LOG_DAMAGED') + 1]],
  );
  assert.equal(runner.engine.maps.find(utf8('m'))?.existing(KIND_OR)?.records ?? 0, 0);
});

test('a batch that changed nothing and whose log is synced already is persisted at once', () => {
  const runner = new RunnerUnderTest();
  Object.assign(runner.durability, { neverPersists: false, sequence: 5, persistedSequence: 5 });
  runner.ops(97, [put('a')], FLAG_PERSIST);
  runner.run();
  const [ack] = runner.read();
  assert.deepEqual([ack?.type, ack?.flags], [RECORD_ACKS, FLAG_PERSISTED]);
});

test('a request goes to the handler of its kind, and what that tells unasked leaves behind the reply', () => {
  const runner = new RunnerUnderTest();
  runner.request(91, REQUEST_ECHO, { text: 'ping' });
  runner.run();
  const answers = runner.read();
  assert.deepEqual(
    answers.map(({ type, call, count }) => [type, call, count]),
    [
      [RECORD_REPLY, 91, 0],
      [RECORD_PUSH, 0, 3],
    ],
  );
  assert.deepEqual(answers[0]?.words, answers[1]?.words);
});

test('what a handler tells between batches leaves with the tick', () => {
  const runner = new RunnerUnderTest();
  runner.echo.answers?.push(0, 7, 3, utf8('hello'));
  assert.deepEqual(runner.read(), []);
  runner.tick();
  assert.deepEqual(
    runner.read().map(({ type, count }) => [type, count]),
    [[RECORD_PUSH, 3]],
  );
});

test('an error of a handler is answered by its code, and a writing request is refused as a write is', () => {
  const runner = new RunnerUnderTest();
  runner.request(92, REQUEST_ECHO, {});
  runner.run();
  runner.admits = false;
  runner.request(93, REQUEST_ECHO, { text: 'ping' });
  runner.run();
  assert.deepEqual(
    runner.read().map(({ type, call, count }) => [type, call, count - 1]),
    [
      [RECORD_REPLY, 92, errorNumber('FORBIDDEN')],
      [RECORD_REPLY, 93, errorNumber('OVERLOADED')],
    ],
  );
});

test('handlers hear of sessions that are gone', () => {
  const runner = new RunnerUnderTest();
  runner.closed(7);
  runner.run();
  assert.deepEqual(runner.echo.closed, [[0, 7]]);
});
