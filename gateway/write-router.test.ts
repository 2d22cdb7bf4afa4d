import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ClockQuarantine } from '../engine/crdt/clock-quarantine.ts';
import { plain, utf8 } from '../engine/domains/testing/scanned-ops.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { decode, encode } from '../engine/protocol/codec.ts';
import { ENVELOPE, ENVELOPE_BYTES, FLAG_MORE, RECORD_OPS } from '../engine/protocol/envelope.ts';
import { ERROR_CODES } from '../engine/protocol/errors.ts';
import { FLAG_WRITER_LISTENS, OP, OP_WORDS } from '../engine/protocol/op-index.ts';
import {
  PACKED,
  PACKED_SPANS_START,
  packedBytes,
  packedFlags,
  packedNameBytes,
  packedOrdinal,
} from '../engine/protocol/packed-op.ts';
import { Scanner } from '../engine/protocol/scanner.ts';
import { RingConsumer, RingProducer } from '../workers/ring.ts';
import { loadBatchKernel } from '../workers/kernel-file.ts';
import { createRing } from '../workers/ring-layout.ts';
import { RingWriter } from '../workers/ring-writer.ts';
import type { Principal } from './authentication.ts';
import { type BatchDetails, CallTable } from './call-table.ts';
import { nodeOfClock } from './clock-owner.ts';
import { MapNames } from './map-names.ts';
import { Session } from './session.ts';
import { WorkerLinks } from './worker-links.ts';
import { plainNumber, WriteRouter } from './write-router.ts';

interface ReceivedOp {
  readonly worker: number;
  readonly ordinal: number;
  readonly map: string;
  readonly key: string;
  readonly tag: string;
  readonly node: string;
  readonly value: unknown;
  readonly millis: number;
  readonly writerListens: boolean;
}

interface Part {
  readonly callId: number;
  readonly more: boolean;
  readonly ops: ReceivedOp[];
}

class RouterUnderTest {
  readonly table: PartitionTable;
  readonly quarantine = new ClockQuarantine();
  readonly calls = new CallTable();
  readonly router: WriteRouter;
  readonly session = new Session(5, { send: () => true, cork: () => {}, end: () => {}, bufferedBytes: () => 0 }, false, 0);
  readonly ready: boolean[];
  readonly #writers: RingWriter[];
  readonly #consumers: RingConsumer[];
  readonly #scanner = new Scanner(loadBatchKernel());

  constructor(workers: number, ringBytes = 1 << 18) {
    const rings = Array.from({ length: workers }, () => createRing({ capacityBytes: ringBytes, messageBytesMax: 8 << 20 }));
    this.table = PartitionTable.create(workers);
    this.ready = rings.map(() => true);
    this.#writers = rings.map((ring) => new RingWriter(new RingProducer(ring, () => {})));
    this.#consumers = rings.map((ring, worker) => new RingConsumer(ring, worker));
    const links = new WorkerLinks(this.table, this.#writers, (worker) => this.ready[worker] ?? false);
    this.router = new WriteRouter(links, new MapNames(100), this.calls, this.quarantine);
  }

  /** Routes a frame as one call; the details are made as the dispatcher makes them. */
  route(ops: readonly object[], listens = false): { routed: string; slot: number; details: BatchDetails | undefined } {
    const frame = encode({ type: 'OP_BATCH', payload: { ops } }).slice();
    this.#scanner.scan(frame, frame.length);
    const slot = this.calls.claim(this.session, 1234);
    let details: BatchDetails | undefined;
    const detailsOf = (): BatchDetails => {
      details ??= { ids: [], rejected: new Map(), refusals: new Map(), levels: undefined };
      return details;
    };
    const routed = this.router.route(this.session, this.#scanner.index, slot, listens, detailsOf);
    frame.fill(0xc1); // what was sent is a copy
    return { routed, slot, details };
  }

  /** What the workers get, per worker, until all rings are empty. */
  receive(): Part[][] {
    return this.#consumers.map((consumer, worker) => {
      const parts: Part[] = [];
      const handler = { onRecord: (ring: RingConsumer, at: number) => void parts.push(partAt(ring, at, worker)) };
      for (let idle = false; !idle; ) {
        idle = consumer.drain(100, handler) === 0;
        consumer.release();
        this.#writers[worker]?.flush();
      }
      return parts;
    });
  }
}

function partAt(ring: RingConsumer, at: number, worker: number): Part {
  const words = ring.words;
  const word = at >> 2;
  assert.equal(words[word + ENVELOPE.TYPE], RECORD_OPS);
  assert.equal(ring.floats[(at >> 3) + ENVELOPE.DEADLINE_F64], 1234);
  const count = words[word + ENVELOPE.COUNT] as number;
  let op = (at + ENVELOPE_BYTES) >> 2;
  let map = '';
  const ops = Array.from({ length: count }, () => {
    let end = (op << 2) + PACKED_SPANS_START;
    const next = (bytes: number): Uint8Array => {
      end += bytes;
      return ring.bytes.slice(end - bytes, end);
    };
    const spans = words[op + PACKED.KEY_TAG_BYTES] as number;
    const key = text(next(spans & 0xffff));
    const tag = text(next(spans >>> 16));
    const node = text(next((words[op + PACKED.NODE_BYTES_FLAGS] as number) & 0xffff));
    const value = next(words[op + PACKED.VALUE_BYTES] as number);
    const nameBytes = packedNameBytes(ring, op);
    if (nameBytes > 0) map = text(next(nameBytes));
    const received = {
      worker,
      ordinal: packedOrdinal(words, op),
      map,
      key,
      tag,
      node,
      value: value.length === 0 ? undefined : plain(decode(value)),
      millis: ring.floats[(op >> 1) + PACKED.MILLIS_F64] as number,
      writerListens: (packedFlags(words, op) & FLAG_WRITER_LISTENS) !== 0,
    };
    op += packedBytes(words, op) >> 2;
    return received;
  });
  const bodyBytes = words[word + ENVELOPE.BODY_BYTES] as number;
  assert.equal(op << 2, at + ENVELOPE_BYTES + bodyBytes, 'the ops are as long as the record says');
  const more = ((words[word + ENVELOPE.FLAGS] as number) & FLAG_MORE) !== 0;
  return { callId: words[word + ENVELOPE.CALL] as number, more, ops };
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

interface TestOp {
  readonly id: string;
  readonly mapName: string;
  readonly key: string;
  readonly size: number;
  readonly millis: number;
  readonly isOr: boolean;
}

function wire({ id, mapName, key, size, millis, isOr }: TestOp): object {
  const timestamp = { millis, counter: 3, nodeId: 'node-é' };
  const value = 'v'.repeat(size);
  const base = { id, mapName, key, synced: false, timestamp };
  if (isOr) return { ...base, opType: 'OR_ADD', orRecord: { value, timestamp, tag: `${millis}:3:node-é` } };
  return { ...base, opType: 'PUT', record: { value, timestamp } };
}

const arbitraryOp: fc.Arbitrary<TestOp> = fc.record({
  id: fc.nat(999).map(String),
  mapName: fc.constantFrom('a', 'bb', 'größer', '_topgun_no', 'x:y'),
  key: fc.string({ unit: 'grapheme', maxLength: 8 }),
  size: fc.oneof({ weight: 8, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.nat(90_000) }),
  millis: fc.integer({ min: 1, max: 1e12 }),
  isOr: fc.boolean(),
});

test('every op reaches the owner of its key once, with all it came with, whatever the size of the frame', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.array(arbitraryOp, { maxLength: 30 }), { maxLength: 3 }),
      (workers, frames) => {
        const router = new RouterUnderTest(workers);
        for (const ops of frames) {
          const { routed, slot, details } = router.route(ops.map(wire), true);
          const parts = router.receive();
          const received = parts.flat().flatMap((part) => part.ops);
          const isRefused = ({ mapName }: TestOp): boolean => mapName.startsWith('_') || mapName.includes(':');
          const expected = ops.flatMap((op, ordinal) => {
            if (isRefused(op)) return [];
            const worker = router.table.ownerOf(partitionOf(fnv1a(op.key)));
            const { key, mapName: map, millis } = op;
            const tag = op.isOr ? `${millis}:3:node-é` : '';
            return [{ worker, ordinal, map, key, tag, node: 'node-é', value: 'v'.repeat(op.size), millis, writerListens: true }];
          });
          assert.deepEqual(
            received.toSorted((a, b) => a.ordinal - b.ordinal),
            expected,
          );
          for (const ofWorker of parts) {
            const ordinals = ofWorker.flatMap((part) => part.ops.map(({ ordinal }) => ordinal));
            assert.deepEqual(
              ordinals,
              ordinals.toSorted((a, b) => a - b),
            );
            assert.deepEqual(
              ofWorker.map(({ more }) => more),
              ofWorker.map((_, index) => index < ofWorker.length - 1),
            );
            for (const { callId } of ofWorker) assert.equal(callId, router.calls.callId(slot));
          }
          const targets = [...new Set(expected.map(({ worker }) => worker))].reduce((bits, worker) => bits | (1 << worker), 0);
          assert.equal(routed, targets === 0 ? 'settled' : 'sent');
          assert.equal(router.calls.waiting[slot], targets);
          assert.deepEqual(
            [...(details?.rejected.keys() ?? [])],
            ops.flatMap((op, ordinal) => (isRefused(op) ? [ordinal] : [])),
          );
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('a frame that one worker cannot take is sent to none', () => {
  const router = new RouterUnderTest(2);
  const keys = ['key 0', 'key 1', 'key 2', 'key 3'];
  const ops = keys.map((key, index) => wire({ id: String(index + 1), mapName: 'm', key, size: 1, millis: 1, isOr: false }));
  assert.equal(new Set(keys.map((key) => router.table.ownerOf(partitionOf(fnv1a(key))))).size, 2);
  router.ready[1] = false;
  assert.equal(router.route(ops).routed, 'held');
  assert.equal(router.router.heldFor, 1);
  assert.deepEqual(router.receive(), [[], []]);
  router.ready[1] = true;
  assert.equal(router.route(ops).routed, 'sent');
});

test('a ring that is full holds the frame, and takes it once there is room', () => {
  const router = new RouterUnderTest(1, 1 << 16);
  const op = (id: number): object => wire({ id: String(id), mapName: 'm', key: `k${id}`, size: 20_000, millis: 1, isOr: false });
  const routed = [1, 2, 3, 4].map((id) => router.route([op(id)]).routed);
  assert.deepEqual(routed, ['sent', 'sent', 'sent', 'held']);
  assert.equal(router.receive().flat().length, 3);
  assert.equal(router.route([op(4)]).routed, 'sent');
  assert.deepEqual(
    router
      .receive()
      .flat()
      .flatMap(({ ops }) => ops.map(({ key }) => key)),
    ['k4'],
  );
});

test('ops that break a bound are refused with its code', () => {
  const router = new RouterUnderTest(1);
  const good = {
    id: '1',
    mapName: 'm',
    key: 'k',
    opType: 'PUT',
    record: { value: 1, timestamp: { millis: 1, counter: 0, nodeId: 'n' } },
  };
  const ops = [
    good,
    { ...good, key: 'k'.repeat(2048) },
    { ...good, key: 'k'.repeat(2047) },
    { ...good, record: { value: 1, timestamp: { millis: 1, counter: 0, nodeId: 'n'.repeat(257) } } },
    { ...good, mapName: '__topgun_x' },
    { ...good, mapName: 'a:b' },
    { ...good, record: { value: 1, timestamp: { millis: 1, counter: 0, nodeId: 'a:b' } } },
    { ...good, record: undefined },
  ];
  const { routed, details } = router.route(ops);
  assert.equal(routed, 'sent');
  const codes = [...(details?.rejected ?? [])].map(([ordinal, error]) => [ordinal, ERROR_CODES[error]]);
  assert.deepEqual(codes, [
    [1, 'KEY_TOO_LARGE'],
    [3, 'KEY_TOO_LARGE'],
    [4, 'RESERVED_MAP_NAME'],
    [5, 'INVALID_MAP_NAME'],
    [6, 'INVALID_OPERATION'],
  ]);
  assert.deepEqual(
    router
      .receive()
      .flat()
      .flatMap(({ ops: sent }) => sent.map(({ ordinal }) => ordinal)),
    [0, 2],
  );
});

test('the fixed offset of a clock is added to its LWW stamps, never to tags or stamps of OR-Maps', () => {
  const router = new RouterUnderTest(1);
  router.quarantine.add(utf8('node-é'), -500);
  router.route(
    [1000, 400].flatMap((millis) =>
      [true, false].map((isOr) => wire({ id: '1', mapName: 'm', key: 'k', size: 1, millis, isOr })),
    ),
  );
  const received = router
    .receive()
    .flat()
    .flatMap(({ ops }) => ops.map(({ millis, tag }) => [millis, tag]));
  assert.deepEqual(received, [
    [1000, '1000:3:node-é'],
    [500, ''],
    [400, '400:3:node-é'],
    [0, ''],
  ]);
});

test('ids say what is new, and whether they are numbers that rise by one', () => {
  const { router } = new RouterUnderTest(1);
  const idsOf = (ids: (string | undefined)[], highestSeen = 0) => {
    const ops = ids.map((id) => ({ ...wire({ id: '0', mapName: 'm', key: 'k', size: 1, millis: 7, isOr: false }), id }));
    const frame = encode({ type: 'OP_BATCH', payload: { ops } }).slice();
    const scanner = new Scanner();
    scanner.scan(frame, frame.length);
    const { low, high, dense, cost } = router.ids(scanner.index, highestSeen);
    return [low, high, dense, cost];
  };
  assert.deepEqual(idsOf(['3', '4', '5']), [3, 5, true, 3]);
  assert.deepEqual(idsOf(['3', '4', '5'], 4), [3, 5, true, 1]);
  assert.deepEqual(idsOf(['3', '5']), [3, 5, false, 2]);
  assert.deepEqual(idsOf(['5', '4']), [4, 5, false, 2]);
  assert.deepEqual(idsOf(['7', undefined, '8'], 9), [7, 8, false, 1]);
  assert.deepEqual(idsOf(['x', '007', '1234567890123456']), [0, 0, false, 3]);
  assert.deepEqual(idsOf([]), [0, 0, true, 0]);
});

test('a kernel reads the ids of its rows as the router reads those of the scanner', () => {
  const kernel = loadBatchKernel();
  assert.ok(kernel !== undefined);
  const { router } = new RouterUnderTest(1);
  const id = fc.oneof(
    fc.nat(20).map(String),
    fc.constantFrom('', 'x', '007', '12x', '999999999999999', '1234567890123456'),
    fc.nat().map(String),
  );
  const anyOp = fc.tuple(id, arbitraryOp, fc.nat(50)).map(([text, op, millis]) => ({ ...wire({ ...op, millis }), id: text }));
  fc.assert(
    fc.property(fc.array(anyOp, { maxLength: 6 }), fc.nat(20), (ops, highestSeen) => {
      const frame = encode({ type: 'OP_BATCH', payload: { ops } }).slice();
      const scanner = new Scanner();
      const withKernel = new Scanner(kernel);
      scanner.scan(frame, frame.length);
      withKernel.scan(frame, frame.length);
      const ids = { ...router.ids(scanner.index, highestSeen) };
      assert.deepEqual({ ...router.ids(withKernel.index, highestSeen) }, ids);
    }),
  );
});

test('a plain number has 1 to 15 digits and no leading zero', () => {
  const numberOf = (text: string): number => plainNumber(utf8(text), 0, text.length);
  assert.deepEqual(['1', '90', '999999999999999'].map(numberOf), [1, 90, 999_999_999_999_999]);
  assert.deepEqual(['', '0', '01', '-1', '1.5', '1e3', ' 1', '1000000000000000'].map(numberOf), [0, 0, 0, 0, 0, 0, 0, 0]);
});

test('clocks that are ahead are named once each time, and those that can have no offset are refused', () => {
  const { router, quarantine, session } = new RouterUnderTest(1);
  const stamp = (nodeId: string, millis: number): object => ({
    id: '1',
    mapName: 'm',
    key: 'k',
    opType: 'PUT',
    record: { value: 1, timestamp: { millis, counter: 0, nodeId } },
  });
  const orOp = wire({ id: '1', mapName: 'm', key: 'k', size: 1, millis: 9000, isOr: true });
  const frame = encode({
    type: 'OP_BATCH',
    payload: { ops: [stamp('a', 9000), stamp('b', 10), orOp, stamp('n'.repeat(256), 9000), stamp('a', 9200)] },
  }).slice();
  const scanner = new Scanner();
  scanner.scan(frame, frame.length);
  const wild = () =>
    router.wildClocks(session, scanner.index, 100).map(({ node, millis }) => [new TextDecoder().decode(node), millis]);
  assert.deepEqual(wild(), [
    ['a', 9000],
    ['a', 9200],
  ]);
  quarantine.add(utf8('a'), -9000);
  assert.deepEqual(wild(), []);
  router.refuseWildClocks(session, scanner.index, 100);
  const { words } = scanner.index;
  const invalid = [0, 1, 2, 3, 4].filter((op) => ((words[op * OP_WORDS + OP.FLAGS] as number) & (1 << 4)) !== 0);
  assert.deepEqual(invalid, [3, 4], 'too long a name, and a stamp that is ahead even with the offset of its clock');
});

test('a clock is corrected for the subject that it was ahead for, and for nobody else who writes under its name', () => {
  const under = new RouterUnderTest(1);
  const { router, quarantine, session } = under;
  const subject = (id: string): Principal => ({ id, roles: [], claims: new Map(), expiresSeconds: 0 });
  const millisOf = (principal: Principal | undefined): number | undefined => {
    session.principal = principal;
    under.route([wire({ id: '1', mapName: 'm', key: 'k', size: 1, millis: 50, isOr: false })]);
    return under.receive()[0]?.[0]?.ops[0]?.millis;
  };
  const scanner = new Scanner();
  const frame = encode({
    type: 'OP_BATCH',
    payload: { ops: [wire({ id: '1', mapName: 'm', key: 'k', size: 1, millis: 9000, isOr: false })] },
  }).slice();
  scanner.scan(frame, frame.length);
  session.principal = subject('mallory');
  const [wild] = router.wildClocks(session, scanner.index, 100);
  assert.ok(wild !== undefined);
  assert.equal(nodeOfClock(wild.node), 'node-é');
  quarantine.add(wild.node, -40);
  assert.deepEqual([subject('mallory'), subject('ann'), undefined].map(millisOf), [10, 50, 50]);
});
