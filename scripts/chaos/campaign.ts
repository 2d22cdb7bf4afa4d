/**
 * A number of cycles of one fault against one node: load, strike, heal, look, and at times a stop and a look into Postgres.
 *
 *   start ─▶ ┌ load ─▶ strike ─▶ healed ─▶ read as a client ─▶ check against the ledger ┐ ─▶ stop ─▶ done
 *            └──────────────── every few cycles: SIGTERM, Postgres = memory, start ─────┘
 *
 * All random choices come from the seed; time is the only other input. A fault says how it strikes and heals (faults/), the
 * campaign is the same for all. What was read after a start from disk is settled in the ledger: it may never go back.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../../gateway/testing/random.ts';
import { check } from './checker.ts';
import { Ledger } from './ledger.ts';
import { LEVEL_NAMES, MEMORY } from './levels.ts';
import { Load } from './load.ts';
import { deadLetters, readMaps, readStored } from './read-back.ts';
import { differences, type Snapshot } from './snapshot.ts';
import type { StruckNode } from './struck-node.ts';

/** Violations kept in words; all are counted. */
const FAILURES_KEPT_MAX = 20;
/** Cycles between two stops with a look into Postgres. */
const CYCLES_PER_STOP = 10;
/** A worker that stands still is replaced after ten seconds, and may stand still again. */
const REST_DEADLINE_MS = 60_000;
/** Threads may go on ending while everything is read, on a machine that has much else to do. */
const READ_DEADLINE_MS = 180_000;

/** What became of the node's memory. */
export type Healed = 'restarted' | 'in place' | 'untouched';

/** Where a fault strikes, made anew for each run. */
export interface Arena {
  readonly node: StruckNode;
  /**
   * Strikes while writers write, and heals. It ends with a node that serves and writers that are at rest.
   * Answers what became of the node's memory: 'restarted' from disk, 'in place' as far as the fault left it, 'untouched'.
   */
  strike(): Promise<Healed>;
  /** Just before the node is stopped in order, so that it can flush. */
  calm?(): Promise<void>;
  close(): Promise<void>;
}

export interface Fault {
  readonly name: string;
  /** What it proves, as a sentence. */
  readonly title: string;
  /** Writes acknowledged at this level outlive it. */
  readonly outlives: number;
  /** Of every start, where they change what an acknowledgement is worth. */
  readonly flags?: readonly string[];
  /** Makes the place; a text says why it cannot be done on this machine. */
  prepare(campaign: Campaign): Promise<Arena | string>;
}

export interface CampaignOptions {
  readonly seed: number;
  readonly cycles: number;
  readonly writers: number;
  /** Of the server, behind those of the fault. */
  readonly flags: readonly string[];
  /** Demands less or more than the fault promises. */
  readonly demand?: number | undefined;
  /** Strikes not before so many acknowledgements, whatever the moment drawn; 0 by default. */
  readonly acknowledgedMin?: number | undefined;
  readonly keepsFolder?: boolean | undefined;
  /** Leaves out what takes long by its nature. */
  readonly isShort?: boolean | undefined;
  readonly log: (line: string) => void;
}

export interface Outcome {
  readonly fault: string;
  readonly title: string;
  readonly seed: number;
  readonly cycles: number;
  /** Why nothing was run. */
  readonly skipped?: string;
  readonly sent: number;
  readonly levels: Readonly<Record<string, number>>;
  readonly refused: Readonly<Record<string, number>>;
  /** Acknowledged at a level that the fault may not touch. */
  readonly demanded: number;
  readonly failures: number;
  readonly failureTexts: readonly string[];
  /** Counts of the fault itself: crashes, healings, slowest restart. */
  readonly notes: Readonly<Record<string, number>>;
}

export class Campaign {
  readonly fault: Fault;
  readonly options: CampaignOptions;
  readonly random: Random;
  readonly ledger = new Ledger();
  readonly load: Load;
  readonly demand: number;
  readonly #failures: string[] = [];
  #failureCount = 0;
  readonly #notes: Record<string, number> = {};

  constructor(fault: Fault, options: CampaignOptions) {
    this.fault = fault;
    this.options = options;
    this.random = new Random(options.seed);
    this.demand = options.demand ?? fault.outlives;
    const { seed, writers } = options;
    this.load = new Load({ seed, writers, ledger: this.ledger, flags: this.flags });
  }

  /** Of every start of the server. */
  get flags(): readonly string[] {
    return ['--journal', 'on', ...(this.fault.flags ?? []), ...this.options.flags];
  }

  /** Notes something that must not be. */
  fail(text: string): void {
    this.#failureCount += 1;
    if (this.#failures.length < FAILURES_KEPT_MAX) this.#failures.push(text);
    if (this.#failures.length <= FAILURES_KEPT_MAX) this.options.log(`  FAILED ${text}`);
  }

  /** Counts something worth knowing. */
  note(name: string, amount = 1): void {
    this.#notes[name] = (this.#notes[name] ?? 0) + amount;
  }

  noteMax(name: string, value: number): void {
    this.#notes[name] = Math.max(this.#notes[name] ?? 0, Math.round(value));
  }

  /** Uniformly random, and not before enough was acknowledged where the run asks for that. */
  async moment(fromMs = 5, toMs = 1500): Promise<void> {
    await delay(fromMs + this.random.below(toMs - fromMs));
    const { acknowledgedMin = 0 } = this.options;
    const goal = this.load.acknowledgedAt(0) + acknowledgedMin;
    const endsMs = performance.now() + REST_DEADLINE_MS;
    while (acknowledgedMin > 0 && this.load.acknowledgedAt(0) < goal && performance.now() < endsMs) await delay(5);
  }

  /** Reads as a client while the fault lasts, and checks; writers are away meanwhile. */
  async look(node: StruckNode, where: string): Promise<void> {
    await this.load.stop(false);
    this.#check(await readMaps(node.port, READ_DEADLINE_MS), where, this.demand);
  }

  /** Sends again what has no answer until it has one, with the node serving. */
  async rest(node: StruckNode): Promise<void> {
    await this.load.stop(false);
    this.load.begin(node);
    const left = await this.load.rest(REST_DEADLINE_MS);
    if (left > 0) this.fail(`${left} ops were not acknowledged within ${REST_DEADLINE_MS} ms after the fault was over`);
  }

  async run(): Promise<Outcome> {
    const { options, fault } = this;
    const arena = await fault.prepare(this);
    if (typeof arena === 'string') return { ...this.#outcome(0), skipped: arena };
    let done = 0;
    try {
      await arena.node.start();
      while (done < options.cycles && this.#failureCount === 0) {
        await this.#cycle(arena, done);
        done += 1;
        const isStop = done === options.cycles || done % CYCLES_PER_STOP === 0;
        if (isStop && this.#failureCount === 0) await this.#stop(arena, done < options.cycles);
      }
      this.#judgeRun();
    } catch (error) {
      this.fail(`cycle ${done + 1}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    } finally {
      await this.load.stop(true);
      if (this.#failureCount > 0) options.log(`  last words of the server:\n${arena.node.lastWords}`);
      this.noteMax('slowest start ms', Math.max(0, ...arena.node.startsMs));
      await arena.node.dispose(options.keepsFolder === true && this.#failureCount > 0);
      await arena.close();
    }
    return this.#outcome(done);
  }

  async #cycle(arena: Arena, index: number): Promise<void> {
    const before = this.load.acknowledgedAt(0);
    this.load.begin(arena.node);
    const healed = await arena.strike();
    const snapshot = await readMaps(arena.node.port, READ_DEADLINE_MS);
    this.#check(snapshot, `cycle ${index + 1}`, healed === 'untouched' ? Math.min(MEMORY, this.demand) : this.demand);
    if (healed === 'restarted') this.ledger.settle(snapshot, this.demand);
    const acknowledged = this.load.acknowledgedAt(0) - before;
    this.options.log(`  ${this.fault.name} ${index + 1}: ${acknowledged} acknowledged, ${snapshot.size} records, ${healed}`);
  }

  /** SIGTERM: everything is flushed, Postgres and clients agree, and a new start shows the same. */
  async #stop(arena: Arena, goesOn: boolean): Promise<void> {
    const { node } = arena;
    await arena.calm?.();
    const memory = await readMaps(node.port);
    const status = await node.stop();
    if (status !== 0) return this.fail(`the exit status after SIGTERM is ${status}`);
    const [stored, buried] = await node.withDatabase(
      async (target) => [await readStored(target), await deadLetters(target)] as const,
    );
    for (const text of differences(memory, 'memory', stored, 'Postgres').slice(0, FAILURES_KEPT_MAX)) this.fail(text);
    for (const text of buried.slice(0, FAILURES_KEPT_MAX)) this.fail(`a dead letter: ${text}`);
    this.#check(stored, 'Postgres after SIGTERM', this.demand);
    this.ledger.settle(stored, this.demand);
    this.note('stops with Postgres equal to memory');
    if (goesOn) await node.start();
  }

  #check(snapshot: Snapshot, where: string, demand: number): void {
    const violations = check(this.ledger, snapshot, demand);
    for (const { kind, place, text } of violations) {
      this.note(`${kind} in ${place}`);
      this.fail(`${where}: ${kind}: ${place}/${text}`);
    }
  }

  /** A run in which nothing could be lost proves nothing. */
  #judgeRun(): void {
    for (const text of new Set(this.load.counts.contradictions)) this.fail(`an answer contradicts itself: ${text}`);
    if (this.load.acknowledgedAt(this.demand) === 0)
      this.fail(`nothing was acknowledged at ${LEVEL_NAMES[this.demand]} or above: the run proves nothing`);
  }

  #outcome(cycles: number): Outcome {
    const { counts } = this.load;
    return {
      fault: this.fault.name,
      title: this.fault.title,
      seed: this.options.seed,
      cycles,
      sent: counts.sent,
      levels: this.load.levels(),
      refused: Object.fromEntries(counts.refused),
      demanded: this.load.acknowledgedAt(this.demand),
      failures: this.#failureCount,
      failureTexts: this.#failures,
      notes: { ...this.#notes, ...Object.fromEntries(counts.doors) },
    };
  }
}
