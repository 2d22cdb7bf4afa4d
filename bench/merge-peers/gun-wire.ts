/** GUN: a node a key, four fields with a state each. The state is the clock of the op, so the relay's merge (HAM) has the shuffled clocks. */
import { textFrame, upgrade } from '../client-frames.ts';
import type { Step } from '../fan-out/byte-stream.ts';
import type { MergeWire } from './merge-wire.ts';
import { batchesOf, type MixedRun, type MixedWrite, newerByState, winnersOf } from './mixed-writes.ts';

export class GunWire implements MergeWire {
  readonly #room: string;
  readonly #run: MixedRun;

  constructor(room: string, run: MixedRun) {
    this.#room = room;
    this.#run = run;
  }

  steps(connection: number): readonly Step[] {
    return [upgrade('/gun', undefined, connection)];
  }

  frames(connection: number): readonly Uint8Array[] {
    return batchesOf(this.#run, connection).map((batch, number) => {
      const put = Object.fromEntries(newestOfEach(batch).map((write) => this.#node(write)));
      // GUN puts digits behind the id of a message to name its parts: ends with a letter, so that no part has the id of another message.
      return textFrame(JSON.stringify({ '#': `${this.#room}-${connection}-${number}x`, put }));
    });
  }

  expected(): ReadonlyMap<string, string> {
    return winnersOf(this.#run, newerByState);
  }

  #node({ key, value, millis }: MixedWrite): [string, object] {
    const soul = `${this.#room}/${key}`;
    const states = Object.fromEntries(Object.keys(value).map((field) => [field, millis]));
    return [soul, { _: { '#': soul, '>': states }, ...value }];
  }
}

/** A message names a node once: where a batch writes a key twice, its client would have merged the two. */
function newestOfEach(batch: readonly MixedWrite[]): MixedWrite[] {
  const newest = new Map<string, MixedWrite>();
  for (const write of batch) {
    const known = newest.get(write.key);
    if (known === undefined || newerByState(write, known)) newest.set(write.key, write);
  }
  return [...newest.values()];
}
