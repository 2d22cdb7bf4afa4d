import assert from 'node:assert/strict';
import test from 'node:test';
import { fnv1a, PARTITION_COUNT, partitionOf } from '../../partition/hash.ts';
import { errorNumber, GridError } from '../../protocol/errors.ts';
import { type UndoneAct, WHOLE_DECIDED, WHOLE_DONE, WHOLE_OVER } from '../../storage/whole-act-note.ts';
import { ChangeEvents } from '../crdt/change-events.ts';
import { KvUnderTest } from '../testing/kv-under-test.ts';
import type { RestoreValues } from './restored-values.ts';
import { finishWholeActs, WholeActs, type WholeActsOptions } from './whole-acts.ts';
import { encodeChange } from './whole-changes.ts';

const KEYS = Array.from({ length: 40 }, (_, index) => `key:${index}`);
const SWAP = encodeChange({ kind: 'swap', databases: [0, 3] });
const CLEAR = encodeChange({ kind: 'clear', databases: [0] });

class Worker {
  readonly kv = new KvUnderTest();
  readonly noted: string[] = [];
  readonly done = new Set<number>();
  beats = 0;
  readonly undone: UndoneAct[] = [];
  restore: RestoreValues = () => Promise.reject(new GridError('UNAVAILABLE', 'no database'));
  readonly options: WholeActsOptions = {
    maps: this.kv.maps,
    changes: new ChangeEvents(1, { broadcastSessions: () => 0 }),
    nodeId: new TextEncoder().encode('server-1'),
    refusal: () => this.kv.refusal,
    catchUp: () => {},
    nextPartition: () => -1,
    random: () => 0.5,
    beat: () => {
      this.beats += 1;
    },
    restore: (store, ref) => this.restore(store, ref),
    clock: () => this.kv.nowMs,
    log: {
      note: (state, act, change, epoch = 1) => this.noted.push(`${state} ${act} ${new TextDecoder().decode(change)} ${epoch}`),
      wholesDone: this.done,
      undone: this.undone,
    },
  };
  readonly acts = new WholeActs(this.options);

  constructor() {
    for (const key of KEYS) this.kv.run('SET', key, 'of 0');
    this.kv.db = 3;
    for (const key of KEYS.slice(0, 10)) this.kv.run('SET', key, 'of 3');
    this.kv.db = 0;
  }

  decide(act: number, change: Uint8Array): string | Promise<string> {
    return this.acts.decide(act, change, this.kv.nowMs, () => true);
  }

  do(act: number, change: Uint8Array): void | Promise<void> {
    return this.acts.do(act, change, this.kv.nowMs, () => true);
  }

  sizes(): string[] {
    return [0, 3].map((db) => {
      this.kv.db = db;
      return this.kv.run('DBSIZE').trim();
    });
  }
}

test('the first worker notes what is decided with what it did, the others what they did, and each does it once', () => {
  const first = new Worker();
  assert.equal(first.decide(7, SWAP), '');
  assert.equal(first.decide(7, SWAP), '');
  assert.deepEqual(first.sizes(), [':10', ':40']);
  first.acts.over(7);
  assert.deepEqual(first.noted, [`${WHOLE_DECIDED} 7 swap 0 3 1`, `${WHOLE_DONE} 7  1`, `${WHOLE_OVER} 7  1`]);
  const other = new Worker();
  assert.equal(other.do(7, SWAP), undefined);
  assert.deepEqual(other.noted, [`${WHOLE_DONE} 7  1`]);
});

test('a change shows that the thread is alive all along, however many keys there are', () => {
  for (const change of [SWAP, CLEAR]) {
    const worker = new Worker();
    assert.equal(worker.decide(7, change), '');
    assert.equal(worker.beats, PARTITION_COUNT);
  }
});

test('a worker that replaces one that had done it does nothing', () => {
  const worker = new Worker();
  worker.done.add(7);
  assert.equal(worker.do(7, CLEAR), undefined);
  assert.deepEqual(worker.sizes(), [':40', ':10']);
});

test('a change is refused before anything is done, and what is decided is refused no more', () => {
  const worker = new Worker();
  worker.kv.refusal = errorNumber('READ_ONLY');
  assert.match(String(worker.acts.refusal(CLEAR, worker.kv.nowMs, () => true)), /READ_ONLY/);
  assert.match(String(worker.decide(7, CLEAR)), /READ_ONLY/);
  assert.deepEqual([worker.sizes(), worker.noted], [[':40', ':10'], []]);
  assert.equal(worker.do(7, CLEAR), undefined);
  assert.deepEqual(worker.sizes(), [':0', ':10']);
});

test('values that a schema of the other database refuses are not swapped', () => {
  const worker = new Worker();
  const map = worker.kv.maps.openByName(new TextEncoder().encode('db3'));
  assert.ok(map !== undefined);
  map.guardWith('schema', { refusal: () => ({ code: 'SCHEMA_VIOLATION', detail: 'no' }) });
  assert.match(String(worker.decide(7, SWAP)), /SCHEMA_VIOLATION/);
  assert.match(worker.kv.run('SWAPDB', 0, 3), /^-ERR SCHEMA_VIOLATION/);
  assert.deepEqual(worker.sizes(), [':40', ':10']);
});

test('what is decided is made only when all values are in memory, and fails as a whole while they cannot be read back', async () => {
  const worker = new Worker();
  const putBack = worker.kv.dropValue('key:7');
  await assert.rejects(async () => worker.do(7, SWAP), { code: 'UNAVAILABLE' });
  assert.deepEqual([worker.sizes(), worker.noted], [[':40', ':10'], []]);
  worker.restore = async () => putBack();
  await worker.do(7, SWAP);
  assert.deepEqual([worker.sizes(), worker.noted], [[':10', ':40'], [`${WHOLE_DONE} 7  1`]]);
});

test('a change that was given up while its values were read back is not made', async () => {
  const worker = new Worker();
  const putBack = worker.kv.dropValue('key:7');
  let isHeld = true;
  worker.restore = async () => {
    isHeld = false;
    putBack();
  };
  assert.match(await worker.acts.decide(7, SWAP, worker.kv.nowMs, () => isHeld), /^TRYAGAIN/);
  assert.deepEqual([worker.sizes(), worker.noted], [[':40', ':10'], []]);
});

test('databases are not swapped where a key would be too long under the longer name', () => {
  const worker = new Worker();
  assert.equal(worker.kv.run('SET', 'k'.repeat(2045), 'v'), '+OK\r\n');
  assert.match(worker.kv.run('SWAPDB', 0, 10), /^-ERR key is longer/);
  assert.deepEqual(worker.sizes(), [':41', ':10']);
  assert.equal(worker.kv.run('SWAPDB', 0, 3), '+OK\r\n');
});

test('strings that hide behind the name of a map are removed and moved with the others', () => {
  const worker = new Worker();
  worker.kv.run('SET', 'h', 'hidden');
  worker.kv.maps.openByName(new TextEncoder().encode('h'));
  worker.kv.run('HSET', 'other', 'f', '1');
  worker.kv.runner
    .hash(new TextEncoder().encode('h'))
    .set(new TextEncoder().encode('f'), new TextEncoder().encode('1'), Number.NaN);
  assert.match(worker.kv.run('GET', 'h'), /^-WRONGTYPE/);
  assert.equal(worker.kv.run('SWAPDB', 0, 3), '+OK\r\n');
  assert.deepEqual(worker.sizes(), [':10', ':41']);
  worker.kv.db = 3;
  assert.equal(worker.kv.run('FLUSHDB'), '+OK\r\n');
  assert.deepEqual(worker.sizes(), [':10', ':0']);
});

test('what an earlier run left undone is done in those partitions only, and noted as that run’s', async () => {
  const worker = new Worker();
  const partitions = Array.from({ length: PARTITION_COUNT }, (_, partition) => partition).filter((one) => one % 2 === 0);
  const isLeft = (key: string): boolean => partitionOf(fnv1a(key)) % 2 === 1;
  worker.undone.push({ act: 4, epoch: 9, change: CLEAR, partitions });
  await finishWholeActs(worker.options);
  worker.kv.db = 0;
  assert.deepEqual(
    KEYS.filter((key) => worker.kv.run('EXISTS', key) === ':1\r\n'),
    KEYS.filter(isLeft),
  );
  assert.deepEqual(worker.noted, [`${WHOLE_DONE} 4  9`]);
  const idle = new Worker();
  await finishWholeActs(idle.options);
  assert.deepEqual(idle.noted, []);
});

test('an act that is over and not released is not done again by an earlier asking that comes to read its values back', async () => {
  const worker = new Worker();
  const putBack = worker.kv.dropValue('key:7');
  const reading: (() => void)[] = [];
  worker.restore = () => new Promise<void>((resolve) => reading.push(resolve));
  const early = worker.decide(7, SWAP);
  const late = worker.decide(7, SWAP);
  putBack();
  reading[1]?.();
  assert.equal(await late, '');
  worker.acts.over(7);
  reading[0]?.();
  assert.equal(await early, '');
  assert.deepEqual(worker.sizes(), [':10', ':40']);
});
