/**
 * TinyBase: a row a key with four cells, as the synchronizer's message of changes (3), each cell stamped with the clock of the op.
 *
 * The stamp is TinyBase's own (time, counter, client, spelled by its `encodeHlc`), so it merges by the shuffled clocks.
 */
import { textFrame, upgrade } from '../client-frames.ts';
import type { Step } from '../fan-out/byte-stream.ts';
import { importPeer } from '../peer-packages.ts';
import type { MergeWire } from './merge-wire.ts';
import { batchesOf, type MixedRun, type MixedWrite, newerByClock, winnersOf } from './mixed-writes.ts';

interface TinyBaseCommon {
  getHlcFunctions(
    uniqueId: string,
  ): readonly [next: unknown, seen: unknown, encode: (millis: number, counter: number, client: string) => string];
}

type Stamped = [value: unknown, stamp: string];

const CHANGES = 3;
/** Of a stamp: time and counter. The client follows, as five letters, by which equal clocks are told apart. */
const CLOCK_LETTERS = 11;

export class TinyBaseWire implements MergeWire {
  readonly #room: string;
  readonly #run: MixedRun;
  readonly #stamp: (millis: number, counter: number, client: string) => string;

  private constructor(room: string, run: MixedRun, stamp: (millis: number, counter: number, client: string) => string) {
    this.#room = room;
    this.#run = run;
    this.#stamp = stamp;
  }

  static async open(room: string, run: MixedRun): Promise<TinyBaseWire> {
    const { getHlcFunctions } = await importPeer<TinyBaseCommon>('tinybase/common');
    return new TinyBaseWire(room, run, getHlcFunctions('bench')[2]);
  }

  steps(connection: number): readonly Step[] {
    return [upgrade(`/${this.#room}`, undefined, connection)];
  }

  frames(connection: number): readonly Uint8Array[] {
    return batchesOf(this.#run, connection).map((batch, number) => {
      const rows: Record<string, Stamped> = {};
      for (const write of batch) this.#addRow(rows, write);
      const changes = [[{ w2: [rows, ''] }, ''], [{}, ''], 1];
      const id = `${String(connection).padStart(4, '0')}${String(number).padStart(7, '0')}`;
      return textFrame(`\n${JSON.stringify([id, CHANGES, changes])}`);
    });
  }

  expected(): ReadonlyMap<string, string> {
    return winnersOf(this.#run, newerByClock);
  }

  #addRow(rows: Record<string, Stamped>, { key, value, millis, op, connection }: MixedWrite): void {
    const stamp = this.#stamp(millis, op, '').slice(0, CLOCK_LETTERS) + String(connection).padStart(5, '0');
    const known = rows[key];
    if (known !== undefined && cellStamp(known) > stamp) return;
    rows[key] = [Object.fromEntries(Object.entries(value).map(([cell, content]) => [cell, [content, stamp]])), ''];
  }
}

/** The stamp that all cells of a row have. */
function cellStamp([cells]: Stamped): string {
  const [first] = Object.values(cells as Record<string, Stamped>); // written above
  return first?.[1] ?? '';
}
