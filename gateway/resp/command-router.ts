/**
 * Which workers run a command: adds it to their requests, and the place of its reply to the turn.
 *
 * With one worker every command is run as it is. With several, a command whose keys have several owners is none of this router's:
 * it must be seen whole or not at all (joint-acts.ts), for which `cut` gives each worker its part of what only reads.
 */
import type { CommandBatchWriter } from '../../engine/domains/kv/command-batch.ts';
import { WORKER_COMMANDS } from '../../engine/domains/kv/commands.ts';
import { cursorOf, scanPlace } from '../../engine/domains/kv/scan.ts';
import { type CommandSpec, forEachKey, isWrite, KvError } from '../../engine/domains/kv/command.ts';
import { databaseName, isDatabaseName } from '../../engine/domains/kv/hash-names.ts';
import type { MapNameFilter } from '../../engine/domains/kv/map-name-filter.ts';
import type { SpaceKey } from '../../engine/domains/kv/touched-keys.ts';
import { fnv1aUtf8, PARTITION_COUNT, partitionOf } from '../../engine/partition/hash.ts';
import type { PartitionTable } from '../../engine/partition/partition-table.ts';
import type { RespCommand } from '../../engine/protocol/resp-parser.ts';
import { mergeAny, mergeConcat, mergeFirst, type MergeReplies, mergeSlots, mergeSum, mergeUnique } from './merge.ts';
import type { KnownHashes } from './known-hashes.ts';
import type { Turn } from './turn.ts';

/** A command with what its client has chosen. */
export interface RoutedCommand {
  /** Its number in WORKER_COMMANDS. */
  readonly number: number;
  readonly spec: CommandSpec;
  readonly args: RespCommand;
  readonly db: number;
  readonly isResp3: boolean;
}

export interface WorkerCommand {
  readonly number: number;
  readonly spec: CommandSpec;
}

/** Worker commands by their names. */
export const COMMANDS_BY_NAME: ReadonlyMap<string, WorkerCommand> = new Map(
  WORKER_COMMANDS.map((spec, number): [string, WorkerCommand] => [spec.name, { number, spec }]).filter(
    ([, { spec }]) => spec.isInternal !== true,
  ),
);

/** True for a command that reads, and of which each worker can do its part. */
export function isCuttable(spec: CommandSpec): boolean {
  return !isWrite(spec) && (spec.route !== 'keys' || spec.merge !== undefined);
}

export class CommandRouter {
  readonly #table: PartitionTable;
  readonly #writers: readonly CommandBatchWriter[];
  readonly #workers: number;
  readonly #mapNames: MapNameFilter;
  readonly #known: KnownHashes;
  /** A key that was looked at since it was false may be the name of a map. */
  #mayNameMap = false;

  constructor(table: PartitionTable, writers: readonly CommandBatchWriter[], mapNames: MapNameFilter, known: KnownHashes) {
    this.#known = known;
    this.#mapNames = mapNames;
    this.#table = table;
    this.#writers = writers;
    this.#workers = writers.length;
  }

  /**
   * False, and nothing done, for a command of several workers that must act as one (joint-acts.ts), of a key that may be the name
   * of a map, of which other workers may have some, or of a hash whose name may be a string at another worker.
   */
  route(command: RoutedCommand, turn: Turn): boolean {
    if (turn.firstCommand === '') turn.firstCommand = command.spec.name;
    const { spec } = command;
    if (this.#workers === 1) {
      this.#whole(command, 0, turn, isFirstKey(spec) ? firstHash(command) : 0);
      return true;
    }
    this.#mayNameMap = false;
    switch (spec.route) {
      case 'key': {
        const isFirst = isFirstKey(spec);
        const hash = isFirst ? firstHash(command) : 0;
        const owner = isFirst ? this.#ownerOfHash(hash) : this.#ownerAt(command, spec.keys[0]);
        if (this.#mayNameMap) return false;
        this.#whole(command, owner, turn, hash);
        return true;
      }
      case 'keys':
      case 'sum': {
        const owner = this.#onlyOwner(command);
        if (this.#mayNameMap || owner < 0) return false;
        this.#whole(command, owner, turn);
        return true;
      }
      case 'field': {
        const owner = this.#ownerAt(command, spec.fields?.[0] ?? 1);
        if (!this.#seesName(command, owner)) return false;
        this.#whole(command, owner, turn);
        return true;
      }
      case 'scan': {
        const owner = this.#cursorOwner(command);
        if (spec.name === 'hscan' && isFirstPage(command) && !this.#seesName(command, owner)) return false;
        this.#whole(command, owner, turn);
        return true;
      }
      case 'workers':
        return false;
      case 'fields': {
        const owner = this.#onlyOwner(command);
        if (owner < 0 || !this.#seesName(command, owner)) return false;
        this.#whole(command, owner, turn);
        return true;
      }
      case 'gateway':
        throw new Error(`${spec.name} is no command of workers`);
    }
  }

  /** A page of a scan, by the worker where its cursor stands: which one. */
  routeScan(command: RoutedCommand, turn: Turn): number {
    const owner = this.#cursorOwner(command);
    this.#whole(command, owner, turn);
    return owner;
  }

  /** As `route`, of a command that reads, with a part for each of its workers. */
  cut(command: RoutedCommand, turn: Turn): void {
    const { spec } = command;
    if (spec.route === 'workers') this.#everywhere(command, turn);
    else this.#cut(command, placesOf(spec), turn);
  }

  /** True when no string stands where the hash of the command is, as far as this door has seen. */
  knowsHash({ db, args }: Pick<RoutedCommand, 'db' | 'args'>): boolean {
    return this.#known.has({ space: databaseName(db), key: args.argument(1) });
  }

  /** The worker knows whether the name of the hash is a string, or nobody needs to ask. */
  #seesName(command: RoutedCommand, worker: number): boolean {
    return this.#ownerAt(command, 1) === worker || this.knowsHash(command);
  }

  /** True when a map may have the name of the key: it has records at any worker. */
  mayNameMap({ space, key }: SpaceKey): boolean {
    return isDatabaseName(space) && this.#mapNames.mayHave(fnv1aUtf8(key, 0, key.length));
  }

  ownerOfKey(key: Uint8Array): number {
    return this.#table.ownerOf(partitionOf(fnv1aUtf8(key, 0, key.length)));
  }

  #whole({ number, isResp3, db, args }: RoutedCommand, worker: number, turn: Turn, keyHash = 0): void {
    const writer = this.#writers[worker] as CommandBatchWriter;
    turn.addWorker(worker, writer.count);
    writer.add(number, isResp3, db, args, keyHash);
  }

  #everywhere({ number, spec, isResp3, db, args }: RoutedCommand, turn: Turn): void {
    const parts = this.#writers.map((writer, worker) => {
      const index = writer.count;
      writer.add(number, isResp3, db, args);
      return [worker, index] as const;
    });
    turn.addMerged({ parts, merge: mergeOf(spec) });
  }

  /** Each owner gets the keys (or fields, with what belongs to them) that it owns. */
  #cut(command: RoutedCommand, places: readonly [number, number, number], turn: Turn): void {
    const { number, spec, isResp3, db, args } = command;
    const [first, , step] = places;
    const byOwner = new Map<number, number[]>();
    const order: (readonly [number, number])[] = [];
    const owners: number[] = [];
    forEachKey(places, args.count, (index) => {
      const owner = this.#owner(args, index);
      let indexes = byOwner.get(owner);
      if (indexes === undefined) {
        indexes = [];
        byOwner.set(owner, indexes);
        owners.push(owner);
      }
      order.push([owners.indexOf(owner), indexes.length]);
      indexes.push(index);
    });
    const [only] = owners;
    if (owners.length === 1 && only !== undefined) return this.#whole(command, only, turn);
    const parts = owners.map((owner) => {
      const writer = this.#writers[owner] as CommandBatchWriter;
      const indexes = byOwner.get(owner) ?? [];
      const part = writer.count;
      writer.begin(number, isResp3, db, first + indexes.length * step);
      for (let index = 0; index < first; index++) addArgument(writer, args, index);
      for (const index of indexes) for (let offset = 0; offset < step; offset++) addArgument(writer, args, index + offset);
      writer.end();
      return [owner, part] as const;
    });
    turn.addMerged({ parts, merge: spec.merge === 'slots' ? mergeSlots(order) : mergeSum });
  }

  #onlyOwner({ spec, args }: RoutedCommand): number {
    let owner = -1;
    let isOne = true;
    const [first, , step] = placesOf(spec);
    if ((args.count - first) % step !== 0) return 0; // to be told what is wrong
    forEachKey(placesOf(spec), args.count, (index) => {
      const other = this.#owner(args, index);
      if (owner >= 0 && other !== owner) isOne = false;
      owner = other;
    });
    return isOne ? Math.max(0, owner) : -1;
  }

  #ownerAt({ args }: RoutedCommand, index: number): number {
    return index < args.count ? this.#owner(args, index) : 0;
  }

  #owner(args: RespCommand, index: number): number {
    const start = args.starts[index] as number;
    return this.#ownerOfHash(fnv1aUtf8(args.bytes, start, start + (args.lengths[index] as number)));
  }

  #ownerOfHash(hash: number): number {
    if (this.#mapNames.mayHave(hash)) this.#mayNameMap = true;
    return this.#table.ownerOf(partitionOf(hash));
  }

  /** The owner of the partition that the cursor stands in; the worker itself says what is wrong with a cursor. */
  #cursorOwner({ spec, args }: RoutedCommand): number {
    try {
      const cursor = cursorOf(args.text(spec.name === 'hscan' ? 2 : 1));
      const { partition } = scanPlace(cursor);
      return cursor === 0 || partition >= PARTITION_COUNT ? 0 : this.#table.ownerOf(partition);
    } catch (error) {
      if (error instanceof KvError) return 0;
      throw error;
    }
  }
}

/** The command has one key, argument 1. */
function isFirstKey({ route, keys }: CommandSpec): boolean {
  return route === 'key' && keys[0] === 1;
}

/** Of argument 1. */
function firstHash({ args }: RoutedCommand): number {
  const start = args.starts[1] as number;
  return fnv1aUtf8(args.bytes, start, start + (args.lengths[1] as number));
}

/** A scan begins. */
function isFirstPage({ args }: RoutedCommand): boolean {
  return /^0*$/.test(args.text(2));
}

/** Where what has an owner stands. */
function placesOf({ fields, keys }: CommandSpec): CommandSpec['keys'] {
  return fields ?? keys;
}

function addArgument(writer: CommandBatchWriter, args: RespCommand, index: number): void {
  writer.argument(args.bytes, args.starts[index] as number, args.lengths[index] as number);
}

function mergeOf(spec: CommandSpec): MergeReplies {
  if (spec.merge === 'sum') return mergeSum;
  if (spec.merge === 'concat') return mergeConcat;
  if (spec.merge === 'unique') return mergeUnique;
  return spec.merge === 'any' ? mergeAny(Math.random) : mergeFirst;
}
