import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RollCall } from '../../operation/roll-call.ts';
import { decode } from '../../protocol/codec.ts';
import { plain } from '../testing/scanned-ops.ts';
import { PUSH_TOPIC, REQUEST_TOPIC_INTEREST, REQUEST_TOPIC_PUBLISH, REQUEST_TOPIC_ROLL } from '../../protocol/envelope.ts';
import { encodeData, encodePublication, Publication } from './publication.ts';
import { encodeInterest, type InterestCount } from './topic-interest.ts';
import { TopicService } from './topic-service.ts';

class Bench {
  readonly pushed: { gateway: number; topic: string; data: unknown }[] = [];
  readonly service: TopicService;
  nowMs = 0;
  #number = 0;

  constructor(rollGateways = 0) {
    this.service = new TopicService({
      pushes: {
        push: (gateway, session, kind, body) => {
          assert.deepEqual([session, kind], [0, PUSH_TOPIC]);
          const { topic, data } = new Publication(body);
          this.pushed.push({ gateway, topic, data: decode(data) });
        },
      },
      roll: new RollCall(rollGateways, 0, 10_000),
      monotonicMs: () => this.nowMs,
    });
  }

  interest(gateway: number, topics: readonly InterestCount[], patterns: readonly InterestCount[] = []): void {
    this.#ask(REQUEST_TOPIC_INTEREST, encodeInterest({ topics, patterns }), gateway);
  }

  roll(gateway: number): void {
    this.#ask(REQUEST_TOPIC_ROLL, new Uint8Array(0), gateway);
  }

  /** The number of receivers; undefined when it is not known. */
  publish(topic: string, data: unknown): number | undefined {
    const body = encodePublication({
      number: ++this.#number,
      gateway: 0,
      session: 7,
      topic,
      data: encodeData(data),
      publisherId: 'p',
      timestampMs: 5,
    });
    const [count] = this.#ask(REQUEST_TOPIC_PUBLISH, body, 0);
    return count && new DataView(count.buffer, count.byteOffset).getUint32(0, true);
  }

  #ask(kind: number, body: Uint8Array, gateway: number): readonly Uint8Array[] {
    return this.service.answer({ kind, body, gateway, session: 0, nowMs: 0 });
  }
}

test('a publication is told to every gateway that has subscribers, once, and counted by them', () => {
  const bench = new Bench();
  bench.interest(0, [['chat', 2]]);
  bench.interest(2, [['chat', 3]], [['c*', 1]]);
  bench.interest(1, [['other', 1]]);
  assert.equal(bench.publish('chat', 'hello'), 6);
  assert.deepEqual(bench.pushed, [
    { gateway: 0, topic: 'chat', data: 'hello' },
    { gateway: 2, topic: 'chat', data: 'hello' },
  ]);
});

test('nobody is told once nobody is left, and nothing is kept for who comes later', () => {
  const bench = new Bench();
  bench.interest(0, [['chat', 1]], [['chat', 1]]);
  bench.interest(0, [['chat', 0]], [['chat', 0]]);
  assert.equal(bench.publish('chat', 1), 0);
  bench.interest(0, [['chat', 1]]);
  assert.deepEqual(bench.pushed, []);
});

test('the frame of a publication is a whole TOPIC_MESSAGE, whatever the payload', () => {
  for (const data of [null, 0, 'text', [1, { deep: [null] }], Uint8Array.of(1, 2), 'é'.repeat(500)]) {
    const body = encodePublication({
      number: 1,
      gateway: 3,
      session: 9,
      topic: 'chat/room-1',
      data: encodeData(data),
      publisherId: 'user-42',
      timestampMs: 1_700_000_000_000,
    });
    const publication = new Publication(body.slice());
    assert.deepEqual([publication.number, publication.gateway, publication.session], [1, 3, 9]);
    const expected = { topic: 'chat/room-1', data, publisherId: 'user-42', timestamp: 1_700_000_000_000 };
    assert.deepEqual(JSON.parse(JSON.stringify(decode(publication.frame))), {
      type: 'TOPIC_MESSAGE',
      payload: JSON.parse(JSON.stringify(expected)),
    });
    assert.deepEqual(plain(decode(publication.data)), data);
  }
});

test('a worker that replaces another publishes nothing before all gateways have told their subscribers again, then all of it in order', () => {
  const bench = new Bench(2);
  assert.equal(bench.publish('chat', 1), undefined);
  bench.interest(0, [['chat', 1]]);
  bench.roll(0);
  assert.equal(bench.publish('chat', 2), undefined);
  assert.deepEqual(bench.pushed, []);
  bench.interest(1, [['chat', 1]]);
  bench.roll(1);
  assert.equal(bench.publish('chat', 3), 2);
  assert.deepEqual(
    bench.pushed.map(({ gateway, data }) => [data, gateway]),
    [
      [1, 0],
      [1, 1],
      [2, 0],
      [2, 1],
      [3, 0],
      [3, 1],
    ],
  );
});

test('a gateway that keeps silent does not keep publications for ever', () => {
  const bench = new Bench(2);
  bench.interest(0, [['chat', 1]]);
  bench.roll(0);
  bench.publish('chat', 1);
  bench.nowMs = 9_999;
  bench.service.tick();
  assert.deepEqual(bench.pushed, []);
  bench.nowMs = 10_000;
  bench.service.tick();
  assert.equal(bench.pushed.length, 1);
});

test('what waits is bounded in bytes: the oldest is let go, and counted', () => {
  const bench = new Bench(1);
  for (let index = 0; index < 20; index++) bench.publish('chat', 'x'.repeat(1 << 20));
  assert.ok(bench.service.dropped >= 4 && bench.service.dropped < 20, `${bench.service.dropped} dropped`);
  bench.interest(0, [['chat', 1]]);
  bench.roll(0);
  assert.equal(bench.pushed.length + bench.service.dropped, 20);
});
