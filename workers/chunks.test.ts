import assert from 'node:assert/strict';
import test from 'node:test';
import { ChunkedWrite } from './chunks.ts';
import { FULL, RingConsumer, type RingHandler, RingProducer } from './ring.ts';
import { createRing } from './ring-layout.ts';

class Collector implements RingHandler {
  readonly records: Uint8Array[] = [];
  onRecord(ring: RingConsumer, at: number, bytes: number): void {
    assert.equal(at % 8, 0);
    this.records.push(ring.bytes.slice(at, at + bytes));
  }
}

function message(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, n) => (n * 7) & 255);
}

function pair() {
  const memory = createRing({ capacityBytes: 1024, messageBytesMax: 10_000 });
  const producer = new RingProducer(memory, () => {});
  return { memory, producer, chunks: new ChunkedWrite(producer), consumer: new RingConsumer(memory), collector: new Collector() };
}

/** Takes all that is there and gives the space back, as a loop does turn by turn. */
function drainAll(consumer: RingConsumer, collector: Collector): void {
  while (consumer.drain(100, collector) > 0) consumer.release();
}

test('a message larger than the ring arrives whole, between the records before and behind it', () => {
  const { producer, chunks, consumer, collector } = pair();
  producer.tryWrite(message(5));
  let done = chunks.start(message(9_999));
  assert.equal(done, false);
  while (!done) {
    assert.equal(producer.claim(8), FULL, 'nothing may come between the parts');
    drainAll(consumer, collector);
    done = chunks.resume();
  }
  assert.equal(chunks.active, false);
  drainAll(consumer, collector);
  assert.ok(producer.tryWrite(message(6)));
  drainAll(consumer, collector);
  assert.deepEqual(collector.records, [message(5), message(9_999), message(6)]);
});

test('messages of every size near a part arrive whole', () => {
  const { chunks, consumer, collector } = pair();
  for (let bytes = 1; bytes < 400; bytes += 1) {
    assert.ok(chunks.start(message(bytes)), `${bytes} bytes`);
    drainAll(consumer, collector);
  }
  assert.deepEqual(
    collector.records,
    Array.from({ length: 399 }, (_, n) => message(n + 1)),
  );
});

test('a drain ends behind a large message, whose bytes stay valid until release', () => {
  const { chunks, consumer, collector } = pair();
  chunks.start(message(200));
  chunks.start(message(300));
  assert.equal(consumer.drain(100, collector), 2, 'the parts of the first');
  assert.equal(consumer.drain(100, collector), 0, 'held until release');
  consumer.release();
  assert.equal(consumer.drain(100, collector), 3);
  assert.deepEqual(collector.records, [message(200), message(300)]);
});

test('a consumer that dies between two parts is replaced without loss', () => {
  const { memory, chunks, consumer, collector } = pair();
  assert.equal(chunks.start(message(2_000)), false);
  consumer.drain(100, collector);
  consumer.release(); // the first parts are gone from the ring
  chunks.resume();
  new RingConsumer(memory).drain(3, collector); // takes some more, and dies before the release
  const successor = new RingConsumer(memory);
  successor.takeOver();
  drainAll(successor, collector);
  chunks.resume();
  drainAll(successor, collector);
  assert.equal(chunks.active, false);
  assert.deepEqual(collector.records, [message(2_000)]);
});

test('an abandoned message is never handed over, and the next one is whole', () => {
  const { producer, chunks, consumer, collector } = pair();
  assert.equal(chunks.start(message(5_000)), false);
  chunks.abandon();
  drainAll(consumer, collector);
  assert.ok(producer.tryWrite(message(3)));
  assert.ok(chunks.start(message(500)));
  drainAll(consumer, collector);
  assert.deepEqual(collector.records, [message(3), message(500)]);
});
