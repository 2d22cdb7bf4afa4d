/**
 * MULTI, EXEC, DISCARD, WATCH, UNWATCH: commands that are run as one.
 *
 *   MULTI ─ commands are copied, and answered +QUEUED ─ EXEC ─ one request: are the watched keys unchanged? then all of them
 *
 * Commands of the connection itself (PING, SELECT, …) in a transaction are run when the workers have answered; SELECT counts
 * for the commands behind it from the moment it is queued.
 */
import { CommandBatchWriter, replyStarts } from '../../engine/domains/kv/command-batch.ts';
import { type CommandSpec, DATABASES, KvError } from '../../engine/domains/kv/command.ts';
import { commandNumber } from '../../engine/domains/kv/commands.ts';
import { databaseName } from '../../engine/domains/kv/hash-names.ts';
import { isHashVersion, UNCHANGED } from '../../engine/domains/kv/internal-commands.ts';
import { integerOf } from '../../engine/domains/kv/numbers.ts';
import { replyOf } from '../../engine/domains/kv/refused-reply.ts';
import { REQUEST_COMMANDS, REQUEST_TRANSACTION } from '../../engine/protocol/envelope.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { RespCommand } from '../../engine/protocol/resp-parser.ts';
import { ReplyTooLarge, type RespWriter } from '../../engine/protocol/resp-writer.ts';
import { decodeText } from '../../engine/protocol/wire-text.ts';
import type { SessionAccess } from '../subject-access.ts';
import type { Watched } from './act-calls.ts';
import { mayBeHidden } from './command-rights.ts';
import type { ActOutcome } from './joint-acts.ts';
import type { RespContext } from './resp-context.ts';

/** A queued command; its bytes are its own. */
export interface QueuedCommand {
  readonly spec: CommandSpec;
  readonly args: RespCommand;
  readonly db: number;
}

/** A key that must not change, as it was. */
export interface WatchedKey extends Watched {
  readonly db: number;
}

const NO_NAME = new Uint8Array(0);

/** What a transaction may hold. */
const QUEUED_BYTES_MAX = 16 << 20;
/** What a queued command costs besides its arguments. */
const QUEUED_BYTES_EACH = 300;
const QUEUED_MAX = 100_000;
/** Small commands share an array of bytes. */
const SHARED_BYTES = 16 * 1024;
const SHARED_COMMAND_BYTES_MAX = 1024;
const WATCHED_MAX = 10_000;
/** Of the names of watched keys. */
const WATCHED_BYTES_MAX = 16 << 20;

export class Transaction {
  /** Commands since MULTI; undefined outside of one. */
  queued: QueuedCommand[] | undefined;
  watched: WatchedKey[] = [];
  /** A command was refused while it was queued: EXEC runs none. */
  isSpoilt = false;
  /** The database that the next queued command is for. */
  db = 0;
  #bytes = 0;
  /** Where the arguments of small commands go, and how much of it is used. */
  #shared = NO_NAME;
  #sharedUsed = 0;

  get isOpen(): boolean {
    return this.queued !== undefined;
  }

  begin(db: number): void {
    if (this.isOpen) throw new KvError('ERR MULTI calls can not be nested');
    this.queued = [];
    this.db = db;
  }

  /** Copies the command into the queue. Throws KvError when there is no room. */
  queue(spec: CommandSpec, args: RespCommand): void {
    const { queued } = this;
    if (queued === undefined) throw new Error('no transaction');
    this.#bytes += bytesOf(args) + QUEUED_BYTES_EACH;
    if (this.#bytes > QUEUED_BYTES_MAX || queued.length >= QUEUED_MAX) throw new KvError('ERR the transaction is too large');
    const copy = this.#copied(args);
    queued.push({ spec, args: copy, db: this.db });
    if (spec.name === 'select') this.#select(copy);
  }

  /** Throws KvError when there is no room to watch the arguments of the command, too. */
  assertRoom(args: RespCommand): void {
    let bytes = bytesOf(args);
    for (const { key } of this.watched) bytes += key.length;
    const isTooMuch = this.watched.length + args.count - 1 > WATCHED_MAX || bytes > WATCHED_BYTES_MAX;
    if (isTooMuch) throw new KvError('ERR too many keys are watched');
  }

  watch(keys: readonly WatchedKey[]): void {
    this.watched.push(...keys);
  }

  /** Forgets queue and watched keys. */
  end(): void {
    this.queued = undefined;
    this.watched = [];
    this.isSpoilt = false;
    this.#bytes = 0;
    this.#shared = NO_NAME;
    this.#sharedUsed = 0;
  }

  #copied(args: RespCommand): RespCommand {
    const bytes = bytesOf(args);
    if (bytes > SHARED_COMMAND_BYTES_MAX) return copied(args);
    if (this.#sharedUsed + bytes > this.#shared.length) {
      this.#shared = new Uint8Array(SHARED_BYTES);
      this.#sharedUsed = 0;
    }
    const at = this.#sharedUsed;
    this.#sharedUsed += bytes;
    return copied(args, this.#shared, at);
  }

  #select(args: RespCommand): void {
    const db = integerOf(args.argument(1));
    if (typeof db === 'number' && db >= 0 && db < DATABASES) this.db = db;
  }
}

/** The command with bytes of its own, or in `target` from `start` on. */
export function copied(args: RespCommand, target = new Uint8Array(bytesOf(args)), start = 0): RespCommand {
  const copy = new RespCommand(Math.max(1, args.count));
  copy.clear(target);
  let at = start;
  for (let index = 0; index < args.count; index++) {
    const argument = args.argument(index);
    copy.bytes.set(argument, at);
    copy.add(at, argument.length);
    at += argument.length;
  }
  return copy;
}

function bytesOf(args: RespCommand): number {
  let bytes = 0;
  for (let index = 0; index < args.count; index++) bytes += args.lengths[index] as number;
  return bytes;
}

/** Versions of keys, for WATCH: at the owner of each, and at every worker that has records of a map of that name. Rejects with GridError. */
export async function versionsOf({ calls, router }: RespContext, db: number, keys: readonly Uint8Array[]): Promise<WatchedKey[]> {
  const number = commandNumber('version');
  const writer = new CommandBatchWriter();
  for (const key of keys) addWords(writer, number, db, [key]);
  const body = writer.take();
  const answers = await calls.request(REQUEST_COMMANDS, calls.everyone, () => body);
  const versionsAt = answers.map(([replies]) => {
    if (replies === undefined) throw new GridError('UNAVAILABLE', 'a worker gave no answer');
    const starts = replyStarts(replies);
    return keys.map((_, index) => bulkText(replies.subarray(starts[index], starts[index + 1])));
  });
  return keys.map((key, index) => {
    const versions = new Map<number, string>();
    for (const [worker, all] of versionsAt.entries()) {
      const version = all[index] ?? '';
      if (worker === router.ownerOfKey(key) || isHashVersion(version)) versions.set(worker, version);
    }
    return { db, space: databaseName(db), key, versions };
  });
}

/** The first of the keys that is the name of a map which is hidden from the subject: how such a key changes is not to be told. */
export async function hiddenMap(
  context: RespContext,
  access: SessionAccess,
  keys: readonly Pick<WatchedKey, 'db' | 'space' | 'key'>[],
): Promise<string | undefined> {
  const suspects = mayBeHidden(access, context.router, keys);
  for (const db of new Set(suspects.map((suspect) => suspect.db))) {
    const ofDb = suspects.filter((suspect) => suspect.db === db).map(({ key }) => key);
    const hidden = (await versionsOf(context, db, ofDb)).find(({ versions }) => [...versions.values()].some(isHashVersion));
    if (hidden !== undefined) return decodeText(hidden.key, 0, hidden.key.length);
  }
  return undefined;
}

/** Runs commands of one owner as one. */
export async function transact(
  context: RespContext,
  worker: number,
  watched: readonly WatchedKey[],
  commands: readonly QueuedCommand[],
  isResp3: boolean,
): Promise<ActOutcome> {
  const writer = new CommandBatchWriter();
  const unchanged = commandNumber(UNCHANGED);
  for (const { db, key, versions } of watched) {
    for (const version of versions.values()) addWords(writer, unchanged, db, [key, encoder.encode(version)]);
  }
  for (const { spec, args, db } of commands) writer.add(commandNumber(spec.name), isResp3, db, args);
  const body = writer.take();
  try {
    const [parts] = await context.calls.request(REQUEST_TRANSACTION, [worker], () => body);
    const reply = parts?.[0];
    if (reply === undefined) return 'TRYAGAIN UNAVAILABLE no answer';
    const starts = replyStarts(reply);
    const all = Array.from({ length: starts.length - 1 }, (_, index) => reply.subarray(starts[index], starts[index + 1]));
    return all.slice(0, watched.length).some(isNo) ? 'changed' : all.slice(watched.length);
  } catch (error) {
    if (error instanceof GridError) return replyOf(error);
    throw error;
  }
}

/** A command of `name` and these arguments. */
export function addWords(writer: CommandBatchWriter, number: number, db: number, words: readonly Uint8Array[]): void {
  writer.begin(number, false, db, words.length + 1);
  writer.argument(NO_NAME, 0, 0);
  for (const word of words) writer.argument(word, 0, word.length);
  writer.end();
}

/** The reply `:0`. */
function isNo(reply: Uint8Array): boolean {
  return reply[1] === 0x30;
}

function bulkText(reply: Uint8Array): string {
  const text = decoder.decode(reply);
  return text.slice(text.indexOf('\r\n') + 2, -2);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('latin1');

/** Writes the reply of EXEC: what the workers answered, and what the connection answers itself, in the order of the queue. */
export async function writeOutcome(
  out: RespWriter,
  queued: readonly QueuedCommand[],
  replies: readonly Uint8Array[],
  runOwn: (command: QueuedCommand, out: RespWriter) => Promise<void>,
): Promise<void> {
  out.array(queued.length);
  let next = 0;
  for (const command of queued) {
    if (command.spec.route === 'gateway') {
      const start = out.length;
      try {
        await runOwn(command, out);
      } catch (error) {
        if (!(error instanceof ReplyTooLarge)) throw error;
        out.length = start;
        out.error('ERR the reply is too large to be told with the transaction');
      }
      continue;
    }
    const reply = replies[next];
    next += 1;
    if (reply !== undefined) out.raw(reply);
  }
}
