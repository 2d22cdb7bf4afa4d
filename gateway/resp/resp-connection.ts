/**
 * One client of the Redis door: its bytes in, commands in their order, replies in the same order.
 *
 *   chunk ─ RespParser ─ command ─┬─ of the connection (PING, SELECT, …): a reply of its own     ┐ one Turn:
 *                                 └─ CommandRouter: into the requests of the workers             ┘ one write
 *
 *   turns   [done] [waits for worker 1] [done]      written from the front, as far as they are done
 *
 * It stops parsing, and reading, while a command must be alone (AUTH by token, EXEC over several workers), while many turns are
 * under way, while a worker takes nothing, or while the client does not read. A client that does not read what it asked for is
 * bounded: above UNREAD_BYTES_HIGH nothing more is written to it or taken from it, and when it has not read for long it is closed.
 */
import { CommandBatchWriter, replyStarts } from '../../engine/domains/kv/command-batch.ts';
import { commandNumber } from '../../engine/domains/kv/commands.ts';
import { hasArity, KvError, wrongArguments, type CommandSpec } from '../../engine/domains/kv/command.ts';
import { replyOf } from '../../engine/domains/kv/refused-reply.ts';
import { touchedBy } from '../../engine/domains/kv/touched-keys.ts';
import { changesWholes, wholeChangeOf } from '../../engine/domains/kv/whole-changes.ts';
import { FULL_ACCESS } from '../../engine/domains/security/access.ts';
import { REQUEST_COMMANDS } from '../../engine/protocol/envelope.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { RESP_ERROR, RESP_NEEDS_MORE, type RespCommand, type RespLimits, RespParser } from '../../engine/protocol/resp-parser.ts';
import { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { Principal } from '../authentication.ts';
import { NO_CONNECTION } from '../door-calls.ts';
import { Session } from '../session.ts';
import type { SessionAccess } from '../subject-access.ts';
import { commandNamed } from './command-names.ts';
import { commandFor, forbiddenMap, noPermission, seesDatabase } from './command-rights.ts';
import { COMMANDS_BY_NAME, isCuttable, type RoutedCommand } from './command-router.ts';
import { CONNECTION_COMMANDS, type ConnectionCommand } from './connection-commands.ts';
import { scanHash } from './hash-scan.ts';
import { concat, integersOf } from './merge.ts';
import type { RespContext } from './resp-context.ts';
import type { RespSocket } from './resp-socket.ts';
import { Subscriptions } from './subscriptions.ts';
import { copied, type QueuedCommand, transact, Transaction, type WatchedKey, writeOutcome } from './transaction.ts';
import { Turn } from './turn.ts';

export const RESP_LIMITS: RespLimits = { argumentsMax: 1 << 20, bulkBytesMax: 8 << 20, commandBytesMax: 32 << 20 };

const TURNS_MAX = 8;
/** Bytes of requests that a connection may have under way. */
const TURN_BYTES_MAX = 256 * 1024;
/** Publications of one turn. */
const LATERS_MAX = 64;
const UNREAD_BYTES_HIGH = 1 << 20;
/** What a client may send before it has authenticated. */
const BEFORE_AUTH = new Set(['auth', 'hello', 'quit', 'reset']);
/** Lines of other protocols: somebody makes a browser talk to us. */
const FOREIGN = new Set(['post', 'host:']);
const NO_BYTES = new Uint8Array(0);

export class RespConnection {
  readonly id: number;
  readonly context: RespContext;
  readonly socket: RespSocket;
  readonly openedMs: number;
  lastSeenMs: number;
  isResp3 = false;
  db = 0;
  name = '';
  libName = '';
  libVersion = '';
  user = 'default';
  lastCommand = 'NULL';
  /** What CLIENT REPLY says: `skip` for the next command only. */
  replies: 'on' | 'off' | 'skip' = 'on';
  principal: Principal | undefined;
  access: SessionAccess = FULL_ACCESS;
  isAuthenticated: boolean;
  /** Closed, or about to be. */
  isClosing = false;
  readonly transaction = new Transaction();
  readonly subscriptions: Subscriptions = new Subscriptions(this);
  readonly #parser = new RespParser(RESP_LIMITS);
  readonly #session: Session;
  readonly #turns: Turn[] = [];
  #turn: Turn | undefined;
  /** A sealed turn that could not be sent yet, since when. */
  #held: Turn | undefined;
  #heldSinceMs = 0;
  /** A command that must be alone, found or under way, and the turn of its reply. */
  #alone: AloneWork | undefined;
  #aloneTurn: Turn | undefined;
  /** Found while EXEC runs what was queued. */
  #within: AloneWork | undefined;
  #isAloneMuted = false;
  #isPaused = false;
  /** What was unread when it was looked at last, and since when it is as much. */
  #unreadBytes = 0;
  #unreadSinceMs = 0;
  #isRunning = false;
  #muteNext = false;

  constructor(id: number, socket: RespSocket, context: RespContext) {
    this.id = id;
    this.socket = socket;
    this.context = context;
    this.openedMs = context.clock.nowMs;
    this.lastSeenMs = this.openedMs;
    this.#session = new Session(-id, NO_CONNECTION, true, this.openedMs);
    this.isAuthenticated = !context.authenticator.required && context.config.respPassword === undefined;
    this.#parser.isTrusted = this.isAuthenticated;
    if (this.isAuthenticated) this.access = context.accessControl.accessOf(undefined);
  }

  get openCalls(): number {
    return this.#turns.length;
  }

  get pendingBytes(): number {
    return this.#parser.pendingBytes;
  }

  received(chunk: Uint8Array): void {
    if (this.isClosing) return;
    this.context.clock.frame();
    this.lastSeenMs = this.context.clock.nowMs;
    this.#parser.feed(chunk);
    this.#run();
  }

  /** The client has read: go on with what it sent. */
  drained(): void {
    this.#run();
  }

  /** True for a client that has left unread what it was sent for so long. Asked now and then. */
  hasStalled(nowMs: number, timeoutMs: number): boolean {
    const { unreadBytes } = this.socket;
    if (unreadBytes === 0 || unreadBytes !== this.#unreadBytes) {
      this.#unreadBytes = unreadBytes;
      this.#unreadSinceMs = nowMs;
    }
    return nowMs - this.#unreadSinceMs > timeoutMs;
  }

  /** A worker may take requests again. False while the connection still waits. */
  retry(nowMs: number): boolean {
    const held = this.#held;
    if (held === undefined || this.isClosing) return true;
    if (!this.#trySend(held)) {
      if (nowMs - this.#heldSinceMs <= this.context.config.opTimeoutMs) return false;
      held.fail('TRYAGAIN UNAVAILABLE no worker took the command in time: it was not run');
    }
    this.#held = undefined;
    this.#run();
    return true;
  }

  closed(): void {
    this.isClosing = true;
    this.#held = undefined;
    this.#turns.length = 0;
    this.subscriptions.end();
  }

  /** Says why, and closes behind it. */
  kill(): void {
    this.isClosing = true;
    this.socket.destroy();
  }

  /** Ends a connection whose client does not read. */
  killSlow(): void {
    this.context.onSlowClosed();
    this.kill();
  }

  /** The principal of this connection from now on. */
  authenticate(principal: Principal | undefined, user: string): void {
    this.principal = principal;
    this.user = user;
    this.access = this.context.accessControl.accessOf(principal);
    this.isAuthenticated = true;
    this.#parser.isTrusted = true;
  }

  /** True where nobody asks who it is, and for the role `admin`. */
  get isAdmin(): boolean {
    if (this.principal !== undefined) return this.principal.roles.includes('admin');
    return this.isAuthenticated;
  }

  /** Throws KvError for whom the server as a whole is none of its business. */
  assertAdmin(command: string): void {
    if (!this.isAdmin) throw new KvError(`NOPERM this user has no permissions to run the '${command}' command`);
  }

  /** Back to what a new connection is. */
  reset(): void {
    const { authenticator, config, accessControl } = this.context;
    this.transaction.end();
    this.subscriptions.clear();
    this.isResp3 = false;
    this.db = 0;
    this.name = '';
    this.replies = 'on';
    this.principal = undefined;
    this.user = 'default';
    this.isAuthenticated = !authenticator.required && config.respPassword === undefined;
    this.#parser.isTrusted = this.isAuthenticated;
    this.access = this.isAuthenticated ? accessControl.accessOf(undefined) : FULL_ACCESS;
  }

  /** Keys of each database, and about how many of them expire. */
  async countKeys(): Promise<(readonly [keys: number, expiring: number])[]> {
    const { calls, writers } = this.context;
    const counts: [number, number][] = [];
    const number = commandNumber('keyspace');
    const bodies = writers.map(() => {
      const writer = new CommandBatchWriter();
      writer.begin(number, false, 0, 0);
      return writer.take();
    });
    const answers = await calls.request(REQUEST_COMMANDS, calls.everyone, (worker) => bodies[worker] ?? NO_BYTES);
    for (const [body] of answers) {
      if (body === undefined) continue;
      const numbers = integersOf(body.subarray(replyStarts(body)[0]));
      for (let db = 0; 2 * db < numbers.length; db++) {
        const [keys, expiring] = counts[db] ?? [0, 0];
        counts[db] = [keys + (numbers[2 * db] ?? 0), expiring + (numbers[2 * db + 1] ?? 0)];
      }
    }
    return counts;
  }

  get isSubscriber(): boolean {
    return this.subscriptions.count > 0;
  }

  /** Commands queued by MULTI; -1: there is none. */
  get queuedCommands(): number {
    return this.transaction.queued?.length ?? -1;
  }

  /** Closes behind the reply of the command at hand; what follows it is not run. */
  closeBehind(): void {
    this.isClosing = true;
    if (this.#turn !== undefined) this.#turn.closes = true;
  }

  /** Runs a command alone: behind all before it, and nothing that follows is run before `work` has written its reply. */
  alone(work: AloneWork): void {
    if (this.#aloneTurn === undefined) this.#alone = work;
    else this.#within = work;
  }

  /** Runs a command that asks workers by a way of its own: behind all commands before it, beside others that do the same. */
  later(work: AloneWork): void {
    const { writers } = this.context;
    const mustFollow = this.#turns.some((turn) => !turn.isDone && turn.bodies.size > 0) || writers.some(({ count }) => count > 0);
    if (mustFollow || this.#aloneTurn !== undefined) return this.alone(work);
    const turn = this.#currentTurn();
    const fill = turn.addLater();
    void this.#written(work).then(fill);
  }

  /** Something that the client did not ask for now: a push. */
  push(bytes: Uint8Array): void {
    if (this.isClosing) return;
    this.#write(bytes);
  }

  #run(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (!this.#mustWait()) {
      const step = this.#parser.next();
      if (step === RESP_NEEDS_MORE) break;
      if (step === RESP_ERROR) {
        this.#reply((out) => out.error(`ERR Protocol error: ${this.#parser.error}`));
        this.closeBehind();
        break;
      }
      this.#execute(this.#parser.command);
    }
    this.#isRunning = false;
    this.#send();
    if (this.#alone !== undefined && this.#aloneTurn === undefined) this.#queueAlone();
    this.#flush();
    this.#setPaused(this.#mustWait());
  }

  #mustWait(): boolean {
    if (this.isClosing || this.#alone !== undefined || this.#held !== undefined) return true;
    if (this.#turn !== undefined && this.#isFull(this.#turn)) this.#send();
    return this.#held !== undefined || this.#turns.length >= TURNS_MAX || this.socket.unreadBytes > UNREAD_BYTES_HIGH;
  }

  #isFull({ laters }: Turn): boolean {
    let bytes = this.context.local.length;
    for (const writer of this.context.writers) bytes += writer.bytesLength;
    return bytes > TURN_BYTES_MAX || laters >= LATERS_MAX;
  }

  #setPaused(isPaused: boolean): void {
    if (isPaused === this.#isPaused || this.isClosing) return;
    this.#isPaused = isPaused;
    if (isPaused) this.socket.pause();
    else this.socket.resume();
  }

  #execute(args: RespCommand): void {
    const named = commandNamed(args.bytes, args.starts[0] ?? 0, args.lengths[0] ?? 0);
    const name = named?.name ?? args.text(0).toLowerCase();
    const own = named?.own;
    const routed = own === undefined ? commandFor(this.access, named?.ofWorkers, args) : undefined;
    const spec = own?.spec ?? routed?.spec;
    this.context.counters.respCommands += 1;
    const refusal = this.#refusalOf(spec, name, args);
    if (refusal !== undefined) {
      if (refusal === HANG_UP) this.kill();
      else this.#reply((out) => out.error(refusal));
      this.transaction.isSpoilt = this.transaction.isOpen;
    } else if (spec !== undefined && this.transaction.isOpen && !ENDS_QUEUE.has(name)) this.#queue(spec, args);
    else {
      this.lastCommand = name;
      if (own !== undefined) this.#runOwn(own, args);
      else if (routed !== undefined) this.#route(routed.number, routed.spec, args);
    }
    this.#muteIfAsked();
  }

  /** Why the command is not run, as Redis checks it: known, arity, authenticated, permitted. */
  #refusalOf(spec: CommandSpec | undefined, name: string, args: RespCommand): string | undefined {
    if (spec === undefined) return FOREIGN.has(name) ? HANG_UP : unknownCommand(args);
    if (!hasArity(spec, args.count)) return wrongArguments(spec.name);
    if (!this.isKnown && !BEFORE_AUTH.has(name)) return 'NOAUTH Authentication required.';
    if (this.isSubscriber && !this.isResp3 && !IN_SUBSCRIBER.has(name)) return notInSubscriber(args);
    return spec.route === 'gateway'
      ? undefined
      : this.#forbidden(spec, args, this.transaction.isOpen ? this.transaction.db : this.db);
  }

  /** A token ends, and with it what it allowed. */
  get isKnown(): boolean {
    if (!this.isAuthenticated) return false;
    return this.principal === undefined || this.context.clock.wallMs < this.principal.expiresSeconds * 1000;
  }

  #forbidden(spec: CommandSpec, args: RespCommand, db: number): string | undefined {
    const mapName = forbiddenMap(this.access, spec, args, db);
    return mapName === undefined ? undefined : noPermission(args.text(0).toLowerCase(), mapName);
  }

  #queue(spec: CommandSpec, args: RespCommand): void {
    const refusal = this.#queueRefusal(spec);
    this.#reply((out) => {
      try {
        if (refusal !== undefined) throw new KvError(refusal);
        this.transaction.queue(spec, args);
        out.simple('QUEUED');
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        this.transaction.isSpoilt = true;
        out.error(error.message);
      }
    });
  }

  #queueRefusal({ name }: CommandSpec): string | undefined {
    return name === 'shutdown' ? 'ERR Command not allowed inside a transaction' : undefined;
  }

  /** EXEC. */
  async execute(queued: readonly QueuedCommand[], watched: readonly WatchedKey[], out: RespWriter): Promise<void> {
    const commands = queued.filter(({ spec }) => spec.route !== 'gateway').map((command) => this.#asNow(command));
    const hidden = watched.find(({ db }) => !seesDatabase(this.access, db));
    if (hidden !== undefined) return out.error(noPermission('exec', `db${hidden.db}`));
    for (const { spec, args, db } of commands) {
      const refusal = this.#forbidden(spec, args, db);
      if (refusal !== undefined) return out.error(refusal);
    }
    const owner = this.#onlyOwner(commands, watched);
    const outcome =
      owner >= 0
        ? await transact(this.context, owner, watched, commands, this.isResp3)
        : await this.context.acts.write(commands, watched, this.isResp3);
    if (outcome === 'changed') out.nilArray();
    else if (typeof outcome === 'string') out.error(outcome);
    else await writeOutcome(out, queued, outcome, (command, to) => this.#runQueued(command, to));
  }

  /** Rights may have changed since it was queued: a name that may not be emptied any more is no hash to DEL. */
  #asNow(command: QueuedCommand): QueuedCommand {
    const routed = commandFor(this.access, COMMANDS_BY_NAME.get(command.spec.name), command.args);
    return routed === undefined || routed.spec === command.spec ? command : { ...command, spec: routed.spec };
  }

  async #runQueued({ spec, args }: QueuedCommand, out: RespWriter): Promise<void> {
    const own = CONNECTION_COMMANDS.get(spec.name);
    if (own !== undefined) this.#answerOwn(own, args, out);
    const late = this.#within;
    this.#within = undefined;
    if (late !== undefined) await answerLate(out, late);
  }

  /** The worker that owns all that is touched; -1: there are several. */
  #onlyOwner(commands: readonly QueuedCommand[], watched: readonly WatchedKey[]): number {
    const { router, writers } = this.context;
    if (writers.length === 1) return 0;
    const owners = new Set<number>();
    for (const { versions } of watched) for (const worker of versions.keys()) owners.add(worker);
    for (const { spec, args, db } of commands) {
      const { isEverything, keys } = touchedBy(spec, args, db);
      if (isEverything) return -1;
      if (keys.some((key) => router.mayNameMap(key))) return -1;
      for (const { key } of keys) owners.add(router.ownerOfKey(key));
    }
    const [owner = 0] = owners;
    return owners.size > 1 ? -1 : owner;
  }

  #runOwn(own: ConnectionCommand, args: RespCommand): void {
    this.#reply((out) => this.#answerOwn(own, args, out));
  }

  #answerOwn(own: ConnectionCommand, args: RespCommand, out: RespWriter): void {
    const start = out.length;
    try {
      own.run(this, args, out);
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      out.length = start;
      out.error(error.message);
    }
  }

  #route(number: number, spec: CommandSpec, args: RespCommand): void {
    const turn = this.#currentTurn();
    const command = { number, spec, args, db: this.db, isResp3: this.isResp3 };
    if (this.context.router.route(command, turn)) return;
    const own = { ...command, args: copied(args) };
    this.alone((out) => this.#actTogether(own, out));
  }

  /** Runs a command of several workers as one. */
  async #actTogether(command: RoutedCommand, out: RespWriter): Promise<void> {
    try {
      const { spec } = command;
      const touched = touchedBy(spec, command.args, command.db);
      if (changesWholes(spec)) return await this.#changeWholes(command, out);
      if (spec.name === 'hscan') return await scanHash(this.context, command, out);
      const { acts, router } = this.context;
      const isPlain = spec.fields === undefined ? !touched.keys.some((key) => router.mayNameMap(key)) : router.knowsHash(command);
      const outcome =
        isPlain && isCuttable(spec) ? await this.#readTogether(command) : await acts.write([command], [], this.isResp3);
      if (typeof outcome === 'string') out.error(outcome);
      else for (const reply of outcome) out.raw(reply);
    } catch (error) {
      if (error instanceof KvError) return out.error(error.message);
      if (!(error instanceof GridError)) throw error;
      out.error(replyOf(error));
    }
  }

  async #changeWholes({ spec, args, db }: RoutedCommand, out: RespWriter): Promise<void> {
    const refusal = await this.context.acts.change(wholeChangeOf(spec.name, args, db));
    if (refusal === '') out.ok();
    else out.error(refusal);
  }

  async #readTogether(command: RoutedCommand): Promise<readonly Uint8Array[] | string> {
    const { acts, actRouter, actWriters } = this.context;
    const turn = new Turn(() => {});
    actRouter.cut(command, turn);
    turn.seal(NO_BYTES, actWriters);
    const answers = await acts.read(touchedBy(command.spec, command.args, command.db), turn.bodies);
    if (typeof answers === 'string') return answers;
    for (const [worker, replies] of answers) turn.answered(worker, -1, replies);
    return turn.replies();
  }

  #reply(write: (out: RespWriter) => void): void {
    const { local } = this.context;
    const turn = this.#currentTurn();
    const start = local.length;
    local.isResp3 = this.isResp3;
    write(local);
    if (local.length > start) turn.addLocal(start, local.length);
  }

  #muteIfAsked(): void {
    const mutes = this.replies === 'off' || this.#muteNext;
    this.#muteNext = this.replies === 'skip';
    if (this.replies === 'skip') this.replies = 'on';
    if (!mutes) return;
    if (this.#alone !== undefined) this.#isAloneMuted = true;
    else if (this.#turn !== undefined && !this.#turn.isEmpty) this.#turn.muteLast();
  }

  #currentTurn(): Turn {
    this.#turn ??= new Turn(this.#onTurnDone);
    return this.#turn;
  }

  /** Ends the turn at hand, and sends its requests or holds it until they can be. */
  #send(): void {
    const turn = this.#turn;
    if (turn === undefined) return;
    const { local, writers, clock, hold } = this.context;
    this.#turn = undefined;
    turn.seal(local.length === 0 ? NO_BYTES : local.bytes.slice(0, local.length), writers);
    local.reset();
    if (turn.isEmpty && turn.bodies.size === 0 && !turn.closes) return;
    turn.sentMs = clock.nowMs;
    this.#turns.push(turn);
    if (turn.bodies.size === 0) {
      turn.isAnswered = true;
      return;
    }
    if (this.#trySend(turn)) return;
    this.#held = turn;
    this.#heldSinceMs = clock.nowMs;
    hold(this);
  }

  #trySend(turn: Turn): boolean {
    const { calls, links } = this.context;
    const workers = [...turn.bodies.keys()];
    for (const worker of workers) if (!links.takes(worker)) return false;
    return calls.ask(this.#session, REQUEST_COMMANDS, workers, (worker) => turn.bodies.get(worker) ?? NO_BYTES, turn);
  }

  readonly #onTurnDone = (): void => {
    if (this.isClosing && this.#turns.length === 0) return;
    this.#flush();
    if (!this.#isRunning) this.#run();
  };

  /** Writes the replies of turns that are done, from the oldest on, in one go. */
  #flush(): void {
    const turns = this.#turns;
    if (turns[0]?.isDone !== true || this.socket.unreadBytes > UNREAD_BYTES_HIGH) return;
    const parts: Uint8Array[] = [];
    let closes = false;
    let done = 0;
    for (; done < turns.length && turns[done]?.isDone === true && !closes; done++) {
      const turn = turns[done] as Turn;
      parts.push(...turn.replies());
      closes = turn.closes;
      this.#noteTime(turn);
    }
    turns.splice(0, done);
    this.#startAlone();
    const [first] = parts;
    if (first !== undefined) this.#write(parts.length === 1 ? first : concat(parts));
    if (closes) this.socket.end();
  }

  #noteTime(turn: Turn): void {
    const { slowLog, clock } = this.context;
    const micros = Math.round((clock.nowMs - turn.sentMs) * 1000);
    if (turn.firstCommand === '' || micros < slowLog.thresholdMicros) return;
    slowLog.note({
      atSeconds: Math.floor(clock.wallMs / 1000),
      micros,
      command: turn.firstCommand,
      commands: turn.commands,
      address: this.socket.remoteAddress,
      name: this.name,
      user: this.user,
    });
  }

  #write(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.socket.unreadBytes > this.context.config.sessionBackpressureBytesMax) {
      this.killSlow();
      return;
    }
    this.socket.write(bytes);
  }

  /** Its reply has its place among the turns; the work begins when all before it are done. */
  #queueAlone(): void {
    const turn = new Turn(this.#onTurnDone);
    this.#aloneTurn = turn;
    this.#turns.push(turn);
    this.#startAlone();
  }

  #startAlone(): void {
    const work = this.#alone;
    const turn = this.#aloneTurn;
    if (work === undefined || turn === undefined || this.#turns[0] !== turn || turn.sentMs > 0) return;
    turn.sentMs = this.context.clock.nowMs;
    void this.#finishAlone(turn, work);
  }

  async #finishAlone(turn: Turn, work: AloneWork): Promise<void> {
    const reply = await this.#written(work);
    if (reply.length > 0 && !this.#isAloneMuted) turn.addLocal(0, reply.length);
    this.#isAloneMuted = false;
    turn.seal(reply, []);
    turn.isAnswered = true;
    this.#alone = undefined;
    this.#aloneTurn = undefined;
    this.#onTurnDone();
  }

  /** What the work writes; where the grid refuses it, that alone. */
  async #written(work: AloneWork): Promise<Uint8Array> {
    const out = new RespWriter();
    out.isResp3 = this.isResp3;
    await answerLate(out, work);
    return out.bytes.slice(0, out.length);
  }
}

type AloneWork = (out: RespWriter) => Promise<void>;

/** Lets the work write its reply; where the grid refuses it, that is the reply. */
async function answerLate(out: RespWriter, work: AloneWork): Promise<void> {
  const start = out.length;
  try {
    await work(out);
  } catch (error) {
    if (!(error instanceof GridError)) throw error;
    out.length = start;
    out.error(replyOf(error));
  }
}

/** No reply, and the connection ends. */
const HANG_UP = '';
/** Inside MULTI these are run at once. */
const ENDS_QUEUE = new Set(['multi', 'exec', 'discard', 'watch', 'quit', 'reset']);
/** What a subscriber that speaks RESP2 may do: a reply to anything else would look like a message. */
const IN_SUBSCRIBER = new Set(['subscribe', 'unsubscribe', 'psubscribe', 'punsubscribe', 'ping', 'quit', 'reset']);
/** Commands that have names of their own for what stands behind. */
const CONTAINERS = new Set(['client', 'config', 'command', 'pubsub', 'slowlog', 'latency', 'function', 'memory', 'object']);
const NAME_CHARACTERS_MAX = 128;

function notInSubscriber(args: RespCommand): string {
  const name = args.text(0).toLowerCase();
  const isContainer = CONTAINERS.has(name) && args.count > 1;
  const fullName = isContainer ? `${name}|${args.text(1).toLowerCase()}` : name;
  const code = name === 'exec' ? 'EXECABORT Transaction discarded because of:' : 'ERR';
  return `${code} Can't execute '${fullName}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`;
}

/** As Redis says it, with the arguments it begins with. */
export function unknownCommand(args: RespCommand): string {
  let told = '';
  for (let index = 1; index < args.count && told.length < NAME_CHARACTERS_MAX; index++) {
    told += `'${args.text(index).slice(0, NAME_CHARACTERS_MAX - told.length)}' `;
  }
  return `ERR unknown command '${args.text(0).slice(0, NAME_CHARACTERS_MAX)}', with args beginning with: ${told}`;
}
