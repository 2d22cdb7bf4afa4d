import assert from 'node:assert/strict';
import test from 'node:test';
import type { GridRequest, LateParts, RequestHandler } from '../../operation/request-handler.ts';
import { REQUEST_RECORD_PAGE } from '../../protocol/envelope.ts';
import { HeldKeys } from './held-keys.ts';
import { HeldRecords } from './held-records.ts';

const PAGE: GridRequest = {
  kind: REQUEST_RECORD_PAGE,
  body: new Uint8Array(0),
  gateway: 0,
  session: 0,
  nowMs: 0,
  isLogged: false,
};

/** Reads two records with a pause between them, in which `meanwhile` is run. */
function twoStepReader(records: readonly number[], meanwhile: (reading: number) => void): RequestHandler {
  let readings = 0;
  return {
    kinds: [REQUEST_RECORD_PAGE],
    writeKinds: [],
    async *answer(): LateParts {
      readings += 1;
      const [first = 0] = records;
      await new Promise((resolve) => setImmediate(resolve));
      meanwhile(readings);
      yield Uint8Array.of(first, records[1] ?? 0);
    },
  };
}

async function answerOf(handler: RequestHandler): Promise<number[]> {
  const bytes: number[] = [];
  for await (const part of handler.answer(PAGE)) bytes.push(...part);
  return bytes;
}

test('a page of several turns shows a command that wrote several keys whole, however often there is one', async () => {
  const held = new HeldKeys();
  const records = [0, 0];
  const readings: number[] = [];
  const write = { isWrite: true, isEverything: false, keys: [{ space: Uint8Array.of(1), key: Uint8Array.of(1) }] };
  const reader = twoStepReader(records, (reading) => {
    readings.push(reading);
    if (held.blocks(write)) return; // the command waits, as kv-service.ts has it
    records.fill(reading);
    held.jointWrites += 1;
  });
  assert.deepEqual(await answerOf(new HeldRecords(held, reader)), [2, 2]);
  assert.deepEqual(readings, [1, 2, 3]);
  assert.equal(held.isBusy, false);
});

test('a page is read once where nothing writes several keys', async () => {
  const held = new HeldKeys();
  let readings = 0;
  const reader = twoStepReader([1, 2], () => {
    readings += 1;
  });
  assert.deepEqual(await answerOf(new HeldRecords(held, reader)), [1, 2]);
  assert.equal(readings, 1);
});

test('a page waits until no act holds anything', async () => {
  const held = new HeldKeys();
  held.hold(1, true, false, []);
  let isAnswered = false;
  const answered = answerOf(
    new HeldRecords(
      held,
      twoStepReader([1, 2], () => {}),
    ),
  ).then((bytes) => {
    isAnswered = true;
    return bytes;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isAnswered, false);
  held.release(1);
  assert.deepEqual(await answered, [1, 2]);
});
