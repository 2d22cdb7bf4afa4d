import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonClosed, reasonLost, reasonUnmeasured, voidBecause } from './void-run.ts';

test('a run is void when one is missing or one too many is there, and when nothing can be counted', () => {
  assert.equal(reasonLost('records', 1000, 1000), undefined);
  assert.equal(reasonLost('records', 1000, 999), 'void: 1000 records sent, 999 there');
  assert.equal(reasonLost('keys', 1000, 1001), 'void: 1000 keys sent, 1001 there');
  assert.equal(reasonLost('keys', 1000, Number.NaN), 'void: 1000 keys sent, NaN there');
});

test('a run in which nothing was acknowledged is void', () => {
  assert.equal(reasonUnmeasured(1), undefined);
  assert.equal(reasonUnmeasured(0), 'void: nothing was acknowledged in the window');
  assert.match(String(reasonUnmeasured(Number.NaN)), /^void/);
});

test('a run is void when one of its connections was closed, and when nobody knows', () => {
  assert.equal(reasonClosed(200, 200), undefined);
  assert.equal(reasonClosed(200, 199), 'void: 200 connections were opened, 199 stayed so');
  assert.match(String(reasonClosed(200, Number.NaN)), /^void/);
});

test('what ended a run early is its reason', () => {
  assert.equal(voidBecause(new Error('closed with 1006')), 'void: closed with 1006');
  assert.equal(voidBecause('closed'), 'void: closed');
});
