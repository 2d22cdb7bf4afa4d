import assert from 'node:assert/strict';
import test from 'node:test';
import { decode } from '../../protocol/codec.ts';
import { NullDataStore } from '../../storage/null-data-store.ts';
import { KIND_LWW, KIND_OR } from '../../storage/record.ts';
import { RecordStore } from '../../storage/record-store.ts';
import { Slab } from '../../storage/slab.ts';
import { utf8 } from '../testing/scanned-ops.ts';
import { MapCatalogue } from './map-catalogue.ts';

function newCatalogue(mapsMax = 10): MapCatalogue {
  const slab = new Slab();
  const dataStore = new NullDataStore();
  return new MapCatalogue((map, kind) => new RecordStore({ map, kind, slab, dataStore, decode }), mapsMax);
}

test('gateways number the same map as they like, and find the same records', () => {
  const maps = newCatalogue();
  const name = utf8('__todos__');
  const first = maps.open(0, 4, name, 2, 7);
  const second = maps.open(1, 9, utf8('todos'), 0, 5);
  assert.ok(first !== undefined);
  assert.equal(second, first);
  assert.deepEqual([maps.byId(0, 4), maps.byId(1, 9), maps.byId(0, 9), maps.byId(2, 4)], [first, first, undefined, undefined]);
  assert.deepEqual([first.idAtGateway[0], first.idAtGateway[1]], [4, 9]);
  assert.equal(maps.find(utf8('todos')), first);
});

test('a name is copied: the ring it came from is written again', () => {
  const maps = newCatalogue();
  const ring = utf8('todos');
  const map = maps.open(0, 1, ring, 0, 5);
  ring.fill(0);
  assert.deepEqual(map?.name, utf8('todos'));
});

test('names are told apart by their bytes, also where their text is the same', () => {
  const maps = newCatalogue();
  const first = maps.openByName(Uint8Array.of(0xff));
  const second = maps.openByName(Uint8Array.of(0xfe));
  assert.notEqual(first, second);
  assert.equal(maps.size, 2);
});

test('there are no more maps than allowed, and known ones stay', () => {
  const maps = newCatalogue(2);
  const known = maps.openByName(utf8('a'));
  maps.openByName(utf8('b'));
  assert.equal(maps.openByName(utf8('c')), undefined);
  assert.equal(maps.open(0, 3, utf8('c'), 0, 1), undefined);
  assert.equal(maps.byId(0, 3), undefined);
  assert.equal(maps.openByName(utf8('a')), known);
  assert.deepEqual(
    [...maps.maps()].map((map) => map.name),
    [utf8('a'), utf8('b')],
  );
});

test('a map has a store per kind, made when it is first used', () => {
  const map = newCatalogue().openByName(utf8('m'));
  assert.ok(map !== undefined);
  assert.deepEqual([map.existing(KIND_LWW), map.existing(KIND_OR), [...map.stores()]], [undefined, undefined, []]);
  const or = map.store(KIND_OR);
  assert.deepEqual([map.existing(KIND_LWW), map.existing(KIND_OR), map.store(KIND_OR)], [undefined, or, or]);
  const lww = map.store(KIND_LWW);
  assert.deepEqual([...map.stores()], [lww, or]);
});

test('after a reset nothing is known', () => {
  const maps = newCatalogue();
  maps.open(0, 1, utf8('m'), 0, 1);
  maps.reset();
  assert.deepEqual([maps.size, maps.byId(0, 1), maps.find(utf8('m'))], [0, undefined, undefined]);
});
