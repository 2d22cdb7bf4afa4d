import assert from 'node:assert/strict';
import test from 'node:test';
import {
  REQUEST_ACT_APPLY,
  REQUEST_ACT_COMMIT,
  REQUEST_ACT_HOLD,
  REQUEST_ACT_RELEASE,
  REQUEST_ACT_ROLL,
  REQUEST_ACT_WHOLE,
} from '../../protocol/envelope.ts';
import { encode } from '../../protocol/codec.ts';
import type { RequestAnswer } from '../../operation/request-handler.ts';
import { errorNumber, GridError } from '../../protocol/errors.ts';
import { ChangeEvents } from '../crdt/change-events.ts';
import { KvUnderTest } from '../testing/kv-under-test.ts';
import { CommandBatchWriter } from './command-batch.ts';
import { commandNumber } from './commands.ts';
import { HeldKeys } from './held-keys.ts';
import {
  decodeHoldAnswer,
  encodeAct,
  encodeHold,
  encodeRoll,
  encodeWhole,
  encodeWrites,
  type HoldAnswer,
  type HoldAsk,
  type StampedWrite,
} from './joint-bodies.ts';
import { JointService } from './joint-service.ts';
import type { RestoreValues } from './restored-values.ts';
import type { SpaceKey } from './touched-keys.ts';
import { encodeChange, type WholeChange } from './whole-changes.ts';

const SPACE = bytesOf('db0');
const SWAP = { kind: 'swap', databases: [0, 3] } as const;
const EVERYTHING: HoldAsk = {
  act: 0,
  isExclusive: true,
  isEverything: true,
  keys: [],
  told: [],
  wholes: [],
  watched: [],
  commands: new Uint8Array(0),
  change: new Uint8Array(0),
};

interface Before {
  /** The worker replaces one that committed these acts. */
  readonly committed?: readonly number[];
  readonly awaitsRoll?: boolean;
}

/** A worker as the gateway of acts sees it, and what its log was told, a line each. */
class Worker {
  readonly kv = new KvUnderTest();
  readonly held = new HeldKeys();
  readonly logged: string[] = [];
  monotonicMs = 0;
  restore: RestoreValues = () => Promise.reject(new GridError('UNAVAILABLE', 'no database'));
  readonly service: JointService;

  constructor({ committed = [], awaitsRoll = false }: Before = {}) {
    this.service = new JointService({
      maps: this.kv.maps,
      changes: new ChangeEvents(1, { broadcastSessions: () => 0 }),
      nodeId: bytesOf('server-1'),
      refusal: () => this.kv.refusal,
      catchUp: () => {},
      nextPartition: () => -1,
      random: () => 0.5,
      held: this.held,
      restore: (store, ref) => this.restore(store, ref),
      clock: () => this.kv.nowMs,
      monotonicMs: () => this.monotonicMs,
      awaitsRoll,
      log: {
        note: (state, act) => this.logged.push(`note ${state} ${act}`),
        wholesDone: new Set(),
        undone: [],
        commit: (act) => this.logged.push(`commit ${act}`),
        foreign: (map, { source, keyStart, keyBytes }) =>
          this.logged.push(`foreign ${textOf(map)} ${textOf(source.subarray(keyStart, keyStart + keyBytes))}`),
        keepAll: (isKeeping) => this.logged.push(isKeeping ? 'keep all' : 'keep no more'),
        committed: new Set(committed),
      },
    });
  }

  hold(ask: Partial<HoldAsk>): HoldAnswer {
    const [answer] = this.#ask(REQUEST_ACT_HOLD, encodeHold({ ...EVERYTHING, isEverything: false, ...ask }));
    assert.ok(answer !== undefined);
    return decodeHoldAnswer(answer);
  }

  /** '' or the refusal. */
  commit(act: number, own: readonly StampedWrite[], others: readonly StampedWrite[] = [], isLogged = false): string {
    const [refusal] = this.#ask(REQUEST_ACT_COMMIT, encodeWrites({ act, own, others }), isLogged);
    assert.ok(refusal !== undefined);
    return textOf(refusal);
  }

  apply(act: number, own: readonly StampedWrite[]): void {
    this.#ask(REQUEST_ACT_APPLY, encodeWrites({ act, own, others: [] }));
  }

  release(act: number): void {
    this.#ask(REQUEST_ACT_RELEASE, encodeAct(act));
  }

  roll(holds: readonly HoldAsk[]): void {
    this.#ask(REQUEST_ACT_ROLL, encodeRoll(holds));
  }

  value(key: string): string {
    return this.kv.run('GET', key);
  }

  /** A SET of the key, by nobody's act, would wait. */
  isHeld(key: string): boolean {
    return this.held.blocks({ isWrite: true, isEverything: false, keys: [at(key)] });
  }

  answer(kind: number, body: Uint8Array, isLogged = false): RequestAnswer {
    return this.service.answer({ kind, body, gateway: 0, session: 0, nowMs: this.kv.nowMs, isLogged });
  }

  whole(act: number, step: 'decide' | 'do', change: WholeChange): RequestAnswer {
    return this.answer(REQUEST_ACT_WHOLE, encodeWhole({ act, step, change: encodeChange(change) }));
  }

  /** Drops a value; what it answers with lets those who wait have it. */
  drop(key: string): () => void {
    const putBack = this.kv.dropValue(key);
    let read = (): void => {};
    const reading = new Promise<void>((resolve) => {
      read = resolve;
    });
    this.restore = () => reading;
    return () => {
      putBack();
      read();
    };
  }

  #ask(kind: number, body: Uint8Array, isLogged = false): readonly Uint8Array[] {
    const answer = this.answer(kind, body, isLogged);
    assert.ok(isHere(answer), 'every value is in memory, so the answer is here');
    return answer;
  }
}

/** What comes of an answer, in the end. */
async function lastOf(answer: RequestAnswer): Promise<string> {
  let last = '';
  for await (const part of answer) last = textOf(part);
  return last;
}

function isHere(answer: RequestAnswer): answer is readonly Uint8Array[] {
  return Array.isArray(answer);
}

function at(key: string): SpaceKey {
  return { space: SPACE, key: bytesOf(key) };
}

function write(key: string, value: string, millis = 1_700_000_000_000): StampedWrite {
  return { ...at(key), value: encode(value), isRemoval: false, millis, counter: 0, ttlMs: Number.NaN };
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

test('a commit logs the act with what other workers own of it, stores only its own part, and does so once', () => {
  const worker = new Worker();
  worker.hold({ act: 7, keys: [at('own')] });
  assert.equal(worker.commit(7, [write('own', 'one')], [write('far', 'two')]), '');
  assert.deepEqual(worker.logged, ['commit 7', 'foreign db0 far', 'keep all']);
  assert.deepEqual([worker.value('own'), worker.value('far')], ['$3\r\none\r\n', '$-1\r\n']);
  worker.kv.run('SET', 'own', 'later');
  assert.equal(worker.commit(7, [write('own', 'one')], [write('far', 'two')]), '');
  assert.deepEqual(worker.logged, ['commit 7', 'foreign db0 far', 'keep all', 'keep all']);
  assert.equal(worker.value('own'), '$5\r\nlater\r\n');
});

test('a commit that is refused leaves nothing behind, neither in the log nor in records', () => {
  const worker = new Worker();
  worker.hold({ act: 7, keys: [at('own')] });
  worker.kv.refusal = errorNumber('READ_ONLY');
  assert.match(worker.commit(7, [write('own', 'one')], [write('far', 'two')]), /READ_ONLY/);
  assert.deepEqual([worker.logged, worker.value('own')], [[], '$-1\r\n']);
  assert.equal(worker.isHeld('own'), true);
  worker.release(7);
  assert.deepEqual([worker.isHeld('own'), worker.logged], [false, []]);
});

test('keys that could not be written are not held, and what they hold is not told', () => {
  const worker = new Worker();
  worker.kv.run('SET', 'own', 'one');
  worker.kv.refusal = errorNumber('READ_ONLY');
  const answer = worker.hold({ act: 7, keys: [at('own')], told: [at('own')] });
  assert.match(answer.refusal, /READ_ONLY/);
  assert.deepEqual([answer.told, worker.isHeld('own')], [[], false]);
  assert.equal(worker.hold({ act: 7, isExclusive: false, keys: [at('own')], told: [at('own')] }).refusal, '', 'a read');
});

test('what is held tells its value, and a key that is not there tells that', () => {
  const worker = new Worker();
  worker.kv.run('SET', 'own', 'one');
  const { told, refusal } = worker.hold({ act: 7, keys: [at('own'), at('none')], told: [at('own'), at('none')] });
  assert.equal(refusal, '');
  assert.deepEqual(
    told.map(({ key, isLive, value }) => [textOf(key), isLive, textOf(value)]),
    [
      ['own', true, 'one'],
      ['none', false, ''],
    ],
  );
});

test('values of an act that were dropped from memory are read back together, also of whole databases and for commands', async () => {
  for (const asks of ['keys', 'whole', 'commands']) {
    const worker = new Worker();
    const keys = Array.from({ length: 50 }, (_, index) => at(`own:${index}`));
    for (const { key } of keys) worker.kv.run('SET', key, 'x'.repeat(1000));
    const puttingBack = keys.map(({ key }) => worker.kv.dropValue(textOf(key)));
    const reads: number[] = [];
    worker.restore = async (_, refs) => {
      reads.push(refs.length);
      for (const putBack of puttingBack) putBack();
    };
    const ask = { ...EVERYTHING, act: 7, isEverything: false, keys };
    const batch = new CommandBatchWriter();
    batch.begin(commandNumber('mget'), false, 0, 1 + keys.length);
    batch.argument(Buffer.from('mget'), 0, 4);
    for (const { key } of keys) batch.argument(key, 0, key.length);
    batch.end();
    const asked = {
      keys: { ...ask, told: keys },
      whole: { ...ask, wholes: [SPACE] },
      commands: { ...ask, isExclusive: false, commands: batch.take() },
    }[asks];
    assert.ok(asked !== undefined);
    const parts: Uint8Array[] = [];
    for await (const part of worker.answer(REQUEST_ACT_HOLD, encodeHold(asked))) parts.push(part);
    const { refusal, told, replies } = decodeHoldAnswer(parts[0] ?? new Uint8Array(0));
    assert.equal(refusal, '');
    assert.ok(asks === 'commands' ? replies.length > 50_000 : told.length === 50);
    assert.deepEqual(reads, [50], asks);
  }
});

test('an act that is given up while a value of its keys is read back is told nothing, and holds nothing', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'own', 'x'.repeat(1000));
  const putBack = worker.kv.dropValue('own');
  worker.restore = async () => {
    worker.release(7);
    putBack();
  };
  const keys = [at('own')];
  const answer = worker.answer(REQUEST_ACT_HOLD, encodeHold({ ...EVERYTHING, act: 7, isEverything: false, keys, told: keys }));
  const parts: Uint8Array[] = [];
  for await (const part of answer) parts.push(part);
  assert.equal(parts.length, 1);
  const { refusal, told } = decodeHoldAnswer(parts[0] ?? new Uint8Array(0));
  assert.match(refusal, /^TRYAGAIN/);
  assert.deepEqual([told, worker.isHeld('own')], [[], false]);
});

test('a decision that was refused is not made by an earlier asking whose values come later', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'own', 'x'.repeat(1000));
  const give = worker.drop('own');
  worker.hold({ act: 7, isEverything: true });
  const early = lastOf(worker.whole(7, 'decide', SWAP));
  worker.kv.refusal = errorNumber('OUT_OF_MEMORY');
  assert.match(await lastOf(worker.whole(7, 'decide', SWAP)), /^OOM/);
  worker.kv.refusal = -1;
  give();
  assert.match(await early, /^TRYAGAIN/);
  worker.release(7);
  assert.deepEqual([worker.logged, worker.kv.run('DBSIZE')], [[], ':1\r\n']);
});

test('a decision that one asking has made is not refused to another that could not read its values back', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'own', 'x'.repeat(1000));
  const putBack = worker.kv.dropValue('own');
  worker.hold({ act: 7, isEverything: true });
  let fail = (): void => {};
  const failing = new Promise<never>((_, reject) => {
    fail = () => reject(new GridError('UNAVAILABLE', 'no database'));
  });
  worker.restore = () => failing;
  const early = lastOf(worker.whole(7, 'decide', SWAP));
  putBack();
  assert.equal(await lastOf(worker.whole(7, 'decide', SWAP)), '');
  fail();
  assert.equal(await early, '');
});

test('keys that hold too much to be told in one answer are refused', () => {
  const worker = new Worker();
  const keys = Array.from({ length: 9 }, (_, index) => at(`large:${index}`));
  for (const { key } of keys) worker.kv.run('SET', key, 'x'.repeat(4 << 20));
  assert.match(worker.hold({ act: 7, keys, told: keys }).refusal, /too large/);
});

test('an earlier asking that ends when the act is over keeps no log', async () => {
  const worker = new Worker();
  worker.kv.run('SET', 'own', 'x'.repeat(1000));
  const give = worker.drop('own');
  worker.hold({ act: 7, isEverything: true });
  const early = lastOf(worker.whole(7, 'do', SWAP));
  worker.kv.run('DEL', 'own');
  assert.equal(await lastOf(worker.whole(7, 'do', SWAP)), '');
  worker.release(7);
  give();
  assert.equal(await early, '');
  assert.equal(worker.logged.at(-1), 'keep no more');
});

test('a step that was held by a worker before, of which the roll did not tell in time, is done all the same', async () => {
  const worker = new Worker({ awaitsRoll: true });
  worker.kv.run('SET', 'own', 'x'.repeat(1000));
  const give = worker.drop('own');
  worker.monotonicMs = 10_000;
  worker.service.tick();
  const done = lastOf(worker.whole(7, 'do', SWAP));
  assert.equal(worker.isHeld('own'), true);
  give();
  assert.equal(await done, '');
  assert.deepEqual([worker.kv.run('DBSIZE'), worker.isHeld('own')], [':0\r\n', false]);
});

test('another worker holds its keys until it has applied the act; applied again, nothing changes', () => {
  const worker = new Worker();
  worker.hold({ act: 7, keys: [at('own')] });
  assert.equal(worker.isHeld('own'), true);
  worker.apply(7, [write('own', 'one')]);
  assert.deepEqual([worker.isHeld('own'), worker.value('own'), worker.logged], [false, '$3\r\none\r\n', []]);
  worker.kv.run('SET', 'own', 'later');
  worker.apply(7, [write('own', 'one')]);
  assert.equal(worker.value('own'), '$5\r\nlater\r\n');
});

test('a newer write of a browser stays, though an act that was decided before it is applied behind it', () => {
  const worker = new Worker();
  worker.kv.run('SET', 'own', 'newer');
  worker.apply(7, [write('own', 'older', worker.kv.nowMs - 1)]);
  assert.equal(worker.value('own'), '$5\r\nnewer\r\n');
});

test('the log keeps all until the last act that was committed here is released', () => {
  const worker = new Worker();
  worker.commit(7, [write('a', '1')]);
  worker.commit(8, [write('b', '2')]);
  worker.logged.length = 0;
  worker.release(7);
  worker.release(9);
  assert.deepEqual(worker.logged, []);
  worker.release(8);
  assert.deepEqual(worker.logged, ['keep no more']);
});

test('a worker that replaces another lets nothing touch a key until it is told which ones acts hold', () => {
  const worker = new Worker({ awaitsRoll: true });
  assert.deepEqual([worker.isHeld('held'), worker.isHeld('free')], [true, true]);
  worker.roll([{ ...EVERYTHING, act: 7, isEverything: false, keys: [at('held')] }]);
  assert.deepEqual([worker.isHeld('held'), worker.isHeld('free')], [true, false]);
  worker.release(7);
  assert.equal(worker.isHeld('held'), false);
});

test('an act that was over before the roll came holds nothing, though the roll names it', () => {
  const worker = new Worker({ awaitsRoll: true });
  worker.apply(7, [write('held', 'one')]);
  assert.match(worker.hold({ act: 7, keys: [at('held')] }).refusal, /^TRYAGAIN/);
  worker.roll([{ ...EVERYTHING, act: 7, isEverything: false, keys: [at('held')] }]);
  assert.deepEqual([worker.isHeld('held'), worker.value('held')], [false, '$3\r\none\r\n']);
});

test('a gateway that tells nothing for ten seconds holds nothing', () => {
  const worker = new Worker({ awaitsRoll: true, committed: [7] });
  worker.monotonicMs = 9_999;
  worker.service.tick();
  assert.equal(worker.isHeld('any'), true);
  worker.monotonicMs = 10_000;
  worker.service.tick();
  assert.deepEqual([worker.isHeld('any'), worker.logged], [false, ['keep all', 'keep no more']]);
});

test('what the worker before it has committed is not done again, and its log stays until that act is released', () => {
  const worker = new Worker({ awaitsRoll: true, committed: [7] });
  assert.equal(worker.commit(7, [write('own', 'one')], [write('far', 'two')], true), '');
  assert.deepEqual([worker.logged, worker.value('own')], [['keep all', 'keep all'], '$-1\r\n']);
  worker.roll([{ ...EVERYTHING, act: 7, isEverything: false, keys: [at('own')] }]);
  worker.release(7);
  assert.equal(worker.logged.at(-1), 'keep no more');
  assert.equal(worker.isHeld('own'), false, 'a committed act holds nothing here');
});

test('a commit that the worker before it had in hand, and did not log as an act, is not run', () => {
  const worker = new Worker({ awaitsRoll: true });
  assert.match(worker.commit(7, [write('own', 'one')], [], true), /^TRYAGAIN/);
  assert.deepEqual([worker.logged, worker.value('own')], [[], '$-1\r\n']);
});
