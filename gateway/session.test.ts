import assert from 'node:assert/strict';
import test from 'node:test';
import type { Connection } from './connection.ts';
import { SessionTable } from './session.ts';

const CONNECTION: Connection = { send: () => true, cork: (write) => write(), end: () => {}, bufferedBytes: () => 0 };

test('a number finds its session while that is open, and nothing afterwards, though the slot is used again', () => {
  const table = new SessionTable(10);
  const numbers = new Set<number>();
  for (let time = 0; time < 2000; time++) {
    const session = table.open(CONNECTION, false, 0);
    assert.ok(session !== undefined && session.id > 0 && session.id < 2 ** 31 && !numbers.has(session.id));
    numbers.add(session.id);
    assert.equal(table.find(session.id), session);
    table.close(session);
    assert.equal(table.find(session.id), undefined);
  }
  assert.equal(table.count, 0);
});

test('there are no more sessions than allowed, and one that goes makes room', () => {
  const table = new SessionTable(2);
  const first = table.open(CONNECTION, false, 0);
  const second = table.open(CONNECTION, false, 0);
  assert.equal(table.open(CONNECTION, false, 0), undefined);
  assert.ok(first !== undefined && second !== undefined);
  table.close(first);
  table.close(first); // closed twice: counted once
  const third = table.open(CONNECTION, false, 0);
  assert.deepEqual([table.count, table.open(CONNECTION, false, 0)], [2, undefined]);
  assert.deepEqual(new Set(table.sessions()), new Set([second, third]));
});

test('closing tells the connection once, with code and reason', () => {
  const ends: unknown[] = [];
  const table = new SessionTable(1);
  const session = table.open({ ...CONNECTION, end: (code, reason) => ends.push([code, reason]) }, false, 0);
  assert.ok(session !== undefined);
  session.close('IDLE');
  table.close(session);
  session.close('OVERLOADED');
  assert.deepEqual(ends, [[1000, 'idle timeout']]);
  assert.equal(session.isOpen, false);
});

test('numbers that no session ever had find nothing', () => {
  const table = new SessionTable(5);
  table.open(CONNECTION, false, 0);
  for (const id of [0, 2, 999, -1, 2 ** 30]) assert.equal(table.find(id), undefined);
});
