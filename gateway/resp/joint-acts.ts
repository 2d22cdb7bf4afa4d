/**
 * Acts over several workers: what one command, or all of EXEC, does is seen whole or not at all, also after kill -9.
 *
 *   whole   enter ─ HOLD everything ─ DECIDE at the first ─ DO at the others ─ OVER ─ RELEASE              FLUSHDB, SWAPDB (whole-acts.ts)
 *   read    enter ─ HOLD everywhere, with the commands that read ─ RELEASE                             one round
 *   write   enter ─ HOLD everywhere ─ run here ─ COMMIT at the first ─ APPLY at the others ─ RELEASE    three rounds
 *                       └─ needs more than it asked for: RELEASE, and again
 *
 * COMMIT decides. Before it everything may be let go, and commands that take long run in several turns; behind it the act is carried on
 * until every worker has applied it, however often it must be asked: a worker does the same thing once. The client is not kept waiting for
 * ever. The worker side is engine/domains/kv/joint-service.ts, and the thoughts behind are in
 * docs/decisions/0024-acts-over-several-workers.md.
 */
import type { ActMarks } from '../../engine/domains/kv/act-marks.ts';
import { type CommandSpec, DATABASES } from '../../engine/domains/kv/command.ts';
import { databaseName } from '../../engine/domains/kv/hash-names.ts';
import {
  encodeAct,
  encodeWhole,
  encodeWrites,
  type HoldAnswer,
  type StampedWrite,
  type ToldKey,
} from '../../engine/domains/kv/joint-bodies.ts';
import {
  bytesWritten,
  JointKeys,
  JointRunner,
  NeedsMore,
  TooLarge,
  WRITTEN_BYTES_MAX,
} from '../../engine/domains/kv/joint-space.ts';
import { replyOf } from '../../engine/domains/kv/refused-reply.ts';
import type { WholeStep } from '../../engine/domains/kv/whole-acts.ts';
import { changedMaps, encodeChange, type WholeChange } from '../../engine/domains/kv/whole-changes.ts';
import { nameOf, type SpaceKey, type Touched, touchedBy } from '../../engine/domains/kv/touched-keys.ts';
import { REQUEST_ACT_APPLY, REQUEST_ACT_COMMIT, REQUEST_ACT_RELEASE, REQUEST_ACT_WHOLE } from '../../engine/protocol/envelope.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import { ReplyTooLarge } from '../../engine/protocol/resp-writer.ts';
import type { TurnClock } from '../turn-clock.ts';
import { type Act, ActCalls, type ActCallsContext, LATE, NOTHING, type Answered, type Watched, type Wish } from './act-calls.ts';
import { ActGate } from './act-gate.ts';
import { ActQueue } from './act-queue.ts';
import type { KnownHashes } from './known-hashes.ts';

export interface JointContext extends ActCallsContext {
  readonly clock: TurnClock;
  /** Where readers of several workers see which acts are under way. */
  readonly marks: ActMarks;
  readonly known: KnownHashes;
  /** How long a client waits for what is decided, ms. */
  readonly opTimeoutMs: number;
}

/** A command, with bytes of its own. */
export interface ActCommand {
  readonly spec: CommandSpec;
  readonly args: RespCommand;
  readonly db: number;
}

/** A reply for each command, `changed` when a watched key is, or one error for all. */
export type ActOutcome = readonly Uint8Array[] | 'changed' | string;

/** How often an act may find out that it needs more. */
const ROUNDS_MAX = 64;
const NO_BYTES = new Uint8Array(0);
const NO_ANSWERS: ReadonlyMap<number, HoldAnswer> = new Map();
const TOO_MANY = 'TRYAGAIN OVERLOADED too many commands over several workers wait: it was not run';
/** Keys that the commands of one act name: each costs some microseconds, in which no other client is served. */
const LARGE_KEYS = 1000; // told so many, its steps have a turn each
const KEYS_MAX = 100_000;
const TOO_MANY_KEYS = `ERR one act over several workers may touch ${KEYS_MAX} keys at most`;
const REPLY_BYTES_MAX = 32 << 20;
const TOO_MUCH = 'ERR what the commands write or answer is too large for one act over several workers';
const TOO_LONG = 'ERR the commands take too long for one act over several workers: none was run';
/** How long commands of an act run before other clients have their turn, and how long in all turns together. */
const SLICE_MS = 10;
const RUN_MS_MAX = 30_000;
const ENDLESS = 'ERR what the commands need changes too fast: none was run';
const latin1 = new TextDecoder('latin1');

export class JointActs {
  readonly #context: JointContext;
  readonly #queue: ActQueue;
  readonly #gate: ActGate;
  readonly #calls: ActCalls;
  /** The turn of the last act that waits for one. */
  #lastTurn = Promise.resolve();

  constructor(context: JointContext) {
    this.#context = context;
    this.#calls = new ActCalls(context);
    this.#queue = new ActQueue(() => performance.now());
    this.#gate = new ActGate(context.marks, () => performance.now());
  }

  /** Acts under way, also such as no client waits for any more. */
  get underWay(): number {
    return this.#calls.underWay;
  }

  /** Has each worker run its commands, which only read, as one. Rejects with GridError; KvError text as a string. */
  async read(touched: Touched, bodies: ReadonlyMap<number, Uint8Array>): Promise<ReadonlyMap<number, Uint8Array> | string> {
    const { keys, isEverything } = touched;
    if (keys.length > KEYS_MAX) return TOO_MANY_KEYS;
    const leave = await this.#queue.enter(touched);
    if (leave === undefined) return TOO_MANY;
    const act = this.#calls.begin({ ...NOTHING, isEverything, keys, bodies });
    try {
      const answers = await this.#calls.hold(act);
      if (typeof answers === 'string') return answers;
      return new Map([...bodies.keys()].map((worker) => [worker, answers.get(worker)?.replies ?? NO_BYTES]));
    } finally {
      this.#calls.end(act);
      leave();
    }
  }

  /**
   * Runs the commands as one, if the watched keys are as they were.
   * @param looksFirst the keys are held for writing, and their maps opened, only once it is known that something is written
   */
  async write(
    commands: readonly ActCommand[],
    watched: readonly Watched[],
    isResp3: boolean,
    looksFirst = false,
  ): Promise<ActOutcome> {
    const all = commands.map(({ spec, args, db }) => touchedBy(spec, args, db));
    if (all.reduce((sum, { keys }) => sum + keys.length, 0) > KEYS_MAX) return TOO_MANY_KEYS;
    let wish: Wish = {
      isExclusive: !looksFirst && all.some(({ isWrite }) => isWrite),
      isEverything: all.some(({ isEverything }) => isEverything) || watched.some(({ versions }) => versions.size > 1),
      keys: unique([...all.flatMap(({ keys }) => keys), ...watched]),
      told: unique(all.flatMap(({ keys }) => keys)),
      wholes: [...new Set(commands.flatMap(databasesOf))].map(databaseName),
      watched,
      bodies: new Map(),
      change: NO_BYTES,
    };
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const outcome = await this.#attempt(wish, commands, isResp3);
      if (!(outcome instanceof NeedsMore)) return outcome;
      wish = widened(wish, outcome);
    }
    return ENDLESS;
  }

  /** Has all workers change whole databases, as one. '' or what the client is told. */
  async change(change: WholeChange): Promise<string> {
    const leave = await this.#queue.enter({ isWrite: true, isEverything: true, keys: [] });
    if (leave === undefined) return TOO_MANY;
    await this.#gate.pass();
    this.#context.known.forgetAll();
    const act = this.#calls.begin({ ...NOTHING, isExclusive: true, isEverything: true, change: encodeChange(change) });
    const over = (): void => {
      this.#calls.end(act);
      leave();
    };
    try {
      const answers = await this.#calls.hold(act);
      if (typeof answers !== 'string') return await orLate(this.#changeAll(act, change).finally(over), this.#context.opTimeoutMs);
      over();
      return answers;
    } catch (error) {
      over();
      if (error instanceof GridError) return replyOf(error);
      throw error;
    }
  }

  /** It is told what it must hold. */
  workerReplaced(worker: number): void {
    this.#calls.workerReplaced(worker);
  }

  close(): void {
    this.#calls.close();
  }

  async #attempt(wish: Wish, commands: readonly ActCommand[], isResp3: boolean): Promise<ActOutcome | NeedsMore> {
    const leave = await this.#queue.enter({ isWrite: wish.isExclusive, isEverything: wish.isEverything, keys: wish.keys });
    if (leave === undefined) return TOO_MANY;
    if (wish.isExclusive) await this.#gate.pass();
    if (wish.isExclusive) this.#forget(wish);
    const act = this.#calls.begin(wish);
    const over = (): void => {
      this.#calls.end(act);
      leave();
    };
    try {
      const prepared = await this.#prepare(act, wish, commands, isResp3);
      if ('outcome' in prepared) {
        over();
        return prepared.outcome;
      }
      const { writes, absent } = prepared;
      const finished = this.#commitMarked(act, writes).then((refusal) => this.#learned(refusal, absent));
      const refusal = await orLate(finished.finally(over), this.#context.opTimeoutMs);
      return refusal === '' ? prepared.replies : refusal;
    } catch (error) {
      over();
      if (error instanceof NeedsMore) return error;
      if (error instanceof TooLarge || error instanceof ReplyTooLarge) return TOO_MUCH;
      if (error instanceof GridError) return replyOf(error);
      throw error;
    }
  }

  /** Holds, and runs the commands on what is held. Throws NeedsMore. */
  async #prepare(act: Act, wish: Wish, commands: readonly ActCommand[], isResp3: boolean): Promise<Prepared> {
    // Where all that it names is nowhere there is nobody to ask.
    const answers = act.holds.size === 0 ? NO_ANSWERS : await this.#calls.hold(act);
    if (typeof answers === 'string') return { outcome: answers };
    if (this.#haveChanged(wish.watched, answers)) return { outcome: 'changed' };
    const { clock } = this.#context;
    clock.refresh();
    const told = this.#toldByOwners(answers);
    const isLarge = told.length > LARGE_KEYS;
    if (isLarge) await this.#nextTurn();
    const keys = new JointKeys(told, wish.wholes, clock.wallMs);
    if (isLarge) await this.#nextTurn();
    const hashNames = uniqueNames([...answers.values()].flatMap((answer) => answer.hashNames));
    const runner = new JointRunner(keys, hashNames, Math.random);
    const replies = await this.#run(runner, commands, isResp3);
    if (replies === undefined) return { outcome: TOO_LONG };
    if (isLarge) await this.#nextTurn();
    const [writes, absent] = [keys.writes(), keys.absent()];
    if (writes.reduce((sum, write) => sum + bytesWritten(write), 0) > WRITTEN_BYTES_MAX) return { outcome: TOO_MUCH };
    if (writes.length > 0 && !wish.isExclusive) throw new NeedsMore([], undefined);
    if (writes.length > 0) return { replies, writes, absent };
    this.#learned('', absent);
    return { outcome: replies };
  }

  /** The replies to the commands, in as many turns as they take; undefined: they take too long. Nothing is decided yet. Throws NeedsMore. */
  async #run(runner: JointRunner, commands: readonly ActCommand[], isResp3: boolean): Promise<Uint8Array[] | undefined> {
    const replies: Uint8Array[] = [];
    let replyBytes = 0;
    let begunMs = performance.now();
    let earlierMs = 0;
    for (const { spec, args, db } of commands) {
      runner.out.bytesMax = REPLY_BYTES_MAX - replyBytes;
      const reply = runner.run(spec, args, db, isResp3);
      replyBytes += reply.length;
      replies.push(reply);
      const ranMs = performance.now() - begunMs;
      if (ranMs < SLICE_MS) continue;
      earlierMs += ranMs;
      if (earlierMs > RUN_MS_MAX) return undefined;
      await this.#nextTurn();
      begunMs = performance.now();
    }
    return replies;
  }

  /** Resolves in a later turn of the event loop, which is no other act's. */
  #nextTurn(): Promise<void> {
    this.#lastTurn = this.#lastTurn.then(() => new Promise((resolve) => setImmediate(resolve)));
    return this.#lastTurn;
  }

  /** Under these keys there is no string, unless the act was refused. While it runs no other act is at them. */
  #learned(refusal: string, absent: readonly SpaceKey[]): string {
    const { known, router } = this.#context;
    if (refusal === '') for (const key of absent) if (router.mayNameMap(key)) known.add(key);
    return refusal;
  }

  /** The act may write there. */
  #forget({ isEverything, keys }: Wish): void {
    if (isEverything) this.#context.known.forgetAll();
    else this.#context.known.forget(keys);
  }

  /** What the owners of keys told, and whether any worker has records of a map of that name. */
  #toldByOwners(answers: ReadonlyMap<number, HoldAnswer>): ToldKey[] {
    const { router } = this.#context;
    const hashes = new Set<string>();
    for (const { told } of answers.values()) for (const one of told) if (one.isHash) hashes.add(nameOf(one));
    return [...answers].flatMap(([worker, { told }]) => {
      const own = told.filter(({ key }) => router.ownerOfKey(key) === worker);
      return hashes.size === 0 ? own : own.map((one) => (hashes.has(nameOf(one)) ? { ...one, isHash: true } : one));
    });
  }

  /** Each worker tells versions in the order in which it was asked for them: that of what is watched and has one there. */
  #haveChanged(watched: readonly Watched[], answers: ReadonlyMap<number, HoldAnswer>): boolean {
    for (const [worker, told] of answers) {
      const known = watched.filter(({ versions }) => versions.has(worker));
      if (known.some(({ versions }, index) => versions.get(worker) !== told.versions[index])) return true;
    }
    return false;
  }

  /** As `#commit`, so that readers know that it is under way. */
  async #commitMarked(act: Act, writes: readonly StampedWrite[]): Promise<string> {
    const { marks } = this.#context;
    const begun = marks.begin(writes.map(({ space }) => space));
    try {
      return await this.#commit(act, writes);
    } finally {
      marks.end(begun);
    }
  }

  /** '' when every worker has applied the act; else what its client is told. */
  async #commit({ number: act, holds }: Act, writes: readonly StampedWrite[]): Promise<string> {
    const byOwner = new Map<number, StampedWrite[]>();
    for (const write of writes) {
      const owner = this.#context.router.ownerOfKey(write.key);
      const ofOwner = byOwner.get(owner);
      if (ofOwner === undefined) byOwner.set(owner, [write]);
      else ofOwner.push(write);
    }
    const owners = [...byOwner.keys()].sort((left, right) => left - right);
    const [first = 0, ...others] = owners;
    const foreign = others.flatMap((owner) => byOwner.get(owner) ?? []);
    const decided = await this.#calls.untilAnswered(
      first,
      REQUEST_ACT_COMMIT,
      encodeWrites({ act, own: byOwner.get(first) ?? [], others: foreign }),
    );
    if (decided.refusal !== '') return decided.refusal;
    for (const worker of holds.keys()) if (!byOwner.has(worker)) this.#calls.tell(worker, REQUEST_ACT_RELEASE, encodeAct(act));
    const applied = await Promise.all(
      others.map((owner) =>
        this.#calls.untilAnswered(owner, REQUEST_ACT_APPLY, encodeWrites({ act, own: byOwner.get(owner) ?? [], others: [] })),
      ),
    );
    return failureOf([decided, ...applied]);
  }

  /** '' when every worker has made the change; else what its client is told. */
  async #changeAll({ number: act }: Act, change: WholeChange): Promise<string> {
    const { marks, calls } = this.#context;
    const [first = 0, ...others] = calls.everyone;
    const ask = (worker: number, step: WholeStep): Promise<Answered> =>
      this.#calls.untilAnswered(worker, REQUEST_ACT_WHOLE, encodeWhole({ act, step, change: encodeChange(change) }));
    const begun = marks.begin(changedMaps(change));
    try {
      const decided = await ask(first, 'decide');
      if (decided.refusal !== '') return decided.refusal;
      const done = await Promise.all(others.map((worker) => ask(worker, 'do')));
      const failure = failureOf([decided, ...done]);
      // What clears may be made again by the next start where nothing is written until then. Elsewhere it would change what was written
      // since, and what was swapped may be in the data store: it would be swapped back. So that is over.
      if (change.kind === 'clear' && [decided, ...done].some(({ isOpen }) => isOpen)) return failure;
      const notOver = failureOf([await ask(first, 'over')]);
      const step = encodeWhole({ act, step: 'over', change: encodeChange(change) });
      // The others forget that it is done: only when no log calls it decided and not over.
      if (notOver === '') for (const worker of others) this.#calls.tell(worker, REQUEST_ACT_WHOLE, step);
      return failure || notOver;
    } finally {
      marks.end(begun);
    }
  }
}

/** What the client is told; '' when all was done and logged. */
function failureOf(answers: readonly Answered[]): string {
  return answers.map(({ refusal, trouble }) => refusal || trouble).find((text) => text !== '') ?? '';
}

type Prepared =
  | { readonly outcome: ActOutcome }
  | { readonly replies: readonly Uint8Array[]; readonly writes: readonly StampedWrite[]; readonly absent: readonly SpaceKey[] };

async function orLate(finished: Promise<string>, waitMs: number): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(LATE), waitMs);
  });
  try {
    return await Promise.race([finished, late]);
  } finally {
    clearTimeout(timer);
  }
}

function widened(wish: Wish, { keys, whole }: NeedsMore): Wish {
  if (whole !== undefined) return { ...wish, isEverything: true, wholes: [...wish.wholes, whole] };
  if (keys.length === 0) return { ...wish, isExclusive: true };
  return { ...wish, keys: unique([...wish.keys, ...keys]), told: unique([...wish.told, ...keys]) };
}

/** Databases that a command certainly looks at as a whole. */
function databasesOf({ spec, db }: ActCommand): number[] {
  if (spec.name === 'flushall') return Array.from({ length: DATABASES }, (_, index) => index);
  return spec.route === 'workers' && spec.keys[0] === 0 ? [db] : [];
}

function unique(keys: readonly SpaceKey[]): SpaceKey[] {
  return [...new Map(keys.map((key) => [nameOf(key), key])).values()];
}

function uniqueNames(names: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(names.map((name) => [latin1.decode(name), name])).values()];
}
