import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AssertionError } from '../assert.ts';
import {
  ClockQuarantine,
  QUARANTINE_NODE_BYTES_MAX,
  QUARANTINE_OWNER_BYTES_MAX,
  quarantineOffsetMs,
} from './clock-quarantine.ts';

const encoder = new TextEncoder();

function offsetOf(quarantine: ClockQuarantine, nodeId: Uint8Array): number {
  const buffer = new Uint8Array(nodeId.length + 5).fill(1);
  buffer.set(nodeId, 2);
  return quarantine.offsetOf(buffer, 2, 2 + nodeId.length);
}

test('a trusted clock has offset 0', () => {
  const quarantine = new ClockQuarantine();
  assert.equal(quarantine.isEmpty, true);
  assert.equal(offsetOf(quarantine, encoder.encode('a')), 0);
  quarantine.add(encoder.encode('b'), -5);
  assert.equal(quarantine.isEmpty, false);
  assert.equal(offsetOf(quarantine, encoder.encode('a')), 0);
  assert.equal(offsetOf(quarantine, encoder.encode('')), 0);
});

test('the first offset of a node stays', () => {
  const quarantine = new ClockQuarantine();
  assert.equal(quarantine.add(encoder.encode('node-a'), -100), 'added');
  assert.equal(quarantine.add(encoder.encode('node-a'), -200), 'known');
  assert.equal(offsetOf(quarantine, encoder.encode('node-a')), -100);
  assert.equal(quarantine.nodes, 1);
});

test('the caller may reuse the bytes of a node id', () => {
  const quarantine = new ClockQuarantine();
  const bytes = encoder.encode('node-a');
  quarantine.add(bytes, -1);
  bytes.fill(0);
  quarantine.entries()[0]?.nodeId.fill(0);
  assert.equal(offsetOf(quarantine, encoder.encode('node-a')), -1);
});

test('any set of nodes is found again, also after it was persisted', () => {
  const nodes = fc.array(fc.tuple(fc.uint8Array({ maxLength: 3 }), fc.integer({ min: -1e12, max: -1 })), { maxLength: 200 });
  fc.assert(
    fc.property(nodes, fc.uint8Array({ maxLength: 3 }), (list, other) => {
      const quarantine = new ClockQuarantine(256);
      const expected = new Map<string, number>();
      for (const [nodeId, offsetMs] of list) {
        const name = String(nodeId);
        assert.equal(quarantine.add(nodeId, offsetMs), expected.has(name) ? 'known' : 'added');
        if (!expected.has(name)) expected.set(name, offsetMs);
      }
      const restored = new ClockQuarantine(256);
      for (const { nodeId, offsetMs } of quarantine.entries()) assert.equal(restored.add(nodeId, offsetMs), 'added');
      for (const copy of [quarantine, restored]) {
        assert.equal(copy.nodes, expected.size);
        for (const [nodeId] of list) assert.equal(offsetOf(copy, nodeId), expected.get(String(nodeId)));
        assert.equal(offsetOf(copy, other), expected.get(String(other)) ?? 0);
      }
    }),
  );
});

test('a clock with an owner is that of no other owner, and of nobody', () => {
  const quarantine = new ClockQuarantine();
  const [node, ann, bob] = ['node-a', '\0ann', '\0bob'].map((text) => encoder.encode(text)) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  quarantine.add(encoder.encode('node-a\0ann'), -5);
  const offsets = [ann, bob, undefined].map((owner) => quarantine.offsetOf(node, 0, node.length, owner));
  assert.deepEqual(offsets, [-5, 0, 0]);
});

test('a full quarantine refuses new nodes and keeps the known ones', () => {
  const quarantine = new ClockQuarantine(2);
  quarantine.add(encoder.encode('a'), -1);
  quarantine.add(encoder.encode('b'), -2);
  assert.equal(quarantine.add(encoder.encode('c'), -3), 'full');
  assert.equal(quarantine.add(encoder.encode('a'), -4), 'known');
  assert.equal(offsetOf(quarantine, encoder.encode('c')), 0);
  assert.equal(offsetOf(quarantine, encoder.encode('b')), -2);
  assert.equal(new ClockQuarantine().add(new Uint8Array(QUARANTINE_NODE_BYTES_MAX + QUARANTINE_OWNER_BYTES_MAX + 1), -1), 'full');
});

test('the offset brings a stamp to the present and keeps the order of a node', () => {
  assert.equal(quarantineOffsetMs(1_000_000, 400_000), -600_000);
  fc.assert(
    fc.property(fc.nat(1e9), fc.double({ min: 1, max: 1e12, noNaN: true }), fc.nat(1e6), (nowMs, aheadMs, laterMs) => {
      const stampMs = nowMs + aheadMs;
      const offsetMs = quarantineOffsetMs(stampMs, nowMs);
      assert.ok(Number.isInteger(offsetMs) && offsetMs < 0);
      assert.ok(stampMs + offsetMs <= nowMs + 1e-3);
      assert.ok(stampMs + offsetMs > nowMs - 1.001);
      assert.equal(quarantineOffsetMs(stampMs, nowMs), offsetMs);
      assert.ok(stampMs + laterMs + offsetMs >= stampMs + offsetMs);
    }),
  );
});

test('an offset for a clock that is not ahead is a mistake of the caller', () => {
  assert.throws(() => quarantineOffsetMs(5, 5), AssertionError);
  assert.throws(() => new ClockQuarantine().add(encoder.encode('a'), 0), AssertionError);
  assert.throws(() => new ClockQuarantine().add(encoder.encode('a'), Number.NaN), AssertionError);
});
