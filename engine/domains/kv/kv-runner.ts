/**
 * Runs commands one after another over the records of a worker and writes their replies: single-threaded, so that each is atomic.
 *
 * A command that fails half-way has written nothing (command.ts): its reply is replaced by the error.
 */
import { PARTITION_COUNT } from '../../partition/hash.ts';
import { GridError } from '../../protocol/errors.ts';
import { RespCommand } from '../../protocol/resp-parser.ts';
import { ReplyTooLarge, RespWriter } from '../../protocol/resp-writer.ts';
import { type Call, type CommandSpec, DATABASES, forEachKey, KvError } from './command.ts';
import { BodyPool } from './body-pool.ts';
import { CommandBatchReader, packReplies } from './command-batch.ts';
import { commandAt } from './commands.ts';
import { databaseName, HashNames, isDatabaseName } from './hash-names.ts';
import { HASH_VERSION } from './internal-commands.ts';
import { RecordSpace, type SpaceContext, TOO_MANY_MAPS } from './record-space.ts';
import { replyOf, replyOfNumber } from './refused-reply.ts';
import { IDENTITY_BYTES_MAX, ValueAway } from './space.ts';
import { type Touched, touchedBy } from './touched-keys.ts';
import { runChange, type WholeChange } from './whole-changes.ts';

export interface KvRunnerOptions extends Omit<SpaceContext, 'names' | 'nowMs' | 'commands' | 'isDecided' | 'only'> {
  readonly random: () => number;
  /** Called between the partitions of a change of whole databases, which may last: the thread is alive. */
  readonly beat?: (() => void) | undefined;
}

/** Spaces kept for maps as hashes. */
const HASHES_KEPT_MAX = 1000;
/** Commands that read values of a hash without naming its fields. */
const READS_HASH = new Set(['hgetall', 'hvals', 'hscan']);
/** Of these, those that do not read all of it. */
const READS_PAGE = new Set(['hscan']);
/** A key that is the name of a map is removed with the map. */
const EMPTYING = new Set(['del', 'unlink']);

const ALL_PARTITIONS = Array.from({ length: PARTITION_COUNT }, (_, partition) => partition);
const latin1 = new TextDecoder('latin1');
export const TOO_MUCH = 'ERR the replies to what was sent in one go are too large: read some, then send the rest';

export class KvRunner implements Call {
  readonly args = new RespCommand();
  name = '';
  readonly out = new RespWriter();
  db = 0;
  space: RecordSpace;
  readonly random: () => number;
  readonly #beat: (() => void) | undefined;
  readonly #context: SpaceContext;
  readonly #pool = new BodyPool();
  readonly #databases: RecordSpace[] = [];
  readonly #hashes = new Map<string, RecordSpace>();
  /** For every name that is too long for a map: nothing is there, and nothing may be. */
  readonly #nowhere: RecordSpace;

  constructor(options: KvRunnerOptions) {
    this.random = options.random;
    this.#beat = options.beat;
    this.#context = { ...options, names: new HashNames(options.maps), nowMs: 0, commands: 0, isDecided: false, only: -1 };
    for (let db = 0; db < DATABASES; db++) this.#databases.push(new RecordSpace(this.#context, databaseName(db), true));
    this.#nowhere = new RecordSpace(this.#context, new Uint8Array(IDENTITY_BYTES_MAX + 1), false);
    this.space = this.spaceOf(0);
  }

  get nowMs(): number {
    return this.#context.nowMs;
  }

  set nowMs(nowMs: number) {
    this.#context.nowMs = nowMs;
  }

  /** Throws ValueAway, with as many as are read back together, when values of keys or fields of the command were dropped from memory. */
  assertHere(spec: CommandSpec, db: number): void {
    const { args } = this;
    const visit = (keys: CommandSpec['keys'], space: RecordSpace): void => {
      const named: Uint8Array[] = [];
      forEachKey(keys, args.count, (index) => named.push(args.argument(index)));
      space.assertHere(named);
    };
    visit(spec.keys, this.spaceOf(db));
    if (spec.fields !== undefined && args.count > 1) visit(spec.fields, this.hash(args.argument(1)));
    if (READS_HASH.has(spec.name) && args.count > 1) this.hash(args.argument(1)).whole.assertHere();
    if (spec.name === 'swapdb') for (const database of this.#databases) database.whole.assertHere();
  }

  /** What the command that `args` hold touches. To remove a map is to touch everything. */
  touched(spec: CommandSpec, db: number): Touched {
    const touched = touchedBy(spec, this.args, db);
    if (!EMPTYING.has(spec.name)) return touched;
    const space = this.spaceOf(db);
    return touched.keys.some(({ key }) => space.isHash(key)) ? { ...touched, isEverything: true } : touched;
  }

  /** Runs all commands of a batch, which only read, and answers with its body of replies; undefined when it is too large. Throws ValueAway. */
  runAll(body: Uint8Array, bytesMax: number): Uint8Array | undefined {
    this.out.reset();
    this.out.bytesMax = bytesMax;
    const reader = new CommandBatchReader(body);
    const lengths: number[] = [];
    while (lengths.length < reader.count) {
      const start = this.out.length;
      reader.next(this.args);
      const spec = commandAt(reader.spec);
      if (!this.run(spec, reader.db, reader.isResp3)) return undefined;
      lengths.push(this.out.length - start);
    }
    return packReplies(this.#pool, lengths, this.out.bytes, this.out.length);
  }

  /** A database by the name of its map, or a hash. */
  spaceNamed(name: Uint8Array): RecordSpace {
    return isDatabaseName(name) ? this.spaceOf(Number(latin1.decode(name).slice(2))) : this.hash(name);
  }

  /**
   * Runs the command that `args` hold and appends one reply; false when that is an error because `out` may not hold what it would be, which
   * befalls commands that only read. Throws ValueAway when a value must be read back first.
   */
  run(spec: CommandSpec, db: number, isResp3: boolean): boolean {
    const { out } = this;
    const start = out.length;
    out.isResp3 = isResp3;
    this.#context.commands += 1;
    this.name = spec.name;
    this.db = db;
    this.space = this.spaceOf(db);
    try {
      if (spec.run === undefined) throw new KvError(`ERR unknown command '${spec.name}'`);
      spec.run(this);
      return true;
    } catch (error) {
      out.length = start;
      if (error instanceof KvError) out.error(error.message);
      else if (error instanceof GridError) out.error(replyOf(error));
      else if (error instanceof ReplyTooLarge) out.error(TOO_MUCH);
      else throw error instanceof ValueAway ? this.#widened(error, spec) : error;
      return !(error instanceof ReplyTooLarge);
    }
  }

  /** With it, others of its command that were dropped from memory, to be read back together. */
  #widened(away: ValueAway, spec: CommandSpec): ValueAway {
    if (READS_PAGE.has(spec.name)) return away;
    try {
      this.assertHere(spec, this.db);
    } catch (error) {
      if (!(error instanceof ValueAway)) throw error;
      const isAmong = error.store === away.store && away.refs.every((ref) => error.refs.includes(ref));
      if (isAmong) return error;
    }
    return away;
  }

  spaceOf(db: number): RecordSpace {
    const space = this.#databases[db];
    if (space === undefined) throw new KvError('ERR DB index is out of range');
    return space;
  }

  hash(name: Uint8Array): RecordSpace {
    if (name.length > IDENTITY_BYTES_MAX) return this.#nowhere;
    const text = latin1.decode(name);
    const known = this.#hashes.get(text);
    if (known !== undefined) return known;
    if (this.#hashes.size >= HASHES_KEPT_MAX) this.#hashes.clear();
    const space = new RecordSpace(this.#context, name.slice(), false);
    this.#hashes.set(text, space);
    return space;
  }

  /** Changes whenever somebody writes the key, or a field of the hash that it names. */
  versionIn(space: RecordSpace, key: Uint8Array): string {
    return space.isHash(key) ? `${HASH_VERSION}${this.hash(key).whole.version}` : space.version(key);
  }

  change(change: WholeChange): void {
    this.assertChange(change);
    this.makeChange(change);
  }

  /** Throws KvError when the change cannot be made here now, ValueAway when values must be read back first. */
  assertChange({ kind, databases }: WholeChange): void {
    const { maps, refusal } = this.#context;
    for (let partition = 0; partition < PARTITION_COUNT; partition++) {
      const refused = refusal(partition, 0);
      if (refused >= 0) throw new KvError(replyOfNumber(refused));
    }
    const opened = databases.map((db) => {
      const map = maps.openByName(databaseName(db));
      if (map === undefined) throw new KvError(TOO_MANY_MAPS);
      return { map, whole: this.spaceOf(db).whole };
    });
    const [first, second] = opened;
    if (kind !== 'swap' || first === undefined || second === undefined) return;
    first.whole.assertMovable(second.map);
    second.whole.assertMovable(first.map);
  }

  /**
   * Makes a change that nothing may refuse any more, in these partitions, one after another: what is swapped is held in memory meanwhile.
   * Throws ValueAway before it writes.
   */
  makeChange(change: WholeChange, partitions: readonly number[] = ALL_PARTITIONS): void {
    const context = this.#context;
    context.isDecided = true;
    try {
      for (const partition of change.kind === 'swap' ? partitions : []) {
        context.only = partition;
        for (const db of change.databases) this.spaceOf(db).whole.assertHere();
      }
      for (const partition of partitions) {
        context.only = partition;
        runChange(change, this);
        this.#beat?.();
      }
    } finally {
      context.isDecided = false;
      context.only = -1;
    }
  }

  versionOf(key: Uint8Array): string {
    return this.versionIn(this.space, key);
  }

  hashNames(): Uint8Array[] {
    return this.#context.names.live();
  }
}
