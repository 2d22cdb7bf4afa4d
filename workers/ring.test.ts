import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FULL, RingConsumer, type RingHandler, RingProducer } from './ring.ts';
import { createRing, readRingStats, recordBytesMax } from './ring-layout.ts';

/** Keeps a copy of every record. */
class Collector implements RingHandler {
  readonly records: Uint8Array[] = [];
  onRecord(ring: RingConsumer, at: number, bytes: number): void {
    assert.equal(at % 8, 0);
    this.records.push(ring.bytes.slice(at, at + bytes));
  }
}

function record(bytes: number, fill: number): Uint8Array {
  return new Uint8Array(bytes).fill(fill);
}

function pair(capacityBytes = 1024, position = 0) {
  const memory = createRing({ capacityBytes, position });
  let bells = 0;
  let rooms = 0;
  const producer = new RingProducer(memory, () => {
    bells += 1;
  });
  const consumer = new RingConsumer(memory, 0, () => {
    rooms += 1;
  });
  return { memory, producer, consumer, collector: new Collector(), bells: () => bells, rooms: () => rooms };
}

test('records come out whole, once and in order', () => {
  const { producer, consumer, collector } = pair();
  const written = [record(1, 1), record(0, 0), record(7, 2), record(8, 3), record(100, 4)];
  for (const one of written) assert.ok(producer.tryWrite(one));
  assert.equal(consumer.drain(100, collector), written.length);
  assert.deepEqual(collector.records, written);
  assert.equal(consumer.drain(100, collector), 0);
});

test('a record is filled in place through words and floats, and may shrink at commit', () => {
  const { producer, consumer, collector } = pair();
  const at = producer.claim(64);
  producer.words[at / 4] = 7;
  producer.words[at / 4 + 1] = 9;
  producer.floats[at / 8 + 1] = 1.5;
  producer.commit(16);
  assert.ok(producer.tryWrite(record(3, 3)));
  assert.equal(consumer.drain(1, collector), 1);
  const read = collector.records[0] as Uint8Array;
  assert.equal(read.byteLength, 16);
  assert.deepEqual([...new Int32Array(read.buffer, 0, 2)], [7, 9]);
  assert.deepEqual([...new Float64Array(read.buffer, 8, 1)], [1.5]);
  consumer.drain(1, collector);
  assert.deepEqual(collector.records[1], record(3, 3));
});

test('nothing is seen before commit, and a claim that is not committed is forgotten', () => {
  const { producer, consumer, collector } = pair();
  producer.bytes.fill(255, producer.claim(32));
  assert.equal(consumer.pending, false);
  assert.equal(consumer.drain(10, collector), 0);
  producer.tryWrite(record(5, 5));
  consumer.drain(10, collector);
  assert.deepEqual(collector.records, [record(5, 5)]);
});

test('a full ring refuses a record and takes it again once the space is released, not once it is drained', () => {
  const { memory, producer, consumer, collector } = pair();
  while (producer.tryWrite(record(120, 1)));
  assert.equal(producer.claim(120), FULL);
  assert.equal(consumer.drain(100, collector), 8);
  assert.equal(producer.claim(120), FULL);
  consumer.release();
  assert.notEqual(producer.claim(120), FULL);
  assert.equal(readRingStats(memory).fullAnswers, 3);
});

test('the largest record fits into an empty ring wherever its positions stand, and a larger one would not', () => {
  for (let position = 0; position <= 1024; position += 8) {
    const { producer, consumer, collector } = pair(1024, position);
    assert.equal(producer.recordBytesMax, 504);
    assert.ok(producer.tryWrite(record(504, 9)), `at ${position}`);
    consumer.drain(1, collector);
    assert.deepEqual(collector.records[0], record(504, 9));
  }
  const { producer } = pair();
  assert.throws(() => producer.claim(505), /larger than recordBytesMax/);
});

test('a drain ends behind the record at which its handler says so, and the next one goes on there', () => {
  const { producer, consumer, collector } = pair();
  for (let fill = 1; fill <= 4; fill++) assert.ok(producer.tryWrite(record(8, fill)));
  const handler = {
    onRecord(ring: RingConsumer, at: number, bytes: number): void {
      collector.onRecord(ring, at, bytes);
      if (collector.records.length === 2) ring.endDrain();
    },
  };
  assert.equal(consumer.drain(100, handler), 2);
  assert.equal(consumer.drain(100, handler), 2);
  assert.deepEqual(
    collector.records.map(([fill]) => fill),
    [1, 2, 3, 4],
  );
});

test('positions survive wrapping 2^31 and 2^32', () => {
  for (const position of [2 ** 31 - 2048, 2 ** 32 - 2048]) {
    const { memory, producer, consumer, collector } = pair(1024, position);
    for (let n = 0; n < 200; n += 1) {
      assert.ok(producer.tryWrite(record(n, n & 255)), `record ${n} from ${position}`);
      if (n % 3 === 0) assert.ok(consumer.drain(10, collector) > 0);
      consumer.release();
    }
    consumer.drain(10, collector);
    assert.deepEqual(
      collector.records,
      Array.from({ length: 200 }, (_, n) => record(n, n & 255)),
    );
    const stats = readRingStats(memory);
    assert.deepEqual([stats.recordsWritten, stats.recordsRead, stats.recordsPending], [200, 200, 0]);
    assert.ok(stats.usedBytes >= 0 && stats.usedBytes <= 1024);
  }
});

test('any run of writes, drains and releases behaves like a bounded list', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('write' as const), bytes: fc.integer({ min: 0, max: recordBytesMax(1024) }) }),
    fc.record({ kind: fc.constant('drain' as const), bytes: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ kind: fc.constant('release' as const), bytes: fc.constant(0) }),
  );
  const start = fc.integer({ min: 0, max: 255 }).map((eighth) => 2 ** 32 - 1024 + eighth * 8);
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 200 }), (position, steps) => {
      const { producer, consumer, collector } = pair(1024, position);
      const accepted: Uint8Array[] = [];
      let taken = 0;
      for (const { kind, bytes } of steps) {
        const one = record(bytes, accepted.length & 255);
        if (kind === 'write' && producer.tryWrite(one)) accepted.push(one);
        if (kind === 'drain') taken += consumer.drain(bytes, collector);
        if (kind === 'release') consumer.release();
        assert.equal(consumer.pending, taken < accepted.length);
      }
      consumer.drain(1000, collector);
      assert.deepEqual(collector.records, accepted);
    }),
  );
});

test('the bell rings once per sleep, and a consumer with records does not fall asleep', () => {
  const { memory, producer, consumer, collector, bells } = pair();
  producer.tryWrite(record(1, 1));
  assert.equal(bells(), 0);
  assert.equal(consumer.park(), false);
  assert.equal(consumer.parked, false);
  consumer.drain(1, collector);
  assert.equal(consumer.park(), true);
  producer.tryWrite(record(1, 1));
  producer.tryWrite(record(1, 1));
  assert.equal(bells(), 1);
  assert.equal(consumer.parked, false);
  assert.equal(readRingStats(memory).bellsRung, 1);
});

test('a producer that waits for room is called once, when space is given back', () => {
  const { producer, consumer, collector, rooms } = pair();
  assert.equal(producer.wantRoom(100), true);
  while (producer.tryWrite(record(120, 1)));
  assert.equal(producer.wantRoom(120), false);
  consumer.drain(1, collector);
  assert.equal(rooms(), 0);
  consumer.release();
  consumer.drain(1, collector);
  consumer.release();
  assert.equal(rooms(), 1);
});

test('the consumer that replaces a dead one gets the records that were not released', () => {
  const { memory, producer, consumer, collector } = pair();
  for (let n = 1; n <= 4; n += 1) producer.tryWrite(record(n, n));
  consumer.drain(1, collector);
  consumer.release();
  consumer.drain(2, new Collector());
  const loggedAt = consumer.position;

  const second = new RingConsumer(memory);
  assert.equal(second.takeOver(), 0);
  const again = new Collector();
  second.drain(10, again);
  assert.deepEqual(again.records, [record(2, 2), record(3, 3), record(4, 4)]);

  const third = new RingConsumer(memory);
  assert.equal(third.takeOver(loggedAt), 0);
  const rest = new Collector();
  third.drain(10, rest);
  assert.deepEqual(rest.records, [record(4, 4)]);
  third.release();
  assert.equal(readRingStats(memory).usedBytes, 0);
});

test('deaths at one record are counted, so that it can be left out', () => {
  const { memory, producer } = pair();
  for (let n = 1; n <= 3; n += 1) producer.tryWrite(record(8, n));
  const poison: RingHandler = {
    onRecord(ring, at) {
      if (ring.bytes[at] === 2) throw new Error('poison');
    },
  };
  for (let deaths = 0; deaths < 2; deaths += 1) {
    const consumer = new RingConsumer(memory);
    assert.equal(consumer.takeOver(), deaths);
    assert.throws(() => consumer.drain(10, poison), /poison/);
  }
  const last = new RingConsumer(memory);
  assert.equal(last.takeOver(), 2);
  const skipped: number[] = [];
  last.drain(10, {
    onRecord(ring, at) {
      if (ring.recordAt === last.suspectAt) skipped.push(ring.bytes[at] as number);
    },
  });
  assert.deepEqual(skipped, [2]);
  last.release();
  assert.equal(new RingConsumer(memory).takeOver(), 0, 'past the record nothing is suspect');
});

test('a new producer begins behind the last published record', () => {
  const { memory, producer, consumer, collector } = pair();
  producer.tryWrite(record(3, 1));
  producer.bytes.fill(255, producer.claim(40)); // dies before commit
  new RingProducer(memory, () => {}).tryWrite(record(4, 2));
  consumer.drain(10, collector);
  assert.deepEqual(collector.records, [record(3, 1), record(4, 2)]);
});
