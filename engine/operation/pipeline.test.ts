import assert from 'node:assert/strict';
import test from 'node:test';
import { admission } from './interceptors/admission.ts';
import { authentication } from './interceptors/authentication.ts';
import { deadline } from './interceptors/deadline.ts';
import { partitionRouting } from './interceptors/partition-routing.ts';
import { type CallStatus, isOperationType, NO_PARTITION, Operation, OPERATIONS } from './operation.ts';
import { type Interceptor, pipeline } from './pipeline.ts';

interface Caller {
  readonly known: boolean;
  tokens: number;
}

function named(name: string, log: string[]): Interceptor<string, string> {
  return (next) => (op) => {
    log.push(`${name} in`);
    const reply = next(`${op}.${name}`);
    log.push(`${name} out`);
    return reply;
  };
}

test('interceptors run from the first to the last, and back', () => {
  const log: string[] = [];
  const handle = pipeline([named('a', log), named('b', log)], (op) => {
    log.push('handler');
    return `${op}!`;
  });
  assert.equal(handle('op'), 'op.a.b!');
  assert.deepEqual(log, ['a in', 'b in', 'handler', 'b out', 'a out']);
  assert.equal(pipeline<string, string>([], (op) => op)('as it is'), 'as it is');
});

test('a call costs no composition: interceptors are made once', () => {
  let made = 0;
  const count: Interceptor<number, number> = (next) => {
    made += 1;
    return next;
  };
  const handle = pipeline([count], (op) => op);
  handle(1);
  handle(2);
  assert.equal(made, 1);
});

function gatewayPipeline(options: { takes?: boolean } = {}) {
  const handled: { type: string; deadlineMs: number }[] = [];
  const shed: string[] = [];
  const handle = pipeline<Operation<Caller>, CallStatus>(
    [
      authentication((caller) => caller.known),
      deadline(() => 1000, 50),
      admission(
        ({ caller, cost }) => {
          if (caller.tokens < cost) return false;
          caller.tokens -= cost;
          return true;
        },
        ({ type }) => void shed.push(type),
      ),
      partitionRouting(() => options.takes ?? true),
    ],
    ({ type, deadlineMs }) => {
      handled.push({ type, deadlineMs });
      return 'WAIT';
    },
  );
  return { handle, handled, shed };
}

function operation(type: Operation<Caller>['type'], caller: Caller): Operation<Caller> {
  const made = new Operation(caller);
  made.type = type;
  return made;
}

test('a stranger gets no answer, and pays nothing', () => {
  const { handle, handled, shed } = gatewayPipeline();
  const caller = { known: false, tokens: 1 };
  assert.equal(handle(operation('OP_BATCH', caller)), 'VOID');
  assert.deepEqual([handled, shed, caller.tokens], [[], [], 1]);
});

test('an operation gets its deadline before it is handled, and what costs too much is shed with an answer', () => {
  const { handle, handled, shed } = gatewayPipeline();
  const caller = { known: true, tokens: 1 };
  assert.equal(handle(operation('OP_BATCH', caller)), 'WAIT');
  assert.equal(handle(operation('SYNC_INIT', caller)), 'RESPONSE');
  assert.deepEqual([handled, shed], [[{ type: 'OP_BATCH', deadlineMs: 1050 }], ['SYNC_INIT']]);
});

test('what goes to every worker is held while one takes nothing; ops with keys are looked at later', () => {
  const { handle } = gatewayPipeline({ takes: false });
  const caller = { known: true, tokens: 9 };
  const statuses = (['SYNC_INIT', 'ORMAP_PUSH_DIFF', 'OP_BATCH', 'PING'] as const).map((type) => handle(operation(type, caller)));
  assert.deepEqual(statuses, ['HELD', 'HELD', 'WAIT', 'WAIT']);
});

test('the set of operations is closed, and names that objects inherit are not in it', () => {
  assert.equal(isOperationType('OP_BATCH'), true);
  for (const type of ['toString', '__proto__', 'constructor', 'op_batch', '']) assert.equal(isOperationType(type), false, type);
  const fresh = operation('OP_BATCH', { known: true, tokens: 0 });
  assert.deepEqual([fresh.service, fresh.readOnly, fresh.partition, fresh.callId], ['crdt', false, NO_PARTITION, 0]);
  assert.equal(OPERATIONS.SYNC_INIT.readOnly, true);
});
