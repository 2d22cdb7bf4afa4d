/**
 * Runs commands one after another over the records of a worker and writes their replies: single-threaded, so that each is atomic.
 *
 * A command that fails half-way has written nothing (command.ts): its reply is replaced by the error.
 */
import { GridError } from '../../protocol/errors.ts';
import { RespCommand } from '../../protocol/resp-parser.ts';
import { RespWriter } from '../../protocol/resp-writer.ts';
import { type Call, type CommandSpec, DATABASES, KvError } from './command.ts';
import { databaseName, HashNames } from './hash-names.ts';
import { RecordSpace, type SpaceContext } from './record-space.ts';
import { replyOf } from './refused-reply.ts';
import type { WholeSpace } from './space.ts';

export interface KvRunnerOptions extends Omit<SpaceContext, 'names' | 'nowMs'> {
  readonly random: () => number;
}

/** Spaces kept for maps as hashes. */
const HASHES_KEPT_MAX = 1000;

const latin1 = new TextDecoder('latin1');

export class KvRunner implements Call {
  readonly args = new RespCommand();
  name = '';
  readonly out = new RespWriter();
  db = 0;
  space: RecordSpace;
  readonly random: () => number;
  readonly #context: SpaceContext;
  readonly #databases: RecordSpace[] = [];
  readonly #hashes = new Map<string, RecordSpace>();

  constructor(options: KvRunnerOptions) {
    this.random = options.random;
    this.#context = { ...options, names: new HashNames(options.maps), nowMs: 0 };
    for (let db = 0; db < DATABASES; db++) this.#databases.push(new RecordSpace(this.#context, databaseName(db), true));
    this.space = this.spaceOf(0);
  }

  get nowMs(): number {
    return this.#context.nowMs;
  }

  set nowMs(nowMs: number) {
    this.#context.nowMs = nowMs;
  }

  /** Throws ValueAway when a value of a key or field of the command was dropped from memory. */
  assertHere(spec: CommandSpec, db: number): void {
    const { args } = this;
    const visit = ([first, last, step]: CommandSpec['keys'], space: RecordSpace): void => {
      const end = last < 0 ? args.count + last : last;
      for (let index = first; first > 0 && index <= end && index < args.count; index += step)
        space.assertHere(args.argument(index));
    };
    visit(spec.keys, this.spaceOf(db));
    if (spec.fields !== undefined && args.count > 1) visit(spec.fields, this.hash(args.argument(1)));
  }

  /** Runs the command that `args` hold and appends one reply. Throws ValueAway when a value must be read back first. */
  run(spec: CommandSpec, db: number, isResp3: boolean): void {
    const { out } = this;
    const start = out.length;
    out.isResp3 = isResp3;
    this.name = spec.name;
    this.db = db;
    this.space = this.spaceOf(db);
    try {
      if (spec.run === undefined) throw new KvError(`ERR unknown command '${spec.name}'`);
      spec.run(this);
    } catch (error) {
      out.length = start;
      if (error instanceof KvError) out.error(error.message);
      else if (error instanceof GridError) out.error(replyOf(error));
      else throw error;
    }
  }

  spaceOf(db: number): RecordSpace {
    const space = this.#databases[db];
    if (space === undefined) throw new KvError('ERR DB index is out of range');
    return space;
  }

  whole(db: number): WholeSpace {
    return this.spaceOf(db);
  }

  hash(name: Uint8Array): RecordSpace {
    const text = latin1.decode(name);
    const known = this.#hashes.get(text);
    if (known !== undefined) return known;
    if (this.#hashes.size >= HASHES_KEPT_MAX) this.#hashes.clear();
    const space = new RecordSpace(this.#context, name.slice(), false);
    this.#hashes.set(text, space);
    return space;
  }

  versionOf(key: Uint8Array): string {
    return this.space.version(key);
  }

  hashNames(): Uint8Array[] {
    return this.#context.names.live();
  }
}
