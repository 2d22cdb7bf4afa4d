import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../engine/domains/testing/scanned-ops.ts';
import { MapNames } from './map-names.ts';

function idOf(names: MapNames, name: string): number {
  const bytes = utf8(`[[${name}]]`);
  return names.idOf(bytes, 2, bytes.length - 4);
}

test('a name has one number, found again wherever its bytes stand, and its bytes are kept', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }).filter((name) => !name.includes(':')),
        { maxLength: 30 },
      ),
      (list) => {
        const names = new MapNames(100);
        const ids = new Map<string, number>();
        for (const name of [...list, ...list]) {
          const id = idOf(names, name);
          assert.equal(id, ids.get(name) ?? id);
          ids.set(name, id);
          assert.deepEqual(names.bytesOf(id), utf8(name));
          assert.equal(names.errorOf(id), undefined);
        }
        assert.equal(new Set(ids.values()).size, ids.size);
      },
    ),
  );
});

test('empty names, names with a colon, too long ones, reserved ones and no UTF-8 are refused', () => {
  const names = new MapNames(100);
  const refusals = { '': 'INVALID_MAP_NAME', 'a:b': 'INVALID_MAP_NAME', [`${'x'.repeat(513)}`]: 'INVALID_MAP_NAME' };
  for (const [name, error] of Object.entries(refusals)) assert.equal(names.errorOf(idOf(names, name)), error, name);
  for (const name of ['_topgun_x', '__TopGun_', '_LATTICE_meta'])
    assert.equal(names.errorOf(idOf(names, name)), 'RESERVED_MAP_NAME');
  const wrong = Uint8Array.of(0xff, 0xfe);
  assert.equal(names.errorOf(names.idOf(wrong, 0, 2)), 'INVALID_MAP_NAME');
  for (const name of ['topgun', '_topgu', 'x_topgun_', 'x'.repeat(512)])
    assert.equal(names.errorOf(idOf(names, name)), undefined, name);
});

test('there is an end to names, which refused ones do not bring nearer', () => {
  const names = new MapNames(2);
  for (let index = 0; index < 10; index++) idOf(names, `bad:${index}`);
  const [first, second] = [idOf(names, 'a'), idOf(names, 'b')];
  assert.deepEqual([idOf(names, 'c'), names.errorOf(0)], [0, 'TOO_MANY_MAPS']);
  assert.deepEqual([idOf(names, 'a'), idOf(names, 'b')], [first, second]);
});
