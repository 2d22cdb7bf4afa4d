import assert from 'node:assert/strict';
import test from 'node:test';
import { circuitBreaker } from './interceptors/circuit-breaker.ts';
import { type CallScope, eventListener } from './interceptors/event-listener.ts';
import { loadShed } from './interceptors/load-shed.ts';
import { metrics } from './interceptors/metrics.ts';
import { RETRY_DEFAULTS, retry, retryPauseMs } from './interceptors/retry.ts';
import { type Layer, layered, layerNames } from './layers.ts';
import { type CallStatus, Operation, type OperationType } from './operation.ts';
import { BUCKET_ENDS_MS, OperationMetrics } from './operation-metrics.ts';
import { pipeline } from './pipeline.ts';

function operation(type: OperationType): Operation<string> {
  const made = new Operation('caller');
  made.type = type;
  return made;
}

function naming(name: string, seen: string[]): Layer<Operation<string>, CallStatus> {
  return {
    name,
    intercept: (next) => (op) => {
      seen.push(name);
      return next(op);
    },
  };
}

test('a domain adds its layers between the shared ones and the handler, and no other domain passes them', () => {
  const seen: string[] = [];
  const shared = [naming('authentication', seen), naming('deadline', seen)];
  const domains = { sync: [naming('patience', seen)] };
  const run = layered<string, CallStatus>(shared, domains, ({ type }) => {
    seen.push(type);
    return 'RESPONSE';
  });
  run(operation('SYNC_INIT'));
  run(operation('OP_BATCH'));
  assert.deepEqual(seen, ['authentication', 'deadline', 'patience', 'SYNC_INIT', 'authentication', 'deadline', 'OP_BATCH']);
  assert.deepEqual(layerNames(shared, domains), {
    '*': ['authentication', 'deadline'],
    sync: ['authentication', 'deadline', 'patience'],
  });
});

test('load above the bound is shed at once, and taken in again when a call has ended', () => {
  let inFlight = 0;
  let handled = 0;
  const run = pipeline<string, string>([loadShed({ inFlight: () => inFlight, inFlightMax: 2, shed: () => 'shed' })], () => {
    inFlight += 1;
    handled += 1;
    return 'taken';
  });
  assert.deepEqual([run('a'), run('b'), run('c')], ['taken', 'taken', 'shed']);
  inFlight -= 1;
  assert.deepEqual([run('d'), run('e'), handled], ['taken', 'shed', 3]);
});

test('a call that must pass is not shed', () => {
  const inFlight = (call: string): number => (call === 'ping' ? 0 : 9);
  const run = pipeline<string, string>([loadShed({ inFlight, inFlightMax: 1, shed: () => 'shed' })], () => 'taken');
  assert.deepEqual([run('ping'), run('write')], ['taken', 'shed']);
});

test('what a breaker refuses does not reach the handler', () => {
  const reached: string[] = [];
  const run = pipeline<string, string>(
    [
      circuitBreaker(
        (call) => call === 'silent',
        () => 'refused',
      ),
    ],
    (call) => {
      reached.push(call);
      return 'asked';
    },
  );
  assert.deepEqual([run('silent'), run('well'), reached], ['refused', 'asked', ['well']]);
});

interface Attempted {
  readonly pauses: number[];
  readonly tries: number;
  readonly outcome: string;
}

/** Calls something that fails so many times. */
async function attempt(failures: number, mayRepeat: () => boolean): Promise<Attempted> {
  const pauses: number[] = [];
  let tries = 0;
  const layer = retry<string, string>({
    policy: RETRY_DEFAULTS,
    mayRepeat,
    random: () => 1,
    pause: (pauseMs) => {
      pauses.push(pauseMs);
      return Promise.resolve();
    },
  });
  const run = layer(() => {
    tries += 1;
    return tries > failures ? Promise.resolve('done') : Promise.reject(new Error(`failure ${tries}`));
  });
  const outcome = await run('call').catch((error: unknown) => String(error));
  return { pauses, tries, outcome };
}

test('a call that may be repeated is, three times, each pause twice the one before', async () => {
  assert.deepEqual(await attempt(2, () => true), { pauses: [10, 20], tries: 3, outcome: 'done' });
  assert.deepEqual(await attempt(9, () => true), { pauses: [10, 20, 40], tries: 4, outcome: 'Error: failure 4' });
});

test('a call that may have run is never made again', async () => {
  assert.deepEqual(await attempt(1, () => false), { pauses: [], tries: 1, outcome: 'Error: failure 1' });
});

test('pauses are spread between half and all of their length, and bounded', () => {
  assert.deepEqual([retryPauseMs(RETRY_DEFAULTS, 1, 0), retryPauseMs(RETRY_DEFAULTS, 3, 0.5)], [5, 30]);
  assert.equal(retryPauseMs(RETRY_DEFAULTS, 30, 1), 1000);
});

class Scope implements CallScope {
  begins = false;
  readonly entered: (OperationType | undefined)[] = [];
  enter(type: OperationType): void {
    this.entered.push(type);
  }
  leave(): boolean {
    this.entered.push(undefined);
    return this.begins;
  }
}

test('listeners hear of an operation when it has ended: of one that waits its call tells, of one that is held nobody', () => {
  const scope = new Scope();
  const heard: [OperationType, number][] = [];
  let now = 100;
  let status: CallStatus = 'RESPONSE';
  const listen = { ended: (type: OperationType, tookMs: number) => void heard.push([type, tookMs]) };
  const run = pipeline([eventListener<string>(scope, [listen], () => now)], () => {
    now += 5;
    return status;
  });
  run(operation('DEVICE_HELLO'));
  status = 'HELD';
  run(operation('OP_BATCH'));
  status = 'WAIT';
  scope.begins = true;
  run(operation('OP_BATCH'));
  assert.deepEqual(heard, [['DEVICE_HELLO', 5]]);
  assert.deepEqual(scope.entered, ['DEVICE_HELLO', undefined, 'OP_BATCH', undefined, 'OP_BATCH', undefined]);
});

test('operations are counted by type, by how they were taken and by how long they took', () => {
  const memory = new SharedArrayBuffer(OperationMetrics.BYTES * 2);
  const measured = new OperationMetrics(memory, OperationMetrics.BYTES);
  const run = pipeline<Operation<string>, CallStatus>([metrics(measured)], ({ type }) => (type === 'OP_BATCH' ? 'WAIT' : 'HELD'));
  for (let time = 0; time < 3; time++) run(operation('OP_BATCH'));
  run(operation('SYNC_INIT'));
  for (const tookMs of [0, 0.4, 1, 3.9, 4, 100_000]) measured.ended('OP_BATCH', tookMs);
  const read = new OperationMetrics(memory, OperationMetrics.BYTES).read('OP_BATCH');
  assert.deepEqual(read.handled, { RESPONSE: 0, VOID: 0, WAIT: 3, HELD: 0, OFFLOAD: 0 });
  assert.equal(read.totalMs, 0.4 + 1 + 3.9 + 4 + 100_000);
  assert.deepEqual(BUCKET_ENDS_MS.slice(0, 4), [1, 2, 4, 8]);
  assert.deepEqual([...read.within.slice(0, 4), read.within.at(-2), read.within.at(-1)], [2, 3, 4, 5, 5, 6]);
  assert.equal(new OperationMetrics(memory).read('OP_BATCH').handled.WAIT, 0);
});
