/**
 * A worker's part in what is one over several workers: MSET, RENAME, EXEC, MGET and others.
 *
 *   gateway ── HOLD ──▶ every worker of the act     its keys are held; what they hold is told, or read by commands
 *           ── COMMIT ─▶ the first one              ALL writes of the act in one frame of its log: they are, or are not
 *           ── APPLY ──▶ the others                 their records; what a worker has applied it holds no longer
 *           ── WHOLE ──▶ each                      for COMMIT and APPLY, of changes of whole databases (whole-acts.ts)
 *           ── RELEASE ▶ all                        nothing is held, and the first one need not keep its log for the others
 *
 * The stamps are decided before COMMIT, so that applying twice changes nothing. After a kill -9 each worker reads the logs of all
 * and finds its records in the frame of COMMIT. A worker that replaces another lets nothing touch a key until the gateway has
 * told it (ROLL) which keys acts hold.
 */
import { isUtf8, fnv1aUtf8, partitionOf } from '../../partition/hash.ts';
import type { GridRequest, LateParts, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import {
  REQUEST_ACT_APPLY,
  REQUEST_ACT_COMMIT,
  REQUEST_ACT_HOLD,
  REQUEST_ACT_RELEASE,
  REQUEST_ACT_ROLL,
  REQUEST_ACT_WHOLE,
} from '../../protocol/envelope.ts';
import { OP_PUT, OP_REMOVE } from '../../protocol/op-index.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import { JOIN_APPLIED } from '../../storage/join-rule.ts';
import { ALIKE_MAX } from '../../storage/record-store.ts';
import { KIND_LWW, PROVENANCE_CLIENT, RecordImage } from '../../storage/record.ts';
import type { GridMap } from '../crdt/map-catalogue.ts';
import type { HeldKeys } from './held-keys.ts';
import {
  type ActWrites,
  decodeAct,
  decodeHold,
  decodeRoll,
  decodeWhole,
  decodeWrites,
  encodeHoldAnswer,
  type HoldAnswer,
  type HoldAsk,
  type StampedWrite,
  type ToldKey,
} from './joint-bodies.ts';
import { KvRunner, type KvRunnerOptions } from './kv-runner.ts';
import { replyOfGuard, replyOfNumber } from './refused-reply.ts';
import { type RestoreValues, runWhenHere } from './restored-values.ts';
import { type RecordSpace, TOO_MANY_MAPS } from './record-space.ts';
import { isSame, KEYS_ALIKE, ValueAway } from './space.ts';
import { nameOf } from './touched-keys.ts';
import { GIVEN_UP, type WholeAsk, WholeActs, type WholeLog } from './whole-acts.ts';

/** How acts stand in the log of the worker. */
export interface ActLog extends WholeLog {
  /** Notes in the frame at hand that what follows is the act's. */
  commit(act: number): void;
  /** Appends a record that another worker owns. */
  foreign(map: Uint8Array, image: RecordImage): void;
  /** While true the log keeps all that it has. */
  keepAll(isKeeping: boolean): void;
  /** Acts that a worker before this one committed in this run. */
  readonly committed: ReadonlySet<number>;
}

export interface JointServiceOptions extends KvRunnerOptions {
  readonly held: HeldKeys;
  readonly log: ActLog;
  readonly restore: RestoreValues | undefined;
  readonly clock: () => number;
  /** This worker replaces another, and acts may be under way. */
  readonly awaitsRoll: boolean;
  readonly monotonicMs: () => number;
}

/** Told of whole maps in one answer, and of all: what is larger is not acted on as one. An answer is one record of a ring. */
const WHOLE_BYTES_MAX = 16 << 20;
const TOLD_BYTES_MAX = 32 << 20;
/** Of what is told of a record beside key and value. */
const TOLD_RECORD_BYTES = 64;
export const TOO_LARGE = 'ERR what the commands look at is too large to be read as one over several workers';
const NOT_RUN = 'TRYAGAIN UNAVAILABLE a worker was replaced: nothing was run';
/** Held by nobody's act: everything, until the roll. */
const ROLL_ACT = -1;
const ROLL_WAIT_MS = 10_000;
/** An answer to COMMIT: '' in bytes, or a refusal. */
const encoder = new TextEncoder();
const NO_BYTES = new Uint8Array(0);

export class JointService implements RequestHandler {
  readonly kinds = [
    REQUEST_ACT_HOLD,
    REQUEST_ACT_COMMIT,
    REQUEST_ACT_APPLY,
    REQUEST_ACT_RELEASE,
    REQUEST_ACT_ROLL,
    REQUEST_ACT_WHOLE,
  ];
  readonly writeKinds = [REQUEST_ACT_COMMIT, REQUEST_ACT_APPLY, REQUEST_ACT_WHOLE];
  readonly judgedKinds = this.writeKinds;
  readonly bareKinds = this.writeKinds;
  readonly #options: JointServiceOptions;
  readonly #runner: KvRunner;
  readonly #wholes: WholeActs;
  readonly #image = new RecordImage();
  /** Acts committed here that are not over. */
  readonly #committed = new Set<number>();
  /** Acts that were over before the roll came, which may name them. */
  readonly #over = new Set<number>();
  #awaitsRoll: boolean;
  readonly #rollEndsMs: number;

  constructor(options: JointServiceOptions) {
    this.#options = options;
    this.#runner = new KvRunner(options);
    this.#wholes = new WholeActs(options);
    this.#awaitsRoll = options.awaitsRoll;
    this.#rollEndsMs = options.monotonicMs() + ROLL_WAIT_MS;
    if (!options.awaitsRoll) return;
    options.held.hold(ROLL_ACT, true, true, []);
    // Others may still have to log what only the log of the thread before has.
    if (options.log.committed.size > 0) options.log.keepAll(true);
  }

  answer(request: GridRequest): RequestAnswer {
    const { kind, body, nowMs } = request;
    switch (kind) {
      case REQUEST_ACT_HOLD:
        return this.#hold(decodeHold(body), nowMs);
      case REQUEST_ACT_COMMIT:
        return [encoder.encode(this.#commit(decodeWrites(body), request))];
      case REQUEST_ACT_APPLY:
        this.#apply(decodeWrites(body), nowMs);
        return [];
      case REQUEST_ACT_WHOLE:
        return this.#whole(decodeWhole(body), request);
      case REQUEST_ACT_RELEASE:
        this.#release(decodeAct(body));
        return [];
      default:
        this.#rolled(decodeRoll(body));
        return [];
    }
  }

  /** A gateway that never tells has nothing to tell. */
  tick(): void {
    if (this.#awaitsRoll && this.#options.monotonicMs() >= this.#rollEndsMs) this.#rolled([]);
  }

  #hold(ask: HoldAsk, nowMs: number): RequestAnswer {
    const { held, restore, clock } = this.#options;
    if (this.#over.has(ask.act)) return [encodeHoldAnswer(refused(NOT_RUN))];
    held.hold(ask.act, ask.isExclusive, ask.isEverything, ask.keys);
    const refusal = ask.isExclusive ? this.#refusalOf(ask) : '';
    if (refusal !== '') return this.#refuse(ask, refusal);
    if (ask.change.length > 0) return this.#holdWhole(ask, nowMs);
    const isHeld = this.#isHeld(ask.act);
    const answered = runWhenHere(
      () => this.#tell(ask, nowMs),
      () => (isHeld() ? this.#tell(ask, clock()) : refused(GIVEN_UP)),
      restore,
    );
    return answered instanceof Promise ? this.#late(answered) : [encodeHoldAnswer(answered)];
  }

  #holdWhole(ask: HoldAsk, nowMs: number): RequestAnswer {
    const told = (refusal: string): HoldAnswer => {
      if (refusal !== '') this.#options.held.release(ask.act);
      return refused(refusal);
    };
    const refusal = this.#wholes.refusal(ask.change, nowMs, this.#isHeld(ask.act));
    return refusal instanceof Promise ? this.#late(refusal.then(told)) : [encodeHoldAnswer(told(refusal))];
  }

  #whole({ act, step, change }: WholeAsk, request: GridRequest): RequestAnswer {
    switch (step) {
      case 'decide':
        return this.#decide(act, change, request);
      case 'do':
        return this.#do(act, change, request.nowMs);
      default:
        this.#wholes.over(act);
        return [];
    }
  }

  #decide(act: number, change: Uint8Array, { nowMs, isLogged }: GridRequest): RequestAnswer {
    if (isLogged === true && !this.#wholes.isDone(act)) return [encoder.encode(NOT_RUN)];
    const isHeld = this.#isHeld(act);
    const told = (refusal: string, isWanted: boolean): Uint8Array => {
      if (refusal !== '') this.#end(act);
      else if (isWanted) this.#keep(act);
      return encoder.encode(refusal);
    };
    const refusal = this.#wholes.decide(act, change, nowMs, isHeld);
    return refusal instanceof Promise ? latePart(refusal.then((text) => told(text, isHeld()))) : [told(refusal, true)];
  }

  #do(act: number, change: Uint8Array, nowMs: number): RequestAnswer {
    const isHeld = this.#isHeld(act);
    // A worker that replaces another holds it perhaps no more, if the roll was late. RELEASE comes behind this.
    if (!this.#wholes.isDone(act)) this.#options.held.hold(act, true, true, []);
    const kept = (isWanted: boolean): Uint8Array => {
      if (isWanted) this.#keep(act);
      return NO_BYTES;
    };
    const done = this.#wholes.do(act, change, nowMs, isHeld);
    return done instanceof Promise ? latePart(done.then(() => kept(isHeld()))) : [kept(true)];
  }

  /** Whether the gateway still wants the act. What a worker before this one was asked is held by the roll until the gateway has told. */
  #isHeld(act: number): () => boolean {
    return () => (this.#awaitsRoll && !this.#over.has(act)) || this.#committed.has(act) || this.#options.held.holds(act);
  }

  /** The act is in the log, and the log stays until the act is released. */
  #keep(act: number): void {
    this.#committed.add(act);
    this.#options.log.keepAll(true);
    this.#options.held.release(act);
  }

  async *#late(answer: Promise<HoldAnswer>): LateParts {
    yield encodeHoldAnswer(await answer);
  }

  #refuse({ act }: HoldAsk, refusal: string): RequestAnswer {
    this.#options.held.release(act);
    return [encodeHoldAnswer(refused(refusal))];
  }

  /** Why the keys could not be written now; ''. Their maps are opened. */
  #refusalOf({ keys }: HoldAsk): string {
    const { maps, refusal } = this.#options;
    const newKeys = new Map<string, number>();
    for (const { space, key } of keys) {
      const map = maps.openByName(space);
      if (map === undefined) return TOO_MANY_MAPS;
      const keyHash = fnv1aUtf8(key, 0, key.length);
      const refused = refusal(partitionOf(keyHash), 0);
      if (refused >= 0) return replyOfNumber(refused);
      const alike = this.#alikeKeys(map, key);
      const place = `${decodeText(space, 0, space.length)}:${keyHash}`;
      const ofAct = newKeys.get(place) ?? 0;
      if (alike + ofAct >= ALIKE_MAX) return KEYS_ALIKE;
      if (alike >= 0) newKeys.set(place, ofAct + 1);
    }
    return '';
  }

  #alikeKeys(map: GridMap, key: Uint8Array): number {
    const nothing = { space: map.name, value: NO_BYTES, isRemoval: true, millis: 0, counter: 0, ttlMs: Number.NaN };
    return map.existing(KIND_LWW)?.alikeKeys(this.#imageOf({ key, ...nothing })) ?? 0;
  }

  #tell({ told, wholes, watched, isEverything, commands }: HoldAsk, nowMs: number): HoldAnswer {
    const runner = this.#runner;
    runner.nowMs = nowMs;
    const replies = commands.length === 0 ? NO_BYTES : runner.runAll(commands, TOLD_BYTES_MAX);
    if (replies === undefined) return refused(TOO_LARGE);
    const keys: ToldKey[] = [];
    let toldBytes = 0;
    for (const [index, { space, key }] of told.entries()) {
      const from = runner.spaceNamed(space);
      const behind = (): Uint8Array[] => told.slice(index).flatMap((other) => (isSame(other.space, space) ? [other.key] : []));
      const one = tellOr(from, space, key, () => from.assertHere(behind()));
      toldBytes += bytesTold(one);
      if (toldBytes > TOLD_BYTES_MAX) return refused(TOO_LARGE);
      keys.push(one);
    }
    const known = new Set(keys.map(nameOf));
    let bytes = 0;
    for (const name of wholes) {
      const space = runner.spaceNamed(name);
      space.whole.visitAll((key) => {
        const one = { space: name, key: key.slice() };
        if (known.has(nameOf(one))) return true;
        const record = tellOr(space, name, one.key, () => space.whole.assertHere());
        keys.push(record);
        bytes += bytesTold(record);
        return bytes <= WHOLE_BYTES_MAX;
      });
    }
    if (bytes > WHOLE_BYTES_MAX) return refused(TOO_LARGE);
    const versions = watched.map(({ space, key }) => runner.versionIn(runner.spaceNamed(space), key));
    return { refusal: '', told: keys, versions, hashNames: isEverything ? runner.hashNames() : [], replies };
  }

  /** '' when the act is in the log and applied here, or why nothing of it is. */
  #commit(writes: ActWrites, request: GridRequest): string {
    const { act, own, others } = writes;
    const { log } = this.#options;
    const isCommitted = this.#committed.has(act) || log.committed.has(act);
    if (!isCommitted && request.isLogged === true) return NOT_RUN;
    if (!isCommitted) {
      const refusal = this.#writeRefusal(writes);
      if (refusal !== '') return refusal;
      log.commit(act);
      for (const write of others) log.foreign(write.space, this.#imageOf(write));
      for (const write of own) this.#join(write, request.nowMs);
    }
    this.#keep(act);
    return '';
  }

  #apply({ act, own }: ActWrites, nowMs: number): void {
    for (const write of own) this.#join(write, nowMs);
    this.#end(act);
  }

  #release(act: number): void {
    this.#end(act);
    this.#wholes.forget(act);
    if (this.#committed.delete(act) && this.#committed.size === 0 && !this.#awaitsRoll) this.#options.log.keepAll(false);
  }

  #end(act: number): void {
    this.#options.held.release(act);
    if (this.#awaitsRoll) this.#over.add(act);
  }

  #rolled(holds: readonly HoldAsk[]): void {
    if (!this.#awaitsRoll) return;
    this.#awaitsRoll = false;
    const { held, log } = this.#options;
    for (const { act, isExclusive, isEverything, keys } of holds) {
      if (this.#over.has(act)) continue;
      if (!this.#committed.has(act)) held.hold(act, isExclusive, isEverything, keys);
      if (log.committed.has(act)) this.#committed.add(act);
    }
    log.keepAll(this.#committed.size > 0);
    this.#over.clear();
    held.release(ROLL_ACT);
  }

  #writeRefusal({ own, others }: ActWrites): string {
    const { maps, refusal } = this.#options;
    for (const write of own) {
      const refused = refusal(partitionOf(fnv1aUtf8(write.key, 0, write.key.length)), write.value.length);
      if (refused >= 0) return replyOfNumber(refused);
    }
    for (const write of [...own, ...others]) {
      const map = maps.openByName(write.space);
      if (map === undefined) return TOO_MANY_MAPS;
      const reply = map.guard === undefined ? '' : replyOfGuard(map.guard, this.#imageOf(write));
      if (reply !== '') return reply;
    }
    return '';
  }

  /** A newer write of a browser that came meanwhile stays. */
  #join(write: StampedWrite, nowMs: number): void {
    const { maps, changes } = this.#options;
    const map: GridMap | undefined = maps.openByName(write.space);
    if (map === undefined) return; // opened when it was held
    const image = this.#imageOf(write);
    const isNew = map.store(KIND_LWW).rejoin(image, nowMs) === JOIN_APPLIED; // it was judged when it was held
    if (!isNew || !isUtf8(write.key, 0, write.key.length)) return;
    changes.changed(map, write.isRemoval ? OP_REMOVE : OP_PUT, image, 0, 0, false);
  }

  #imageOf({ key, value, isRemoval, millis, counter, ttlMs }: StampedWrite): RecordImage {
    const { nodeId } = this.#options;
    const image = this.#image;
    const source = new Uint8Array(key.length + nodeId.length + value.length);
    source.set(key);
    source.set(nodeId, key.length);
    source.set(value, key.length + nodeId.length);
    image.source = source;
    image.keyStart = 0;
    image.keyBytes = key.length;
    image.keyHash = fnv1aUtf8(key, 0, key.length);
    image.tagStart = key.length;
    image.nodeStart = key.length;
    image.nodeBytes = nodeId.length;
    image.valueStart = key.length + nodeId.length;
    image.valueBytes = value.length;
    image.millis = millis;
    image.counter = counter;
    image.ttlMs = ttlMs;
    image.tombstone = isRemoval;
    image.provenance = PROVENANCE_CLIENT;
    return image;
  }
}

async function* latePart(answer: Promise<Uint8Array>): LateParts {
  yield await answer;
}

/** Where the value was dropped from memory, `widen` names more that are to be read back with it. Throws ValueAway. */
function tellOr(from: RecordSpace, space: Uint8Array, key: Uint8Array, widen: () => void): ToldKey {
  try {
    return from.tell(space, key);
  } catch (error) {
    if (error instanceof ValueAway) widen();
    throw error;
  }
}

function bytesTold({ space, key, value }: ToldKey): number {
  return space.length + key.length + value.length + TOLD_RECORD_BYTES;
}

function refused(refusal: string): HoldAnswer {
  return { refusal, told: [], versions: [], hashNames: [], replies: NO_BYTES };
}
