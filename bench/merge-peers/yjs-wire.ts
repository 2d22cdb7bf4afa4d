/**
 * Yjs: ten `set`s of a Y.Map in one transaction of the connection's own document, and the update that comes of it.
 *
 * Yjs orders writes by its own logical clocks, not by times that a client says. What must be left says another document that applied
 * the same updates, the last connection first.
 */
import { binaryFrame, upgrade, varUint } from '../client-frames.ts';
import type { Step } from '../fan-out/byte-stream.ts';
import { importPeer } from '../peer-packages.ts';
import type { MergeWire } from './merge-wire.ts';
import { batchesOf, type MixedRun, type MixedValue } from './mixed-writes.ts';

interface YMap {
  set(key: string, value: unknown): void;
  forEach(visit: (value: MixedValue, key: string) => void): void;
}

interface YDoc {
  clientID: number;
  getMap(name: string): YMap;
  transact(body: () => void): void;
  on(name: 'update', listener: (update: Uint8Array) => void): void;
}

interface Yjs {
  Doc: new () => YDoc;
  applyUpdate(doc: YDoc, update: Uint8Array): void;
}

export class YjsWire implements MergeWire {
  readonly #room: string;
  readonly #run: MixedRun;
  readonly #yjs: Yjs;
  readonly #updates: Uint8Array[][] = [];

  private constructor(room: string, run: MixedRun, yjs: Yjs) {
    this.#room = room;
    this.#run = run;
    this.#yjs = yjs;
  }

  static async open(room: string, run: MixedRun): Promise<YjsWire> {
    return new YjsWire(room, run, await importPeer<Yjs>('yjs'));
  }

  steps(connection: number): readonly Step[] {
    return [upgrade(`/${this.#room}`, undefined, connection)];
  }

  frames(connection: number): readonly Uint8Array[] {
    const doc = new this.#yjs.Doc();
    doc.clientID = connection + 1;
    const updates: Uint8Array[] = [];
    doc.on('update', (update) => updates.push(update));
    const map = doc.getMap('w2');
    for (const batch of batchesOf(this.#run, connection))
      doc.transact(() => {
        for (const { key, value } of batch) map.set(key, value);
      });
    this.#updates.push(updates);
    return updates.map((update) => binaryFrame(Buffer.concat([Uint8Array.from([0, 2, ...varUint(update.length)]), update])));
  }

  expected(): ReadonlyMap<string, string> {
    const replica = new this.#yjs.Doc();
    for (const updates of [...this.#updates].reverse()) for (const update of updates) this.#yjs.applyUpdate(replica, update);
    const titles = new Map<string, string>();
    replica.getMap('w2').forEach(({ title }, key) => {
      titles.set(key, title);
    });
    return titles;
  }
}
