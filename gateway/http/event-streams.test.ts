import assert from 'node:assert/strict';
import test from 'node:test';
import { GridError } from '../../engine/protocol/errors.ts';
import { Session } from '../session.ts';
import { doorWithoutGrid } from '../testing/door-without-grid.ts';
import { eventually } from '../testing/test-grid.ts';
import type { StreamWish } from './event-stream.ts';
import { EventStreams, STREAMS_MAX } from './event-streams.ts';
import type { HttpDoor } from './http-door.ts';
import type { HttpSink } from './http-sink.ts';

const WISH: StreamWish = { messages: [], signature: 'maps', principal: undefined };

/** Sessions of a door, by when they were opened; nothing is ever said to them. */
async function doorOf(sessions: Set<Session>): Promise<HttpDoor> {
  return doorWithoutGrid({
    open: (connection) => {
      const session = new Session(1, connection, true, 0);
      sessions.add(session);
      return session;
    },
    close: (session) => void sessions.delete(session),
  });
}

/** A reader who takes everything. */
class Reader implements HttpSink {
  text = '';
  #closed: () => void = () => {};

  write(chunk: string): boolean {
    this.text += chunk;
    return true;
  }

  bufferedBytes(): number {
    return 0;
  }

  end(): void {
    this.#closed();
  }

  onClosed(told: () => void): void {
    this.#closed = told;
  }

  onDrained(): void {}
}

test('a reader hears that a stream is there when nothing happens, and its session stays awake', async () => {
  const sessions = new Set<Session>();
  const door = await doorOf(sessions);
  const streams = new EventStreams(60);
  const reader = new Reader();
  streams.open(door, WISH, '')(reader);
  await eventually(() => assert.match(reader.text, /^retry: 1000\n\n(: \n\n){3}/));
  for (const session of sessions) assert.ok(session.lastSeenMs > 0);
  assert.equal(sessions.size, 1);
});

test('streams are bounded: those that nobody reads make room, and those that are read refuse others', async () => {
  const sessions = new Set<Session>();
  const door = await doorOf(sessions);
  const streams = new EventStreams(60_000);
  // As HEAD does, and who hangs up while his token is checked.
  for (let number = 0; number < STREAMS_MAX + 10; number++) streams.open(door, WISH, '');
  assert.deepEqual([streams.count, sessions.size], [STREAMS_MAX, STREAMS_MAX]);
  const readers = Array.from({ length: STREAMS_MAX }, () => new Reader());
  for (const reader of readers) streams.open(door, WISH, '')(reader);
  assert.deepEqual([streams.count, sessions.size], [STREAMS_MAX, STREAMS_MAX]);
  assert.throws(
    () => streams.open(door, WISH, ''),
    (error) => error instanceof GridError && error.code === 'OVERLOADED',
  );
  readers[7]?.end();
  streams.open(door, WISH, '')(new Reader());
  assert.equal(streams.count, STREAMS_MAX);
});
