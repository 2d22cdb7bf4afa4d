/**
 * Who brings the rows of FLUSH into Postgres, a batch a transaction:
 *
 *   lattice        record store ─▶ WriteBehind ─▶ PostgresDataStore: binary COPY from the slab, guarded merge; all as a worker has it
 *   multi-values   postgres.js: INSERT … VALUES (…), (…) … ON CONFLICT … WHERE newer, from row objects that are there already
 *   psql           the bytes of the same COPY, made beforehand, and the same merge: what is left when the client costs nothing
 *
 * Rows are staged before the clock starts, and the CPU is the client's alone.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import postgres from 'postgres';
import { assert } from '../../engine/assert.ts';
import { partitionOf } from '../../engine/partition/hash.ts';
import { KIND_LWW, RecordImage } from '../../engine/storage/record.ts';
import { RecordStore } from '../../engine/storage/record-store.ts';
import { Slab } from '../../engine/storage/slab.ts';
import { WriteBehind } from '../../engine/storage/write-behind.ts';
import { COPY_BATCH, CREATE_BATCH_TABLE, mergeLww } from '../../workers/postgres/merge-sql.ts';
import type { PgTarget } from '../../workers/postgres/pg-session.ts';
import { BatchBuffers, PostgresBatch } from '../../workers/postgres/postgres-batch.ts';
import { PostgresDataStore } from '../../workers/postgres/postgres-data-store.ts';
import { TranscodedJson } from '../../workers/postgres/transcoded-json.ts';
import { sampleProcess } from '../process-stats.ts';
import { FLUSH_MAP, type FlushRow, flushRow, pointAt } from './flush-rows.ts';

export type FlushWriterName = 'lattice' | 'multi-values' | 'psql';

/** What is written where. Plain data: it crosses from the harness. */
export interface FlushShape {
  readonly target: PgTarget;
  /** Rows of a batch. */
  readonly rows: number;
  /** Write the jsonb copy of each value, too. */
  readonly json: boolean;
  /** An empty folder, for what a writer must keep in files. */
  readonly folder: string;
}

export interface FlushWriter {
  /** Makes the rows of a batch ready. Not measured. */
  stage(first: number): void;
  /** Resolves when what was staged is committed. */
  write(): Promise<void>;
  /** CPU of the client so far. */
  cpuMs(): number;
  close(): Promise<void>;
}

/** Why psql cannot take part, or undefined. */
export function psqlMissing(): string | undefined {
  return spawnSync('psql', ['--version'], { stdio: 'ignore' }).status === 0 ? undefined : 'psql is not on PATH';
}

export async function openFlushWriter(name: FlushWriterName, shape: FlushShape): Promise<FlushWriter> {
  if (name === 'lattice') return new LatticeFlushes(shape);
  if (name === 'psql') return PsqlFlushes.open(shape);
  return new MultiValues(shape);
}

function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const FLUSH_DEADLINE_MS = 60_000;

class LatticeFlushes implements FlushWriter {
  readonly #rows: number;
  readonly #store: PostgresDataStore;
  readonly #behind: WriteBehind;
  readonly #records: RecordStore;
  readonly #image = new RecordImage();

  constructor({ target, rows, json }: FlushShape) {
    this.#rows = rows;
    const applicationName = 'lattice bench';
    this.#store = new PostgresDataStore({
      target,
      applicationName,
      ownerEpoch: 0, // nobody owns it: the row is locked and compared, as in a worker
      ...(json ? { json: new TranscodedJson() } : {}),
    });
    const time = {
      nowMs: Date.now,
      random: Math.random,
      yieldTurn: () => new Promise<void>((resolve) => setImmediate(resolve)),
      startTimer: (delayMs: number, fire: () => void) => {
        const timer = setTimeout(fire, delayMs);
        return () => clearTimeout(timer);
      },
    };
    this.#behind = new WriteBehind(this.#store, time, { flushRecordsMax: rows });
    this.#records = new RecordStore({ map: FLUSH_MAP, kind: KIND_LWW, slab: new Slab(), dataStore: this.#behind });
  }

  stage(first: number): void {
    for (let number = first; number < first + this.#rows; number++) {
      this.#records.join(pointAt(this.#image, flushRow(number)), Date.now());
    }
    assert(this.#behind.stagedRecords === this.#rows);
  }

  write(): Promise<void> {
    return this.#behind.hardFlush(FLUSH_DEADLINE_MS);
  }

  cpuMs(): number {
    return ownCpuMs();
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** The guard of our own merge, for rows that come as values. (An alias of the table would confuse the driver.) */
const ON_CONFLICT = mergeLww(false).slice(mergeLww(false).indexOf('on conflict')).replaceAll('stored.', 'lww.');

class MultiValues implements FlushWriter {
  readonly #shape: FlushShape;
  readonly #sql: postgres.Sql;
  #staged: Record<string, unknown>[] = [];

  constructor(shape: FlushShape) {
    const { target } = shape;
    const settings = { max: 1, fetch_types: false, onnotice: () => {} };
    this.#shape = shape;
    this.#sql = 'url' in target ? postgres(target.url, settings) : postgres({ ...settings, ...target });
  }

  stage(first: number): void {
    this.#staged = Array.from({ length: this.#shape.rows }, (_, place) => this.#rowOf(flushRow(first + place)));
  }

  async write(): Promise<void> {
    const sql = this.#sql;
    const written = await sql`insert into lattice.lww ${sql(this.#staged)} ${sql.unsafe(ON_CONFLICT)}`;
    assert(written.count === this.#staged.length);
  }

  cpuMs(): number {
    return ownCpuMs();
  }

  async close(): Promise<void> {
    await this.#sql.end({ timeout: 1 });
  }

  #rowOf({ key, keyHash, millis, node, value, document }: FlushRow): Record<string, unknown> {
    const json = this.#shape.json ? { json: document } : {};
    return { partition: partitionOf(keyHash), map: FLUSH_MAP, key, millis, counter: 0, node, value, ...json, provenance: 0 };
  }
}

/** psql, which reads its commands from a pipe and says when a batch is done. */
class PsqlFlushes implements FlushWriter {
  readonly #shape: FlushShape;
  readonly #child: ChildProcess;
  #file = '';
  #batches = 0;
  #said = '';
  #onSaid: () => void = () => {};
  #failure: Error | undefined;

  private constructor(shape: FlushShape, words: readonly string[]) {
    this.#shape = shape;
    this.#child = spawn('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', ...words], { stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#said += chunk.toString('latin1');
        this.#onSaid();
      });
    this.#child.once('exit', (code, signal) => {
      this.#failure = new Error(`psql ended with ${code ?? signal}: ${this.#said.slice(-500)}`);
      this.#onSaid();
    });
    this.#child.stdin?.on('error', () => {}); // the end of the process says it
  }

  static async open(shape: FlushShape): Promise<PsqlFlushes> {
    const { target } = shape;
    const words = 'url' in target ? [target.url] : ['-h', dirname(target.path), '-U', target.user, '-d', target.database];
    const psql = new PsqlFlushes(shape, words);
    await psql.#run(`${CREATE_BATCH_TABLE};`);
    return psql;
  }

  stage(first: number): void {
    const { rows, json, folder } = this.#shape;
    const buffers = new BatchBuffers();
    const batch = new PostgresBatch(buffers, json ? new TranscodedJson() : undefined, () =>
      Promise.reject(new Error('psql commits')),
    );
    const image = new RecordImage();
    for (let number = first; number < first + rows; number++) batch.put(KIND_LWW, FLUSH_MAP, pointAt(image, flushRow(number)));
    this.#file = join(folder, `batch-${first}`);
    writeFileSync(this.#file, buffers.writer.finish());
  }

  write(): Promise<void> {
    const copy = COPY_BATCH.replace('stdin', `'${this.#file}'`).replace('copy', '\\copy');
    return this.#run(`begin;\n${copy}\n${mergeLww(false)};\ncommit;`);
  }

  cpuMs(): number {
    const { threads = [] } = sampleProcess(this.#child.pid ?? 0) ?? {};
    return threads.reduce((sum, { runMs }) => sum + runMs, 0);
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin?.end();
    await ended;
  }

  #run(script: string): Promise<void> {
    this.#batches += 1;
    const mark = `batch ${this.#batches} is done\n`;
    return new Promise((resolve, reject) => {
      this.#onSaid = () => {
        if (this.#said.endsWith(mark)) resolve();
        else if (this.#failure !== undefined) reject(this.#failure);
      };
      this.#onSaid();
      this.#child.stdin?.write(`${script}\n\\echo ${mark}`);
    });
  }
}
