import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { clientFrameHeader } from '../write-frames.ts';
import { expectedState } from '../merge-oracle.ts';
import type { MixName } from '../op-mix.ts';
import { type MergePeerPlan, type MergePeerReport, reasonDiffers, reasonUnmeasured, runMergePeer } from './merge-peer-load.ts';
import { mergePeerFigures } from './merge-peers.bench.ts';
import { batchesOf, type MixedRun, type MixedWrite, newerByClock, newerByState, winnersOf } from './mixed-writes.ts';
import { PongCounter } from './pong-counter.ts';

test('pongs are counted and everything else is stepped over, wherever reads cut the frames', () => {
  const frame = fc.record({ opcode: fc.constantFrom(1, 2, 9, 10), bytes: fc.constantFrom(0, 5, 125, 126, 300, 65_535, 70_000) });
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }),
      (frames, sizes) => {
        const bytes = Buffer.concat(frames.map(({ opcode, bytes: size }) => serverFrame(opcode, size)));
        const counter = new PongCounter();
        for (let at = 0, read = 0; at < bytes.length; read++) {
          const size = sizes[read % sizes.length] as number;
          counter.take(bytes.subarray(at, at + size));
          at += size;
        }
        assert.equal(counter.pongs, frames.filter(({ opcode }) => opcode === 10).length);
        assert.equal(counter.pings, frames.filter(({ opcode }) => opcode === 9).length);
        assert.equal(counter.isClosed, false);
      },
    ),
    { numRuns: 60 },
  );
  const closed = new PongCounter();
  closed.take(serverFrame(8, 2));
  assert.equal(closed.isClosed, true);
});

function serverFrame(opcode: number, payloadBytes: number): Buffer {
  const header = Buffer.from(clientFrameHeader(payloadBytes));
  const unmasked = header.subarray(0, header.length - 4);
  unmasked[0] = 0x80 | opcode;
  unmasked[1] = (unmasked[1] as number) & 0x7f;
  return Buffer.concat([unmasked, Buffer.alloc(payloadBytes, 0x8a)]);
}

test('peers are sent the ops that the product is, and the same ones win', () => {
  for (const mix of ['hot', 'unique'] satisfies MixName[]) {
    const run: MixedRun = { mix, connections: 4, batchesPerConnection: 30, beforeMillis: 1_700_000_000_000 };
    const expected = expectedState(mix, 'w2-', run.beforeMillis, [300, 300, 300, 300]);
    const winners = winnersOf(run, newerByClock);
    assert.equal(winners.size, expected.records);
    for (const [key, op] of expected.winners) assert.equal(winners.get(key), `item ${String(op).padStart(6, '0')}`);
  }
});

test('which write wins does not depend on the order, and equal states are told apart by their texts', () => {
  const [first = [], second = []] = [0, 1].map((connection) => batchesOf(runOf({}), connection).flat());
  for (const newer of [newerByClock, newerByState])
    for (const [index, write] of first.entries()) {
      const other = second[index] as MixedWrite;
      assert.ok(!(newer(write, other) && newer(other, write)));
    }
  const [write] = first as [MixedWrite];
  const later = { ...write, value: { ...write.value, title: 'item 999999' } };
  assert.equal(newerByState(later, write), true);
  assert.equal(newerByState(write, later), false);
});

test('a run is void when a key is missing, has another value, or is one too many', () => {
  const expected = new Map([
    ['a', 'item 1'],
    ['b', 'item 2'],
  ]);
  assert.equal(reasonDiffers(new Map(expected), expected), undefined);
  assert.match(String(reasonDiffers(new Map([['a', 'item 1']]), expected)), /^void: 1 of 2 keys are wrong: b has undefined/);
  assert.match(String(reasonDiffers(new Map([...expected, ['a', 'item 3']]), expected)), /a has item 3, not item 1/);
  assert.equal(reasonDiffers(new Map([...expected, ['c', 'item 3']]), expected), 'void: 3 keys, not 2');
});

test('a run against a peer that merges everything is valid', async () => {
  for (const mix of ['hot', 'unique'] satisfies MixName[]) {
    const report = await runAgainst({ mix }, {});
    assert.equal(report.reason, undefined);
    assert.equal(report.ops, 5 * 20 * 10);
    assert.ok(report.windowMs > 0);
  }
});

test('a run is void when the peer loses one message, and when it loses all', async () => {
  const one = await runAgainst({ mix: 'unique' }, { loses: (message) => message === 37 });
  assert.match(String(one.reason), /^void: 10 of 1000 keys are wrong: .* has undefined/);
  const all = await runAgainst({ mix: 'hot' }, { loses: () => true });
  assert.match(String(all.reason), /^void: \d+ of \d+ keys are wrong/);
});

test('a run is void when the peer takes longer than it may, and fails when it closes a connection', async () => {
  const fitsTheWindow = { mix: 'unique', batchesPerConnection: 3 } as const; // so all is sent, and merged
  const slow = await runAgainst(fitsTheWindow, { answersNoPing: true });
  assert.equal(slow.reason, 'void: 5 connections were not done in time');
  await assert.rejects(runAgainst({ mix: 'unique' }, { closesAt: 20 }), /a connection was closed/);
});

test('a run is void when one connection was late, and when nothing changed', async () => {
  assert.equal(reasonUnmeasured(0, 1), undefined);
  assert.equal(reasonUnmeasured(1, 1), 'void: 1 connections were not done in time');
  assert.equal(reasonUnmeasured(0, 0), 'void: nothing changed');
  assert.equal(reasonUnmeasured(0, Number.NaN), 'void: nothing changed');
  const empty = await runAgainst({ mix: 'unique', batchesPerConnection: 0 }, {});
  assert.equal(empty.reason, 'void: nothing changed');
});

test('figures are of ops, by time and by CPU of the server', () => {
  const report = { reason: undefined, ops: 1000, windowMs: 500, serverCpuMs: 250, serverRssBytes: 2e6, generatorCpuMs: 100 };
  assert.deepEqual(mergePeerFigures(report), {
    opsPerSecond: 2000,
    opsPerCpuSecond: 4000,
    serverCores: 0.5,
    rssMb: 2,
    generatorCores: 0.2,
    ops: 1000,
  });
});

function runOf(of: Partial<MixedRun>): MixedRun {
  return { mix: 'hot', connections: 5, batchesPerConnection: 20, beforeMillis: 1_700_000_000_000, ...of };
}

interface Faults {
  /** By the number of the message, in the order in which they come. */
  readonly loses?: (message: number) => boolean;
  readonly answersNoPing?: boolean;
  readonly closesAt?: number;
}

async function runAgainst(of: Partial<MixedRun>, faults: Faults): Promise<MergePeerReport> {
  const peer = new FaultyGun(faults);
  const plan: MergePeerPlan = {
    ...runOf(of),
    peer: 'gun',
    room: 'r',
    port: await peer.listen(),
    serverPid: process.pid,
    window: 4,
    settleMs: 0,
    deadlineMs: faults.answersNoPing === true ? 300 : 10_000,
  };
  try {
    return await runMergePeer(plan);
  } finally {
    peer.close();
  }
}

interface GunNode {
  readonly _: { readonly '>': Readonly<Record<string, number>> };
  readonly title: string;
}

/** Just enough of GUN: merges titles by state, and has one fault. */
class FaultyGun {
  readonly #faults: Faults;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();
  readonly #titles = new Map<string, { readonly title: string; readonly state: number }>();
  #messages = 0;
  #changedMs = 0;

  constructor(faults: Faults) {
    this.#faults = faults;
    this.#server = createServer((request, response) => response.end(JSON.stringify(this.#answer(request.url ?? ''))));
    this.#server.on('upgrade', (_, socket: Duplex) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
      let rest: Buffer = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => {
        rest = this.#takeFrames(socket, Buffer.concat([rest, chunk]));
      });
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #answer(url: string): unknown {
    if (url.startsWith('/open')) return 'r';
    if (url.startsWith('/changed')) return this.#changedMs;
    return [...this.#titles].map(([soul, { title }]) => [soul.slice('r/'.length), title]);
  }

  #takeFrames(socket: Duplex, bytes: Buffer): Buffer {
    let at = 0;
    for (;;) {
      if (bytes.length < at + 4) return bytes.subarray(at);
      const length = (bytes[at + 1] as number) & 0x7f;
      const headerBytes = length === 126 ? 8 : 6;
      const payloadBytes = length === 126 ? bytes.readUInt16BE(at + 2) : length;
      const end = at + headerBytes + payloadBytes;
      if (bytes.length < end) return bytes.subarray(at);
      const isPing = ((bytes[at] as number) & 0x0f) === 9;
      if (!isPing) this.#message(socket, bytes.subarray(at + headerBytes, end).toString());
      else if (this.#faults.answersNoPing !== true) socket.write(Uint8Array.of(0x8a, 0));
      at = end;
    }
  }

  #message(socket: Duplex, text: string): void {
    const message = this.#messages++;
    if (message === this.#faults.closesAt) socket.destroy();
    if (this.#faults.loses?.(message) === true) return;
    const { put } = JSON.parse(text) as { put: Record<string, GunNode> }; // as gun-wire.ts writes it
    for (const [soul, { _: meta, title }] of Object.entries(put)) {
      const state = meta['>'].title ?? 0;
      const known = this.#titles.get(soul);
      if (known !== undefined && (known.state > state || (known.state === state && known.title >= title))) continue;
      this.#titles.set(soul, { title, state });
    }
    this.#changedMs = performance.timeOrigin + performance.now();
  }
}
