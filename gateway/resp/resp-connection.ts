/**
 * One client of the Redis door: its bytes in, commands in their order, replies in the same order.
 *
 *   chunk ─ RespParser ─ command ─┬─ of the connection (PING, SELECT, …): a reply of its own     ┐ one Turn:
 *                                 └─ CommandRouter: into the requests of the workers             ┘ one write (reply-line.ts)
 *
 * It stops parsing, and reading, while its line of replies must wait. A client that does not read what it asked for is bounded: when it
 * has not read for long it is closed.
 */
import { AssertionError } from '../../engine/assert.ts';
import { type CommandSpec, KvError } from '../../engine/domains/kv/command.ts';
import { FULL_ACCESS } from '../../engine/domains/security/access.ts';
import { RESP_ERROR, RESP_NEEDS_MORE, type RespCommand, type RespLimits, RespParser } from '../../engine/protocol/resp-parser.ts';
import { ReplyTooLarge, type RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { Principal } from '../authentication.ts';
import type { SessionAccess } from '../subject-access.ts';
import { actTogether } from './act-commands.ts';
import { commandNamed } from './command-names.ts';
import { HANG_UP, refusalOf } from './command-refusals.ts';
import { commandFor } from './command-rights.ts';
import { CONNECTION_COMMANDS, type ConnectionCommand } from './connection-commands.ts';
import { type AloneWork, REPLY_TOO_LARGE, ReplyLine } from './reply-line.ts';
import type { RespContext } from './resp-context.ts';
import type { RespSocket } from './resp-socket.ts';
import { Subscriptions } from './subscriptions.ts';
import { copied, type QueuedCommand, Transaction } from './transaction.ts';

const RESP_LIMITS: RespLimits = { argumentsMax: 1 << 20, bulkBytesMax: 8 << 20, commandBytesMax: 32 << 20 };

/** Inside MULTI these are run at once. */
const ENDS_QUEUE = new Set(['multi', 'exec', 'discard', 'watch', 'quit', 'reset']);

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
  isGone = false;
  readonly transaction = new Transaction();
  readonly subscriptions: Subscriptions = new Subscriptions(this);
  readonly #parser = new RespParser(RESP_LIMITS);
  readonly #line: ReplyLine;
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
    this.#line = new ReplyLine(this, () => this.#run());
    this.isAuthenticated = !context.authenticator.required && context.config.respPassword === undefined;
    this.#parser.isTrusted = this.isAuthenticated;
    if (this.isAuthenticated) this.access = context.accessControl.accessOf(undefined);
  }

  get openCalls(): number {
    return this.#line.open;
  }

  /** Bytes of the requests that wait until workers take them. */
  get heldBytes(): number {
    return this.#line.heldBytes;
  }

  /** Bytes of replies that the client has not read. */
  get unreadBytes(): number {
    return this.#line.unwrittenBytes + this.socket.unreadBytes;
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

  /** A worker may take requests again. Answers with the one that the connection still waits for, -1 when it does not. */
  retry(nowMs: number): number {
    return this.#line.retry(nowMs);
  }

  closed(): void {
    this.isClosing = true;
    this.isGone = true;
    this.#line.end();
    this.subscriptions.end();
  }

  /** Says why, and closes behind it. */
  kill(): void {
    this.isClosing = true;
    this.isGone = true;
    this.#line.end();
    this.socket.destroy();
  }

  /** Something threw that nobody expects: ends the connection that it befell. A failed assertion ends the thread, as everywhere. */
  failed(error: unknown): void {
    if (error instanceof AssertionError) throw error;
    this.context.log('warn', 'a connection failed and is closed', { door: 'resp', error: String(error) });
    this.kill();
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
    this.#line.closeBehind();
  }

  /** Runs a command alone: behind all before it, and nothing that follows is run before `work` has written its reply. */
  alone(work: AloneWork): void {
    this.#line.alone(work);
  }

  /** Runs a command that asks workers by a way of its own: behind all commands before it, beside others that do the same. */
  later(work: AloneWork): void {
    this.#line.later(work);
  }

  /** Something that the client did not ask for now: a push. */
  push(bytes: Uint8Array): void {
    if (!this.isClosing) this.#line.push(bytes);
  }

  #run(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      let mayHaveMore = true;
      while (mayHaveMore) {
        const hadMore = this.#takeIn();
        this.#line.advance();
        mayHaveMore = hadMore && !this.#line.mustWait; // writing what was done may have made room
      }
    } catch (error) {
      this.#line.abandon();
      this.failed(error);
    } finally {
      this.#isRunning = false;
    }
    this.#setPaused(this.#line.mustWait);
  }

  /** Runs commands that have arrived. False when there are none left. */
  #takeIn(): boolean {
    while (!this.#line.mustWait) {
      const step = this.#parser.next();
      if (step === RESP_NEEDS_MORE) return false;
      if (step === RESP_ERROR) {
        this.#line.reply((out) => out.error(`ERR Protocol error: ${this.#parser.error}`));
        this.closeBehind();
        return false;
      }
      this.#execute(this.#parser.command);
    }
    return true;
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
    const refusal = refusalOf(this, spec, name, args);
    if (refusal !== undefined) {
      if (refusal === HANG_UP) this.kill();
      else this.#line.reply((out) => out.error(refusal));
      this.transaction.isSpoilt = this.transaction.isOpen;
    } else if (spec !== undefined && this.transaction.isOpen && !ENDS_QUEUE.has(name)) this.#queue(spec, args);
    else {
      if (this.lastCommand !== name) this.lastCommand = name;
      if (own !== undefined) this.#runOwn(own, args);
      else if (routed !== undefined) this.#route(routed.number, routed.spec, args);
    }
    this.#muteIfAsked();
  }

  /** A token ends, and with it what it allowed. */
  get isKnown(): boolean {
    if (!this.isAuthenticated) return false;
    return this.principal === undefined || this.context.clock.wallMs < this.principal.expiresSeconds * 1000;
  }

  #queue(spec: CommandSpec, args: RespCommand): void {
    const refusal = this.#queueRefusal(spec);
    this.#line.reply((out) => {
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

  /** A command of the connection itself that was queued. */
  async runQueued({ spec, args }: QueuedCommand, out: RespWriter): Promise<void> {
    const own = CONNECTION_COMMANDS.get(spec.name);
    if (own !== undefined) this.#answerOwn(own, args, out);
    await this.#line.within(out);
  }

  #runOwn(own: ConnectionCommand, args: RespCommand): void {
    this.#line.reply((out) => {
      const start = out.length;
      try {
        this.#answerOwn(own, args, out);
      } catch (error) {
        if (!(error instanceof ReplyTooLarge)) throw error;
        out.length = start;
        out.error(REPLY_TOO_LARGE);
      }
    });
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
    const turn = this.#line.current();
    const command = { number, spec, args, db: this.db, isResp3: this.isResp3 };
    if (this.context.router.route(command, turn)) return;
    const own = { ...command, args: copied(args) };
    this.alone((out) => actTogether(this.context, own, out));
  }

  #muteIfAsked(): void {
    const mutes = this.replies === 'off' || this.#muteNext;
    this.#muteNext = this.replies === 'skip';
    if (this.replies === 'skip') this.replies = 'on';
    if (mutes) this.#line.mute();
  }
}
