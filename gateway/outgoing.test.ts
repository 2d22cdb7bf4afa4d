import assert from 'node:assert/strict';
import test from 'node:test';
import { plain } from '../engine/domains/testing/scanned-ops.ts';
import { decode } from '../engine/protocol/codec.ts';
import { OpAckFrames } from './op-ack.ts';
import { Outgoing } from './outgoing.ts';
import { type Session, SessionTable } from './session.ts';

class Wire {
  /** What left together: a cork, or a frame alone. */
  readonly corks: unknown[][] = [];
  readonly ends: number[] = [];
  unreadBytes = 0;
  /** Runs while the frames of a cork are sent: the socket may close meanwhile. */
  onSend: () => void = () => {};
  readonly session: Session;
  #cork: unknown[] | undefined;

  constructor(table: SessionTable) {
    const session = table.open(
      {
        send: (frame) => {
          const said = frame.length === 1 ? frame[0] : plain(decode(frame));
          if (this.#cork === undefined) this.corks.push([said]);
          else this.#cork.push(said);
          this.onSend();
          return this.unreadBytes === 0;
        },
        cork: (write) => {
          this.#cork = [];
          this.corks.push(this.#cork);
          write();
          this.#cork = undefined;
        },
        end: (code) => {
          this.ends.push(code);
          table.close(this.session);
        },
        bufferedBytes: () => this.unreadBytes,
      },
      false,
      0,
    );
    assert.ok(session !== undefined);
    this.session = session;
  }
}

function setUp() {
  const table = new SessionTable(10);
  const outgoing = new Outgoing(new OpAckFrames('MEMORY'), 100);
  return { table, outgoing, wire: new Wire(table) };
}

test('what was queued for a session leaves in one cork, in order, acks among frames', () => {
  const { table, outgoing, wire } = setUp();
  const other = new Wire(table);
  outgoing.enqueue(wire.session, Uint8Array.of(1));
  outgoing.enqueue(other.session, Uint8Array.of(9));
  outgoing.enqueue(wire.session, 12);
  outgoing.enqueue(wire.session, Uint8Array.of(2));
  assert.deepEqual(wire.corks, []);
  outgoing.flush();
  outgoing.flush();
  const ack = { type: 'OP_ACK', payload: { lastId: '12', achievedLevel: 'MEMORY' } };
  assert.deepEqual([wire.corks, other.corks], [[[1, ack, 2]], [[9]]]);
  assert.equal(outgoing.framesSent, 4);
});

test('places for frames are used again and keep none; of a long queue they are given back', () => {
  const { outgoing, wire } = setUp();
  for (let flush = 0; flush < 3; flush++) {
    for (let byte = 0; byte < 100; byte++) outgoing.enqueue(wire.session, Uint8Array.of(byte));
    outgoing.flush();
    assert.deepEqual(wire.corks.at(-1), [...Array(100).keys()]);
  }
  assert.deepEqual(wire.session.outgoing, new Array(100).fill(0));
  assert.equal(wire.session.outgoingFrames, 0);
  for (let frame = 0; frame < 500; frame++) outgoing.enqueue(wire.session, frame);
  outgoing.flush();
  assert.equal(wire.session.outgoing.length, 0);
});

test('a session is closed behind what was queued for it', () => {
  const { outgoing, wire } = setUp();
  outgoing.enqueue(wire.session, Uint8Array.of(1));
  outgoing.close(wire.session, 'RATE_LIMITED');
  outgoing.flush();
  assert.deepEqual([wire.corks, wire.ends], [[[1]], [1013]]);
  outgoing.enqueue(wire.session, Uint8Array.of(2));
  outgoing.flush();
  assert.deepEqual(wire.corks, [[1]]);
});

test('a session that goes while it is written to is not written to again', () => {
  const { table, outgoing, wire } = setUp();
  const after = new Wire(table);
  wire.onSend = () => table.close(wire.session);
  outgoing.enqueue(wire.session, Uint8Array.of(1));
  outgoing.enqueue(after.session, Uint8Array.of(2));
  outgoing.flush();
  outgoing.enqueue(wire.session, Uint8Array.of(3));
  outgoing.flush();
  assert.deepEqual([wire.corks, after.corks, wire.ends], [[[1]], [[2]], []]);
});

test('who leaves more unread than the bound is closed and counted', () => {
  const { outgoing, wire } = setUp();
  wire.unreadBytes = 100;
  outgoing.enqueue(wire.session, Uint8Array.of(1));
  outgoing.flush();
  assert.deepEqual(wire.ends, []);
  wire.unreadBytes = 101;
  outgoing.enqueue(wire.session, Uint8Array.of(2));
  outgoing.flush();
  assert.deepEqual([wire.ends, outgoing.slowConsumersClosed], [[1013], 1]);
});
