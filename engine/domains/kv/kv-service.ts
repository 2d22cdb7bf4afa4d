/**
 * Answers requests of Redis commands on a worker: a batch of commands of one connection, run in their order.
 *
 *   request ─ command-batch ─ KvRunner ─ replies, behind the log
 *                │ a value was dropped from memory, an act over several workers holds a key, or the commands of this turn have
 *                │ taken their time
 *                └▶ read back, freed, another turn ─ the same command again ─ …   later requests of that connection wait behind it
 *
 * A request that a worker before this one has run and logged is not run again: commands that write are answered with UNKNOWN.
 */
import type { GridRequest, LateParts, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { REQUEST_COMMANDS, REQUEST_TRANSACTION } from '../../protocol/envelope.ts';
import { BodyPool } from './body-pool.ts';
import { type CommandSpec, isWrite } from './command.ts';
import { CommandBatchReader, packReplies } from './command-batch.ts';
import { commandAt, WORKER_COMMANDS } from './commands.ts';
import type { HeldKeys } from './held-keys.ts';
import { UNCHANGED } from './internal-commands.ts';
import { KvRunner, type KvRunnerOptions, TOO_MUCH } from './kv-runner.ts';
import { UNBOUNDED } from '../../protocol/resp-writer.ts';
import { type RestoreValues, restoreValues } from './restored-values.ts';
import { ValueAway } from './space.ts';

export interface KvServiceOptions extends KvRunnerOptions {
  /** Reads dropped values back into memory; undefined where none is ever dropped. Rejects with GridError. */
  readonly restore?: RestoreValues | undefined;
  /** Keys that acts over several workers hold. */
  readonly held: HeldKeys;
  /** Wall clock, ms, for what is run later than it came. */
  readonly clock: () => number;
  readonly monotonicMs: () => number;
  /** Resolves in a later turn of the event loop: other requests are answered in between. */
  readonly yieldTurn: () => Promise<void>;
}

/** What commands may take in one turn: one more is begun, however long it takes. */
const SLICE_MS = 20;
/** Work between two looks at the clock. */
const CLOCK_WORK = 16;
/** Commands that take about a microsecond, whatever they are about. Each of the others is as much work as lies between two looks. */
const LIGHT = new Set([
  'get',
  'set',
  'setex',
  'psetex',
  'getset',
  'incr',
  'decr',
  'incrby',
  'decrby',
  'hget',
  'hset',
  'ttl',
  'pttl',
]);
/** By the number of a command. */
const WORK = Uint8Array.from(WORKER_COMMANDS, ({ name }) => (LIGHT.has(name) ? 1 : CLOCK_WORK));

export const UNKNOWN_OUTCOME =
  'UNKNOWN the worker was replaced after it had logged this command: it may have taken effect, and its reply is lost';

/** Replies to the commands of one read from a connection; commands beyond are refused before they are run. */
const REPLIES_BYTES_MAX = 32 << 20;
/** With the last of them, which is an error if it would be longer. A command that writes answers with one value at most. */
const ANSWER_BYTES_MAX = 48 << 20;

const UNTOLD = 'ERR the command was run, but the replies to the transaction are too large to tell what it answered';
const DROPPED = 'TRYAGAIN OUT_OF_MEMORY a value that the command needs was dropped from memory to make room for the transaction';

/** A batch, as far as it was run. */
interface Progress {
  readonly request: GridRequest;
  readonly reader: CommandBatchReader;
  readonly lengths: number[];
  /** Replies from before a pause. */
  early: Uint8Array;
}

/** The session of questions of the door itself: each awaits its own answer, and none has to wait for another. */
const OF_DOOR = 0;
const NO_BYTES = new Uint8Array(0);
/** By the number of a command: 1 when it may write more than one record. */
const WRITES_SEVERAL = Uint8Array.from(WORKER_COMMANDS, (spec) => (isWrite(spec) && mayTouchSeveral(spec) ? 1 : 0));

/** What a batch waits for: a value that is away, keys that are held, or another turn. */
type Pause = ValueAway | typeof HELD | typeof SPENT;
const HELD = 'held';
const SPENT = 'spent';

export class KvService implements RequestHandler {
  readonly kinds = [REQUEST_COMMANDS, REQUEST_TRANSACTION];
  readonly writeKinds = this.kinds;
  readonly judgedKinds = this.kinds;
  readonly #options: KvServiceOptions;
  readonly #runner: KvRunner;
  readonly #pool = new BodyPool();
  /** The last request of a session that waits, by gateway and session. */
  readonly #waiting = new Map<string, Promise<void>>();
  /** When the commands of this turn, of all requests, have taken their time; NaN: not known before one has looked at the clock. */
  #spentAtMs = Number.NaN;
  /** The turn of the last batch that waits for one: each has a turn of its own. */
  #lastTurn = Promise.resolve();

  constructor(options: KvServiceOptions) {
    this.#options = options;
    this.#runner = new KvRunner(options);
  }

  answer(request: GridRequest): RequestAnswer {
    const progress: Progress = { request, reader: new CommandBatchReader(request.body), lengths: [], early: NO_BYTES };
    const isOfSession = request.session !== OF_DOOR;
    const before = isOfSession && this.#waiting.size > 0 ? this.#waiting.get(sessionKey(request)) : undefined;
    if (before !== undefined) return this.#inTurn(progress, before);
    const away = this.#advance(progress, request.nowMs);
    if (away === undefined) return [this.#pack(progress)];
    this.#keep(progress);
    return this.#inTurn(progress, this.#ready(away));
  }

  /** Other requests were answered: it is another turn. */
  settled(): void {
    this.#spentAtMs = Number.NaN;
  }

  #advance(progress: Progress, nowMs: number): Pause | undefined {
    return progress.request.kind === REQUEST_TRANSACTION ? this.#transact(progress, nowMs) : this.#runOn(progress, nowMs);
  }

  /**
   * All of them at once: values that are away are looked for before the first is run, and behind the room for what they write, which is
   * made by dropping others. A write that needs far more, such as SETRANGE, may still have a value dropped that is read later.
   */
  #transact(progress: Progress, nowMs: number): Pause | undefined {
    const { request, reader, lengths } = progress;
    const { out, args } = this.#begun(progress, nowMs);
    this.#options.refusal(0, request.body.length);
    const away = this.#awayOf(request.body);
    if (away !== undefined) return away;
    this.#options.held.jointWrites += 1;
    let work = 0;
    while (lengths.length < reader.count) {
      const start = out.length;
      reader.next(args);
      work += WORK[reader.spec] as number;
      if (work > CLOCK_WORK) {
        work = 0;
        this.#options.beat?.();
      }
      const spec = commandAt(reader.spec);
      try {
        this.#run(spec, progress);
      } catch (error) {
        if (!(error instanceof ValueAway)) throw error;
        out.length = start;
        out.error(DROPPED);
      }
      lengths.push(out.length - start);
      if (spec.name === UNCHANGED && out.bytes[start + 1] === NO) return undefined;
    }
    return undefined;
  }

  #awayOf(body: Uint8Array): Pause | undefined {
    const reader = new CommandBatchReader(body);
    try {
      for (let index = 0; index < reader.count; index++) {
        reader.next(this.#runner.args);
        const spec = commandAt(reader.spec);
        if (this.#isHeld(spec, reader.db)) return HELD;
        this.#runner.assertHere(spec, reader.db);
      }
    } catch (error) {
      if (error instanceof ValueAway) return error;
      throw error;
    }
    return undefined;
  }

  /** Runs on until the end, or to a command that needs a value which is away, or for as long as a turn may last. */
  #runOn(progress: Progress, nowMs: number): Pause | undefined {
    const { reader, lengths } = progress;
    const { held } = this.#options;
    const { out, args } = this.#begun(progress, nowMs);
    let work = 0;
    while (lengths.length < reader.count) {
      const start = out.length;
      reader.next(args);
      work += WORK[reader.spec] as number;
      if (work >= CLOCK_WORK) {
        work = 0;
        if (this.#isSpent()) {
          reader.back();
          return SPENT;
        }
      }
      const spec = commandAt(reader.spec);
      if (held.isBusy && this.#isHeld(spec, reader.db)) {
        reader.back();
        return HELD;
      }
      try {
        this.#run(spec, progress);
        if (WRITES_SEVERAL[reader.spec] === 1) held.jointWrites += 1;
      } catch (error) {
        if (!(error instanceof ValueAway)) throw error;
        reader.back();
        return error;
      }
      lengths.push(out.length - start);
    }
    return undefined;
  }

  #isSpent(): boolean {
    const nowMs = this.#options.monotonicMs();
    if (Number.isNaN(this.#spentAtMs)) this.#spentAtMs = nowMs + SLICE_MS;
    return nowMs >= this.#spentAtMs;
  }

  #begun({ early }: Progress, nowMs: number): KvRunner {
    const runner = this.#runner;
    runner.nowMs = nowMs;
    runner.out.reset();
    runner.out.bytesMax = ANSWER_BYTES_MAX - early.length;
    return runner;
  }

  /** Appends one reply. Throws ValueAway. */
  #run(spec: CommandSpec, { request, reader, early }: Progress): void {
    const { out } = this.#runner;
    if (request.isLogged === true && isWrite(spec)) out.error(UNKNOWN_OUTCOME);
    else if (early.length + out.length <= REPLIES_BYTES_MAX) this.#runner.run(spec, reader.db, reader.isResp3);
    else if (request.kind === REQUEST_TRANSACTION && isWrite(spec)) this.#runUntold(spec, reader);
    else out.error(TOO_MUCH);
  }

  /** A transaction is run whole, however much its commands have to tell. */
  #runUntold(spec: CommandSpec, reader: CommandBatchReader): void {
    const { out } = this.#runner;
    const { length: start, bytesMax } = out;
    out.bytesMax = UNBOUNDED;
    try {
      this.#runner.run(spec, reader.db, reader.isResp3);
    } finally {
      out.bytesMax = bytesMax;
    }
    if (out.length <= bytesMax) return;
    out.length = start;
    out.error(UNTOLD);
  }

  #isHeld(spec: CommandSpec, db: number): boolean {
    const { held } = this.#options;
    return held.isBusy && held.blocks(this.#runner.touched(spec, db));
  }

  /** Takes the replies so far out of the writer, which others will use. */
  #keep(progress: Progress): void {
    const { out } = this.#runner;
    const early = new Uint8Array(progress.early.length + out.length);
    early.set(progress.early);
    early.set(out.bytes.subarray(0, out.length), progress.early.length);
    progress.early = early;
  }

  #pack(progress: Progress): Uint8Array {
    const { out } = this.#runner;
    if (progress.early.length === 0) return packReplies(this.#pool, progress.lengths, out.bytes, out.length);
    this.#keep(progress);
    return packReplies(this.#pool, progress.lengths, progress.early, progress.early.length);
  }

  /** Goes on when `ready` is settled; requests of the session that come meanwhile go on behind it. */
  #inTurn(progress: Progress, ready: Promise<unknown>): LateParts {
    if (progress.request.session === OF_DOOR) return this.#later(progress, ready, () => {});
    const key = sessionKey(progress.request);
    const ended = deferred();
    this.#waiting.set(key, ended.promise);
    return this.#later(progress, ready, () => {
      if (this.#waiting.get(key) === ended.promise) this.#waiting.delete(key);
      ended.resolve();
    });
  }

  async *#later(progress: Progress, ready: Promise<unknown>, end: () => void): LateParts {
    try {
      await ready;
      for (;;) {
        const away = this.#advance(progress, this.#options.clock());
        if (away === undefined) break;
        this.#keep(progress);
        await this.#ready(away);
      }
      yield this.#pack(progress);
    } finally {
      end();
    }
  }

  /** Resolves when it is worth while to go on. */
  #ready(pause: Pause): Promise<void> {
    if (pause === SPENT) return this.#nextTurn();
    return pause === HELD ? this.#options.held.freed() : restoreValues(pause, this.#options.restore);
  }

  /** Resolves at the start of a turn that is nobody else's who waits for one. */
  #nextTurn(): Promise<void> {
    const turn = this.#lastTurn.then(this.#options.yieldTurn).then(() => {
      this.#spentAtMs = Number.NaN;
    });
    this.#lastTurn = turn;
    return turn;
  }
}

/** MOVE and COPY have their second key in another database; a whole database has no keys that are named. */
function mayTouchSeveral({ keys: [first, last], fields, name }: CommandSpec): boolean {
  return first === 0 || first !== last || (fields !== undefined && fields[0] !== fields[1]) || name === 'move';
}

/** Second byte of the reply `:0`. */
const NO = 0x30;

function sessionKey({ gateway, session }: GridRequest): string {
  return `${gateway} ${session}`;
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let settle: () => void = () => {};
  const promise = new Promise<void>((resolve) => {
    settle = resolve;
  });
  return { promise, resolve: settle };
}
