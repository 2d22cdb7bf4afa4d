import assert from 'node:assert/strict';
import test from 'node:test';
import { type RequestHandler, RequestHandlers } from './request-handler.ts';

function handler(kinds: readonly number[], writeKinds: readonly number[], closed: string[] = []): RequestHandler {
  return { kinds, writeKinds, answer: () => [], sessionClosed: (gateway, session) => void closed.push(`${gateway}:${session}`) };
}

test('each kind of request finds its handler, and an unknown one finds none', () => {
  const reads = handler([1, 2], []);
  const writes = handler([3], [3]);
  const handlers = new RequestHandlers([reads, writes]);
  assert.deepEqual(
    [1, 2, 3, 4].map((kind) => handlers.of(kind)),
    [reads, reads, writes, undefined],
  );
  assert.deepEqual(
    [1, 2, 3, 4].map((kind) => handlers.writes(kind)),
    [false, false, true, false],
  );
});

test('two handlers of one kind are refused at the start', () => {
  assert.throws(() => new RequestHandlers([handler([1], []), handler([1], [])]), /two handlers of request kind 1/);
});

test('every handler hears that a session is gone', () => {
  const closed: string[] = [];
  new RequestHandlers([handler([1], [], closed), handler([2], [], closed)]).sessionClosed(1, 7);
  assert.deepEqual(closed, ['1:7', '1:7']);
});
