/**
 * All connections of the Redis protocol at one gateway, and what they share. Sockets come and go in resp-listener.ts.
 *
 *   connected ─ RespConnection ─ closed          held connections are retried when workers may take something
 */
import { CommandBatchWriter } from '../../engine/domains/kv/command-batch.ts';
import { RespWriter } from '../../engine/protocol/resp-writer.ts';
import type { DoorCalls } from '../door-calls.ts';
import { CommandRouter } from './command-router.ts';
import { JointActs } from './joint-acts.ts';
import { KnownHashes } from './known-hashes.ts';
import { MessageFrames } from './message-frames.ts';
import { REPLY_BYTES_MAX } from './reply-line.ts';
import { RespConnection } from './resp-connection.ts';
import type { RespContext } from './resp-context.ts';
import type { RespSocket } from './resp-socket.ts';
import { SlowLog } from './slow-log.ts';
import { UnreadReplies } from './unread-replies.ts';

export type RespDoorOptions = Omit<
  RespContext,
  | 'router'
  | 'writers'
  | 'acts'
  | 'actRouter'
  | 'actWriters'
  | 'local'
  | 'slowLog'
  | 'frames'
  | 'unread'
  | 'connections'
  | 'hold'
  | 'onSlowClosed'
> & {
  /** While priorities are on: where requests wait for their turn among those of other doors and clients. */
  readonly queue: DoorCalls | undefined;
};

/** What is between a client and this, in bytes and pauses, is judged so often. */
const SWEEP_MS = 1000;
/** Of all commands: the protocol has no word for another. */
const CLASS = 'normal';

export class RespDoor {
  /** Connections closed because their clients did not read. */
  slowConsumersClosed = 0;
  readonly #context: RespContext;
  readonly #connections = new Set<RespConnection>();
  readonly #held = new Set<RespConnection>();
  readonly #queue: DoorCalls | undefined;
  /** Where a connection stands in the queue: a bit for each worker. It may stand there still when it does not wait any more. */
  readonly #queuedFor = new Map<RespConnection, number>();
  #lastId = 0;
  #sweptMs = 0;
  #isDraining = false;

  constructor(options: RespDoorOptions) {
    const { links, calls, clock, config, mapNames, marks } = options;
    this.#queue = options.queue;
    const writers = links.writers.map(() => new CommandBatchWriter());
    const actWriters = links.writers.map(() => new CommandBatchWriter());
    const known = new KnownHashes(2 * config.maxMaps);
    const router = new CommandRouter(links.table, writers, mapNames, known);
    const local = new RespWriter();
    local.bytesMax = REPLY_BYTES_MAX;
    this.#context = {
      ...options,
      writers,
      router,
      acts: new JointActs({ calls, links, router, clock, marks, known, opTimeoutMs: config.opTimeoutMs }),
      actWriters,
      actRouter: new CommandRouter(links.table, actWriters, mapNames, known),
      local,
      slowLog: new SlowLog(),
      frames: new MessageFrames(),
      unread: new UnreadReplies(this.#connections, config.heldBytesMax),
      connections: this.#connections,
      hold: (connection, worker) => this.#hold(connection, worker),
      onSlowClosed: () => {
        this.slowConsumersClosed += 1;
      },
    };
  }

  /** A new connection; undefined, and an error to the client, when there are too many. */
  connected(socket: RespSocket): RespConnection | undefined {
    const { config, counters, clock } = this.#context;
    clock.refresh();
    if (this.#isDraining || this.#connections.size >= config.maxSessions) {
      counters.connectionsRefused += 1;
      socket.write(TOO_MANY);
      socket.end();
      return undefined;
    }
    counters.respConnections += 1;
    this.#lastId += 1;
    const connection = new RespConnection(this.#lastId, socket, this.#context);
    this.#connections.add(connection);
    return connection;
  }

  closed(connection: RespConnection): void {
    connection.closed();
    this.#connections.delete(connection);
    this.#held.delete(connection);
  }

  /** Workers may take something again, or time has passed. */
  retry(): void {
    if (this.#held.size === 0) return;
    for (const connection of [...this.#held]) {
      const blocked = this.#retry(connection);
      if (blocked >= 0) this.#queueFor(connection, blocked);
    }
  }

  #hold(connection: RespConnection, worker: number): void {
    this.#held.add(connection);
    this.#queueFor(connection, worker);
  }

  /**
   * Where there is a queue, nobody passes those who wait in it: the connection waits there, too, and is served when it is its turn.
   * When too many of its class wait, it is queued by a later try.
   */
  #queueFor(connection: RespConnection, worker: number): void {
    const bit = 1 << worker;
    if (this.#queue === undefined || ((this.#queuedFor.get(connection) ?? 0) & bit) !== 0) return;
    const leave = (): void => this.#setQueued(connection, bit, false);
    const run = (): number => {
      leave(); // going on, it may have to wait again, and stands here anew then
      const blocked = this.#held.has(connection) ? this.#retry(connection) : -1;
      if (blocked === worker) this.#setQueued(connection, bit, true);
      else if (blocked >= 0) this.#queueFor(connection, blocked); // who waits for this worker must not wait for that one
      return blocked === worker ? blocked : -1;
    };
    const call = { bytes: connection.heldBytes, isOfferedAgain: true, run, expired: leave };
    const isQueued = this.#queue.hold(CLASS, worker, call);
    if (isQueued) this.#setQueued(connection, bit, true);
  }

  #setQueued(connection: RespConnection, bit: number, isQueued: boolean): void {
    const others = (this.#queuedFor.get(connection) ?? 0) & ~bit;
    const bits = isQueued ? others | bit : others;
    if (bits === 0) this.#queuedFor.delete(connection);
    else this.#queuedFor.set(connection, bits);
  }

  /** Answers with the worker that the connection still waits for, -1 when it does not. */
  #retry(connection: RespConnection): number {
    this.#held.delete(connection); // going on, it may have to wait again
    const blocked = connection.retry(this.#context.clock.nowMs);
    if (blocked >= 0) this.#held.add(connection);
    return blocked;
  }

  tick(nowMs: number): void {
    this.#context.counters.respOpen = this.#connections.size;
    if (nowMs - this.#sweptMs < SWEEP_MS) return;
    this.#sweptMs = nowMs;
    this.#context.unread.count();
    const { authDeadlineMs, idleTimeoutMs } = this.#context.config;
    for (const connection of [...this.#connections]) {
      if (!connection.isAuthenticated && nowMs - connection.openedMs > authDeadlineMs) connection.kill();
      if (!connection.hasStalled(nowMs, idleTimeoutMs)) continue;
      connection.killSlow();
    }
  }

  /** Takes nothing more in. True when all that was taken in is answered. */
  drain(): boolean {
    this.#isDraining = true;
    this.retry();
    for (const connection of this.#connections) if (connection.openCalls > 0) return false;
    return this.#context.acts.underWay === 0;
  }

  /** A worker was replaced: it is told what it must hold. */
  workerReplaced(worker: number): void {
    this.#context.acts.workerReplaced(worker);
  }

  closeAll(): void {
    this.#context.acts.close();
    for (const connection of [...this.#connections]) connection.kill();
  }
}

const TOO_MANY = new TextEncoder().encode('-ERR max number of clients reached\r\n');
