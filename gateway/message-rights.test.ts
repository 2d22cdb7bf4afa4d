import assert from 'node:assert/strict';
import test from 'node:test';
import { OPERATIONS } from '../engine/operation/operation.ts';
import { hasRight, rightRefusal } from './message-rights.ts';
import { GrantScope } from './grant-scope.ts';
import { Grants } from '../engine/domains/security/grants.ts';
import { compileCondition } from '../engine/domains/security/condition.ts';
import { SubjectAccess } from './subject-access.ts';

/** Asked by the write path itself, or about the connection alone: they never come to a desk. */
const NOT_ASKED = new Set(['OP_BATCH', 'CLIENT_OP', 'PING', 'DEVICE_HELLO', 'CLIENT_APPLY_ACK']);

test('every message that comes to a desk has a right that somebody gave it', () => {
  const without = Object.keys(OPERATIONS).filter((type) => !NOT_ASKED.has(type) && !hasRight(type));
  assert.deepEqual(without, [], 'whoever is under policies could not send these at all');
});

test('what is named and not allowed is refused by its name, whoever has no policies is refused nothing', () => {
  const all = Grants.of([{ id: 'a', pattern: 'chat.*', actions: ['subscribe'], effect: 'allow' }], undefined, compileCondition);
  const scope = new GrantScope(all);
  const guarded = new SubjectAccess({ version: 1, scopeOf: () => scope, numberOf: () => 1 }, undefined);
  const topic = (type: 'TOPIC_SUB' | 'TOPIC_UNSUB', name: string): string | undefined =>
    rightRefusal(guarded, { type, topic: name });
  assert.deepEqual(
    [topic('TOPIC_SUB', 'chat.a'), topic('TOPIC_UNSUB', 'news'), topic('TOPIC_SUB', 'news')],
    [undefined, undefined, 'TOPIC_SUB is not allowed for news'],
  );
  assert.equal(rightRefusal(SubjectAccess.FULL, { type: 'TOPIC_SUB', topic: 'news' }), undefined);
});
