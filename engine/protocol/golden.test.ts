/** The golden messages of the protocol (docs/PROTOCOL.md §15): every one is decoded, scanned and, where a client sends it, parsed. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decode, encode } from './codec.ts';
import { parseMessage } from './messages.ts';
import { MESSAGE_TYPES } from './message-types.ts';
import { OP, OP_PUT, OP_WORDS } from './op-index.ts';
import { SCAN_CLIENT_OP, SCAN_OP_BATCH, SCAN_OTHER, SCAN_PING, Scanner } from './scanner.ts';

/** The folder of the sources: compiled tests run in dist/, where the fixtures are not. */
function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    assert.notEqual(folder, dirname(folder), 'no package.json in any folder above this test');
    folder = dirname(folder);
  }
  return folder;
}

const folder = join(projectRoot(), 'engine', 'protocol', 'fixtures');
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.msgpack'))
  .map((file) => file.slice(0, -'.msgpack'.length));

function bytesOf(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(folder, `${name}.msgpack`)));
}

function jsonOf(name: string): unknown {
  return JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
}

/** As JSON has it: Buffers as their JSON form. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, part: unknown) => (part instanceof Uint8Array ? { type: 'Buffer', data: [...part] } : part)),
  );
}

test('all 63 golden messages are there', () => {
  assert.equal(names.length, 63);
});

for (const name of names) {
  test(`${name} decodes to its JSON, and survives encoding`, () => {
    const decoded = decode(bytesOf(name));
    assert.deepEqual(plain(decoded), jsonOf(name));
    assert.deepEqual(decode(encode(decoded)), decoded);
  });
}

test('the scanner knows the three types that it reads, and leaves the others to be decoded', () => {
  const scanner = new Scanner();
  const own: Record<string, number> = { OP_BATCH: SCAN_OP_BATCH, CLIENT_OP: SCAN_CLIENT_OP, PING: SCAN_PING };
  for (const name of names) {
    const bytes = bytesOf(name);
    assert.equal(scanner.scan(bytes, bytes.length), own[name] ?? SCAN_OTHER, name);
  }
});

test('the golden OP_BATCH and CLIENT_OP give the rows that their JSON says', () => {
  const scanner = new Scanner();
  const batch = bytesOf('OP_BATCH');
  scanner.scan(batch, batch.length);
  const { words, floats, count } = scanner.index;
  assert.deepEqual([count, scanner.timeoutMs], [2, 5000]);
  assert.deepEqual([words[OP.FLAGS], floats[OP.MILLIS_F64], words[OP.COUNTER]], [OP_PUT, 1_700_000_000_000, 1]);
  assert.deepEqual([words[OP_WORDS + OP.ORDINAL], floats[OP_WORDS / 2 + OP.MILLIS_F64]], [1, 1_700_000_000_001]);
  const one = bytesOf('CLIENT_OP');
  scanner.scan(one, one.length);
  assert.deepEqual([scanner.index.count, scanner.index.floats[OP.TTL_MS_F64]], [1, 60_000]);
});

test('every golden message that a client sends is parsed, and no other', () => {
  const incoming = new Set(
    Object.values(MESSAGE_TYPES).flatMap((types) =>
      Object.entries(types)
        .filter(([, way]) => way === 'in' || way === 'both')
        .map(([type]) => type),
    ),
  );
  for (const name of names) {
    const decoded = decode(bytesOf(name)) as { type?: string };
    const isRead = decoded.type === 'OP_BATCH' || decoded.type === 'CLIENT_OP'; // by the scanner instead
    assert.equal(parseMessage(decoded)?.type, incoming.has(decoded.type ?? '') && !isRead ? decoded.type : undefined, name);
  }
});
