/** A worker's commands over records in memory, without rings: a line of words in, the text of the reply out. */
import { assert } from '../../assert.ts';
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { RespParser } from '../../protocol/resp-parser.ts';
import { dropValue, fillValue } from '../../storage/evicted-value.ts';
import { NullDataStore } from '../../storage/null-data-store.ts';
import { KIND_LWW, RecordImage } from '../../storage/record.ts';
import { RecordStore } from '../../storage/record-store.ts';
import { Slab } from '../../storage/slab.ts';
import { imageOf, storedRecord } from '../../storage/stored-record.ts';
import { ChangeEvents } from '../crdt/change-events.ts';
import { MapCatalogue } from '../crdt/map-catalogue.ts';
import { WORKER_COMMANDS } from '../kv/commands.ts';
import { KvRunner } from '../kv/kv-runner.ts';

export class KvUnderTest {
  readonly maps: MapCatalogue;
  readonly runner: KvRunner;
  nowMs = 1_700_000_000_000;
  db = 0;
  /** An error number while writes are refused. */
  refusal = -1;
  /** Told of how many bytes a write asked for. */
  onRefusal: (bytes: number) => void = () => {};
  readonly #parser = new RespParser({ argumentsMax: 100_000, bulkBytesMax: 8 << 20, commandBytesMax: 16 << 20 });

  constructor() {
    const slab = new Slab();
    this.maps = new MapCatalogue((map, kind) => new RecordStore({ map, kind, slab, dataStore: new NullDataStore() }), 100);
    this.runner = new KvRunner({
      maps: this.maps,
      changes: new ChangeEvents(1, { broadcastSessions: () => 0 }),
      nodeId: new TextEncoder().encode('server-1'),
      refusal: (_, bytes) => {
        this.onRefusal(bytes);
        return this.refusal;
      },
      catchUp: () => {},
      nextPartition: () => -1,
      random: () => 0.5,
    });
  }

  /** Drops the value of a string of database 0, or of a field of a map, from memory; what it answers with puts it back. */
  dropValue(key: string, mapName = 'db0'): () => boolean {
    const map = this.maps.openByName(encoder.encode(mapName));
    assert(map !== undefined, 'a map');
    const store = map.store(KIND_LWW);
    const image = new RecordImage();
    image.source = encoder.encode(key);
    image.keyBytes = image.source.length;
    image.keyHash = fnv1aUtf8(image.source, 0, image.keyBytes);
    const ref = store.find(image);
    assert(ref !== 0, `no key ${key}`);
    store.read(ref, image);
    const record = storedRecord(KIND_LWW, map.name, image);
    dropValue(store, ref);
    return () => fillValue(store, imageOf(record));
  }

  /** The reply, `\r\n` and all, to words or bytes. */
  run(...words: readonly (string | number | Uint8Array)[]): string {
    const parts = words.map((word) => (typeof word === 'object' ? word : encoder.encode(String(word))));
    const head = (text: string): Uint8Array => encoder.encode(text);
    const chunks = [head(`*${parts.length}\r\n`), ...parts.flatMap((part) => [head(`$${part.length}\r\n`), part, head('\r\n')])];
    this.#parser.feed(joined(chunks));
    assert(this.#parser.next() === 1, 'a whole command');
    const { command } = this.#parser;
    const { args, out } = this.runner;
    args.clear(command.bytes);
    for (let index = 0; index < command.count; index++)
      args.add(command.starts[index] as number, command.lengths[index] as number);
    const spec = WORKER_COMMANDS.find(({ name }) => name === String(words[0]).toLowerCase());
    assert(spec !== undefined, `no command ${String(words[0])}`);
    out.reset();
    this.runner.nowMs = this.nowMs;
    this.runner.run(spec, this.db, false);
    return latin1.decode(out.bytes.subarray(0, out.length));
  }
}

const encoder = new TextEncoder();
const latin1 = new TextDecoder('latin1');

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
