/**
 * The replies of one connection, in the order of its commands: turns on their way to the workers and back.
 *
 *   turns   [done] [waits for worker 1] [done]      written from the front, as far as they are done
 *
 * Nothing more is taken in (`mustWait`) while a command must be alone (AUTH by token, EXEC over several workers), while many turns are
 * under way, or few of large replies, while a worker takes nothing, or while the client does not read: above UNREAD_BYTES_HIGH nothing
 * more is written to it. What it was answered and has not read counts, written or not: over all connections, too (unread-replies.ts).
 */
import type { CommandBatchWriter } from '../../engine/domains/kv/command-batch.ts';
import { replyOf } from '../../engine/domains/kv/refused-reply.ts';
import { REQUEST_COMMANDS } from '../../engine/protocol/envelope.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { ReplyTooLarge, RespWriter } from '../../engine/protocol/resp-writer.ts';
import { NO_CONNECTION } from '../door-calls.ts';
import { Session } from '../session.ts';
import { concat } from './merge.ts';
import type { RespConnection } from './resp-connection.ts';
import { Turn } from './turn.ts';

const TURNS_MAX = 8;
/** Bytes of replies that turns under way may come to, if they are as those before them. */
const AWAITED_BYTES_MAX = 8 << 20;
/** The replies of a turn, before there was any: one at a time, until it is known that they are small. */
const TURN_REPLY_BYTES = AWAITED_BYTES_MAX;
/** Replies that are written in one go. */
const WRITE_BYTES_MAX = 256 * 1024;
/** Bytes of requests that a connection may have under way. */
const TURN_BYTES_MAX = 256 * 1024;
/** Publications of one turn. */
const LATERS_MAX = 64;
const UNREAD_BYTES_HIGH = 1 << 20;
/** As much is unread while it is being read. Not less than what a socket may hold without a word when it is gone. */
const UNREAD_BYTES_LOW = 64 * 1024;
const NO_BYTES = new Uint8Array(0);

/** Of one reply that the gateway makes. */
export const REPLY_BYTES_MAX = 32 << 20;
export const REPLY_TOO_LARGE = 'ERR the reply is larger than 32 MiB';

/** Writes a reply when it is time. Rejects with GridError, and ReplyTooLarge. */
export type AloneWork = (out: RespWriter) => Promise<void>;

export class ReplyLine {
  readonly #connection: RespConnection;
  readonly #session: Session;
  /** Goes on with what the client sent. */
  readonly #onRoom: () => void;
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
  /** The reply of a command that runs alone, from its beginning until it is written, and what is pushed meanwhile: that follows it. */
  #made: Turn | undefined;
  #pushes: Uint8Array[] = [];
  #pushedBytes = 0;
  /** Bytes of the replies of a turn, as they were lately. */
  #turnReplyBytes = TURN_REPLY_BYTES;

  constructor(connection: RespConnection, onRoom: () => void) {
    this.#connection = connection;
    this.#onRoom = onRoom;
    this.#session = new Session(-connection.id, NO_CONNECTION, true, connection.openedMs);
  }

  /** Turns under way. */
  get open(): number {
    return this.#turns.length;
  }

  /** Bytes of the requests that wait until workers take them. */
  get heldBytes(): number {
    let bytes = 0;
    for (const body of this.#held?.bodies.values() ?? []) bytes += body.length;
    return bytes;
  }

  /** Bytes of replies that are here and not written. */
  get unwrittenBytes(): number {
    let bytes = this.#pushedBytes;
    for (const turn of this.#turns) bytes += turn.replyBytes;
    return bytes;
  }

  /** Nothing more is to be taken in now. */
  get mustWait(): boolean {
    const { isClosing } = this.#connection;
    if (isClosing || this.#alone !== undefined || this.#held !== undefined) return true;
    if (this.#turn !== undefined) {
      if (!this.#isFull(this.#turn)) return false;
      this.#send();
    }
    return this.#held !== undefined || this.#turns.length >= this.#turnsMax || this.#mustRead;
  }

  get #turnsMax(): number {
    if (this.#connection.context.unread.isMuch) return 1;
    return Math.max(1, Math.min(TURNS_MAX, Math.floor(AWAITED_BYTES_MAX / this.#turnReplyBytes)));
  }

  /** The client is to read before it is answered more. */
  get #mustRead(): boolean {
    const { unreadBytes, context } = this.#connection;
    return unreadBytes > (context.unread.isMuch ? UNREAD_BYTES_LOW : UNREAD_BYTES_HIGH);
  }

  #isFull({ laters }: Turn): boolean {
    const { local, writers } = this.#connection.context;
    let bytes = local.length;
    for (let worker = 0; worker < writers.length; worker++) bytes += (writers[worker] as CommandBatchWriter).bytesLength;
    return bytes > TURN_BYTES_MAX || laters >= LATERS_MAX;
  }

  /** The turn at hand. */
  current(): Turn {
    this.#turn ??= new Turn(this.#onTurnDone, this.#onReplyBytes);
    return this.#turn;
  }

  /** A reply of the connection's own. */
  reply(write: (out: RespWriter) => void): void {
    const { isResp3, context } = this.#connection;
    const { local } = context;
    const turn = this.current();
    const start = local.length;
    local.isResp3 = isResp3;
    write(local);
    if (local.length > start) turn.addLocal(start, local.length);
  }

  /** Runs a command alone: behind all before it, and nothing that follows is run before `work` has written its reply. */
  alone(work: AloneWork): void {
    if (this.#aloneTurn === undefined) this.#alone = work;
    else this.#within = work;
  }

  /** Runs a command that asks workers by a way of its own: behind all commands before it, beside others that do the same. */
  later(work: AloneWork): void {
    const { writers } = this.#connection.context;
    const mustFollow = this.#turns.some((turn) => !turn.isDone && turn.asked !== 0) || writers.some(({ count }) => count > 0);
    if (mustFollow || this.#aloneTurn !== undefined) return this.alone(work);
    const turn = this.current();
    const fill = turn.addLater();
    this.#replyTo(work).then(fill).catch(this.#onFailed);
  }

  /** What a command that EXEC runs left to be done alone. */
  async within(out: RespWriter): Promise<void> {
    const late = this.#within;
    this.#within = undefined;
    if (late !== undefined) await answerLate(out, late);
  }

  /** The client does not want the reply of the command at hand. */
  mute(): void {
    if (this.#alone !== undefined) this.#isAloneMuted = true;
    else if (this.#turn !== undefined && !this.#turn.isEmpty) this.#turn.muteLast();
  }

  /** The connection closes behind the reply of the command at hand. */
  closeBehind(): void {
    if (this.#turn !== undefined) this.#turn.closes = true;
  }

  /** What was read is taken in: sends it, and writes what is done. */
  advance(): void {
    this.#send();
    if (this.#alone !== undefined && this.#aloneTurn === undefined) this.#queueAlone();
    this.#flush();
  }

  /** A worker may take requests again. Answers with the one that the connection still waits for, -1 when it does not. */
  retry(nowMs: number): number {
    const { context } = this.#connection;
    const held = this.#held; // the last of a connection that closes behind it, too
    if (held === undefined) return -1;
    const blocked = this.#ask(held, (worker) => held.bodies.get(worker) ?? NO_BYTES);
    if (blocked >= 0) {
      if (nowMs - this.#heldSinceMs <= context.config.opTimeoutMs) return blocked;
      held.fail('TRYAGAIN UNAVAILABLE no worker took the command in time: it was not run');
    }
    this.#held = undefined;
    this.#onRoom();
    return -1;
  }

  /** The turn at hand is not to be: something threw amid it. */
  abandon(): void {
    const { local, writers } = this.#connection.context;
    local.reset();
    for (const writer of writers) writer.clear();
    this.#turn = undefined;
  }

  /** Nobody is there any more. */
  end(): void {
    this.#held = undefined;
    for (const turn of this.#turns) turn.drop();
    this.#turns.length = 0;
    this.#takePushes([]);
  }

  /** Ends the turn at hand, and sends its requests or holds it until they can be. */
  #send(): void {
    const turn = this.#turn;
    if (turn === undefined) return;
    const { local, writers, clock, hold } = this.#connection.context;
    this.#turn = undefined;
    if (local.length > 0) {
      turn.seal(local.bytes.slice(0, local.length));
      local.reset();
    }
    if (turn.isEmpty && !turn.closes) return;
    turn.sentMs = clock.nowMs;
    this.#turns.push(turn);
    if (turn.asked === 0) {
      turn.isAnswered = true;
      return;
    }
    const blocked = this.#ask(turn, this.#written);
    if (blocked < 0) {
      for (let worker = 0; worker < writers.length; worker++) writers[worker]?.clear();
      return;
    }
    turn.keep(writers);
    this.#held = turn;
    this.#heldSinceMs = clock.nowMs;
    hold(this.#connection, blocked);
  }

  /** Asks the workers of the turn: -1; or nothing while one of them takes nothing, and answers with it. The turn fails at once where one is silent. */
  #ask(turn: Turn, bodyOf: (worker: number) => Uint8Array): number {
    const { calls, links, counters, writers } = this.#connection.context;
    const workers: number[] = [];
    for (let worker = 0; turn.asked >>> worker !== 0; worker++) {
      if ((turn.asked & (1 << worker)) === 0) continue;
      if (!links.takes(worker)) return worker;
      workers.push(worker);
    }
    const silent = links.firstRefused(turn.asked);
    if (silent < 0) return calls.ask(this.#session, REQUEST_COMMANDS, workers, bodyOf, turn) ? -1 : (workers[0] ?? 0);
    counters.refusedAtOnce += 1;
    for (const writer of writers) writer.clear(); // when the turn is done, what the client sent behind it is taken in
    turn.fail(`TRYAGAIN UNAVAILABLE worker ${silent} does not answer: the command was not run`);
    return -1;
  }

  /** What the turn at hand has for a worker. */
  readonly #written = (worker: number): Uint8Array => this.#connection.context.writers[worker]?.view() ?? NO_BYTES;

  readonly #onFailed = (error: unknown): void => this.#connection.failed(error);

  readonly #onReplyBytes = (bytes: number): void => this.#connection.context.unread.added(bytes);

  readonly #onTurnDone = (): void => {
    if (this.#connection.isClosing && this.#turns.length === 0) return;
    this.#flush();
    this.#onRoom();
  };

  /** Writes the replies of turns that are done, from the oldest on, as long as the client reads. */
  #flush(): void {
    const { socket } = this.#connection;
    while (this.#turns[0]?.isDone === true && socket.unreadBytes <= UNREAD_BYTES_HIGH) this.#writeDone(this.#turns[0]);
  }

  /** In one go, save for large ones. */
  #writeDone(oldest: Turn): void {
    const turns = this.#turns;
    if (turns.length === 1 && oldest.plainReply !== undefined && !oldest.closes) {
      turns.length = 0;
      this.#noteTime(oldest);
      return this.write(oldest.plainReply);
    }
    const parts: Uint8Array[] = [];
    let closes = false;
    let bytes = 0;
    let done = 0;
    for (; done < turns.length && turns[done]?.isDone === true && !closes && bytes <= WRITE_BYTES_MAX; done++) {
      const turn = turns[done] as Turn;
      for (const reply of turn.replies()) parts.push(reply);
      bytes += turn.replyBytes;
      closes = turn.closes;
      this.#noteTime(turn);
    }
    const written = turns.splice(0, done);
    if (this.#made !== undefined && written.includes(this.#made)) this.#takePushes(parts);
    this.#startAlone();
    const [first] = parts;
    if (first !== undefined) this.write(parts.length === 1 ? first : concat(parts));
    if (closes) this.#connection.socket.end();
  }

  #noteTime(turn: Turn): void {
    this.#turnReplyBytes = Math.max(turn.replyBytes, this.#turnReplyBytes / 2);
    const { context, socket, name, user } = this.#connection;
    const { slowLog, clock } = context;
    const micros = Math.round((clock.nowMs - turn.sentMs) * 1000);
    if (turn.firstCommand === '' || micros < slowLog.thresholdMicros) return;
    slowLog.note({
      atSeconds: Math.floor(clock.wallMs / 1000),
      micros,
      command: turn.firstCommand,
      commands: turn.commands,
      address: socket.remoteAddress,
      name,
      user,
    });
  }

  /** Writes what the client did not ask for now: behind a reply that is being made, not into it. */
  push(bytes: Uint8Array): void {
    const { context } = this.#connection;
    if (this.#made === undefined) return this.write(bytes);
    this.#pushes.push(bytes);
    this.#pushedBytes += bytes.length;
    context.unread.added(bytes.length);
    if (this.#pushedBytes > context.config.sessionBackpressureBytesMax) this.#connection.killSlow();
  }

  #takePushes(parts: Uint8Array[]): void {
    for (const push of this.#pushes) parts.push(push);
    this.#made = undefined;
    this.#pushes = [];
    this.#pushedBytes = 0;
  }

  /** Writes to the client; one that does not read is closed. */
  write(bytes: Uint8Array): void {
    const { socket, context } = this.#connection;
    if (bytes.length === 0) return;
    if (socket.unreadBytes > context.config.sessionBackpressureBytesMax) this.#connection.killSlow();
    else socket.write(bytes);
  }

  /** Its reply has its place among the turns; the work begins when all before it are done. */
  #queueAlone(): void {
    const turn = new Turn(this.#onTurnDone, this.#onReplyBytes);
    this.#aloneTurn = turn;
    this.#turns.push(turn);
    this.#startAlone();
  }

  #startAlone(): void {
    const work = this.#alone;
    const turn = this.#aloneTurn;
    if (work === undefined || turn === undefined || this.#turns[0] !== turn || turn.sentMs > 0) return;
    turn.sentMs = this.#connection.context.clock.nowMs;
    this.#made = turn;
    this.#finishAlone(turn, work).catch(this.#onFailed);
  }

  async #finishAlone(turn: Turn, work: AloneWork): Promise<void> {
    const reply = await this.#replyTo(work);
    if (reply.length > 0 && !this.#isAloneMuted) turn.addLocal(0, reply.length);
    this.#isAloneMuted = false;
    turn.seal(reply);
    turn.isAnswered = true;
    this.#alone = undefined;
    this.#aloneTurn = undefined;
    this.#onTurnDone();
  }

  /** What the work writes; where the grid refuses it, that alone. */
  async #replyTo(work: AloneWork): Promise<Uint8Array> {
    const out = new RespWriter();
    out.bytesMax = REPLY_BYTES_MAX;
    out.isResp3 = this.#connection.isResp3;
    await answerLate(out, work);
    return out.bytes.slice(0, out.length);
  }
}

/** Lets the work write its reply; where the grid refuses it, or it is too large, that is the reply. */
async function answerLate(out: RespWriter, work: AloneWork): Promise<void> {
  const start = out.length;
  try {
    await work(out);
  } catch (error) {
    if (!(error instanceof GridError || error instanceof ReplyTooLarge)) throw error;
    out.length = start;
    out.error(error instanceof GridError ? replyOf(error) : REPLY_TOO_LARGE);
  }
}
