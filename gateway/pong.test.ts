import assert from 'node:assert/strict';
import test from 'node:test';
import { plain } from '../engine/domains/testing/scanned-ops.ts';
import { decode } from '../engine/protocol/codec.ts';
import { Scanner } from '../engine/protocol/scanner.ts';
import { encode } from '../engine/protocol/codec.ts';
import { pongFrame } from './pong.ts';

function pongTo(ping: object): unknown {
  const frame = encode(ping).slice();
  const scanner = new Scanner();
  scanner.scan(frame, frame.length);
  return plain(decode(pongFrame(frame, scanner.pingStart, scanner.pingBytes, 777)));
}

test('a ping is answered with its own timestamp and the time of the server', () => {
  for (const timestamp of [0, 7, 1.5, 1_706_000_000_000]) {
    assert.deepEqual(pongTo({ type: 'PING', timestamp }), { type: 'PONG', timestamp, serverTime: 777 });
  }
});

test('a ping without a number gets the time of the server twice', () => {
  for (const ping of [{ type: 'PING' }, { type: 'PING', timestamp: 'soon' }, { type: 'PING', timestamp: null }]) {
    assert.deepEqual(pongTo(ping), { type: 'PONG', timestamp: 777, serverTime: 777 });
  }
});
