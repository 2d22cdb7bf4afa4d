import assert from 'node:assert/strict';
import test from 'node:test';
import { GridError } from '../engine/protocol/errors.ts';
import { NodeDesk, type NodeQuestion } from './node-desk.ts';

const WISH = { kind: 'schema', name: 'm', body: '{}', changedBy: 'somebody' } as const;

test('answers find their questions, whatever their order', async () => {
  const asked: [number, NodeQuestion][] = [];
  const desk = new NodeDesk((request, question) => asked.push([request, question]));
  const first = desk.define(WISH);
  const second = desk.history('schema', 'm');
  assert.deepEqual(
    asked.map(([, question]) => question.ask),
    ['define', 'history'],
  );
  const definition = { kind: 'schema', name: 'm', version: 1, body: '{}' } as const;
  desk.answered(asked[1]?.[0] ?? 0, { history: [] });
  desk.answered(asked[0]?.[0] ?? 0, { definition });
  assert.deepEqual([await first, await second], [definition, []]);
});

test('what the main thread refuses is rejected by its code', async () => {
  const desk = new NodeDesk((request) => desk.answered(request, { error: { code: 'CONFLICT', message: 'version 2' } }));
  await assert.rejects(desk.define(WISH), (error) => error instanceof GridError && error.code === 'CONFLICT');
});

test('questions without an answer are bounded', async () => {
  const desk = new NodeDesk(() => {});
  for (let question = 0; question < 256; question++) void desk.history('schema', 'm');
  await assert.rejects(desk.history('schema', 'm'), (error) => error instanceof GridError && error.code === 'OVERLOADED');
});
