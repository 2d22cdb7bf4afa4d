/**
 * The data store over Postgres: batches by binary COPY and a guarded merge, loads by COPY the other way.
 *
 *   commit:  begin, owner epoch (locked FOR SHARE) ─▶ COPY ─▶ merge, prune ─▶ commit
 *   load:    COPY (select …) to stdout, per table ─▶ one image pointed into each chunk ─▶ onRecord
 *
 * The lock on the epoch's row is what fences: a new owner's increment waits for the flush that holds it, and every
 * later flush of the old owner reads the new number and stops. Commits and loads have a connection each, so that
 * a long load delays no flush.
 */
import { createHash } from 'node:crypto';
import { assert } from '../../engine/assert.ts';
import { partitionOf, PARTITION_COUNT } from '../../engine/partition/hash.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import {
  type BatchResult,
  type DataBatch,
  type DataStore,
  type DeadLetter,
  type OnStoredRecord,
  READ_RECORDS_MAX,
  type RecordIdentity,
} from '../../engine/storage/data-store.ts';
import type { RecordKind } from '../../engine/storage/record.ts';
import type { BreakerState, CircuitBreaker } from '../../engine/operation/circuit-breaker.ts';
import { PgClient } from './connection.ts';
import { CopyReader } from './copy.ts';
import {
  BURY,
  COPY_BATCH,
  CREATE_BATCH_TABLE,
  LOAD_COLUMN_COUNT,
  loadStatements,
  MERGE_COUNTERS,
  mergeLww,
  mergeOr,
  PRUNE,
  readStatement,
} from './merge-sql.ts';
import { lowerPriority } from './low-priority.ts';
import { isOwn, type PgParameter, type PgRow, type PgSession, type PgTarget } from './pg-session.ts';
import { BatchBuffers, type JsonSource, PostgresBatch } from './postgres-batch.ts';
import { imageOfRow, readParameters } from './value-read.ts';
import { StoredRowReader } from './stored-row-reader.ts';
import { unavailable } from './storage-errors.ts';

export interface PostgresDataStoreOptions {
  readonly target: PgTarget;
  /** Shown in pg_stat_activity, for example 'lattice worker 1'. */
  readonly applicationName: string;
  /** Epoch of the owner that this store writes for (Ownership.epoch); undefined checks nothing. */
  readonly ownerEpoch?: number;
  /** Fills the jsonb copies; undefined leaves them NULL (LATTICE_PG_JSON=off). */
  readonly json?: JsonSource;
  /** A load without a row for this long has failed. Default 30 000. */
  readonly loadStallMs?: number;
  /** Nobody waits for its commits: where Postgres is our own, and so runs beside us, they give way to the threads of the server. */
  readonly givesWay?: boolean;
  /** Of the connection that writes. Default: opens at the first failure, for 100 ms doubling to 10 s. */
  readonly breaker?: CircuitBreaker;
}

const LOAD_STALL_MS = 30_000;
/** Bound of one whole load; the stall is the bound that matters. */
const LOAD_DEADLINE_MS = 6 * 3_600_000;

export class PostgresDataStore implements DataStore {
  readonly #options: PostgresDataStoreOptions;
  readonly #writes: PgClient;
  readonly #loads: PgClient;
  #spare: BatchBuffers | undefined = new BatchBuffers();
  #committing = false;

  constructor(options: PostgresDataStoreOptions) {
    const { target, applicationName, breaker, givesWay = false } = options;
    this.#options = options;
    this.#writes = new PgClient({
      target,
      applicationName,
      prepare: async (session) => {
        await makeBatchTable(session);
        if (givesWay && isOwn(target)) await lowerPriority(await backendOf(session));
      },
      ...(breaker === undefined ? {} : { breaker }),
    });
    this.#loads = new PgClient({ target, applicationName: `${applicationName} load` });
  }

  /** True while Postgres is taken to be away: flushes are refused or probing. */
  get away(): boolean {
    return this.#writes.breaker.state !== 'CLOSED';
  }

  /** Of the connection that writes. */
  get breakerState(): BreakerState {
    return this.#writes.breaker.state;
  }

  batch(): DataBatch {
    const buffers = this.#spare ?? new BatchBuffers();
    this.#spare = undefined;
    return new PostgresBatch(buffers, this.#options.json, (batch, deadlineMs) => this.#commit(batch, deadlineMs));
  }

  async load(partitions: readonly number[], onRecord: OnStoredRecord): Promise<void> {
    if (partitions.length === 0) return;
    for (const partition of partitions) assert(Number.isInteger(partition) && partition >= 0 && partition < PARTITION_COUNT);
    const all = new Set(partitions).size === PARTITION_COUNT;
    const statements = loadStatements(all ? undefined : partitions);
    await this.#loads.run(LOAD_DEADLINE_MS, async (session) => {
      for (const statement of statements) await this.#loadTable(session, statement, onRecord);
    });
  }

  /** On the connection of loads, so that it waits for no flush. */
  async read(
    kind: RecordKind,
    map: Uint8Array,
    identities: readonly RecordIdentity[],
    onRecord: OnStoredRecord,
    deadlineMs: number,
  ): Promise<void> {
    assert(identities.length <= READ_RECORDS_MAX, `a read of ${identities.length} records`);
    if (identities.length === 0) return;
    const statement = readStatement(kind);
    const parameters = readParameters(kind, map, identities);
    const rows = await this.#loads.run(deadlineMs, (session) => session.rows(statement, parameters));
    for (const row of rows) onRecord(kind, map, imageOfRow(row));
  }

  async bury(letter: DeadLetter, deadlineMs: number): Promise<void> {
    await this.#writes.run(deadlineMs, (session) =>
      session.transaction(this.#begin(deadlineMs), async (beginRows) => {
        this.#checkEpoch(beginRows);
        await session.rows(BURY, letterColumns(letter));
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all([this.#writes.close(), this.#loads.close()]);
  }

  async #commit(batch: PostgresBatch, deadlineMs: number): Promise<BatchResult> {
    assert(!this.#committing, 'two batches of one store are being committed at a time');
    const result = { rows: batch.rows, bytes: batch.bytes };
    if (batch.rows === 0) return result;
    this.#committing = true;
    try {
      await this.#writes.run(deadlineMs, (session) =>
        session.transaction(this.#begin(deadlineMs), async (beginRows) => {
          this.#checkEpoch(beginRows);
          await writeRows(session, batch);
        }),
      );
    } finally {
      this.#committing = false;
    }
    this.#takeBack(batch.buffers);
    return result;
  }

  /** The buffers of a committed batch serve the next one. */
  #takeBack(buffers: BatchBuffers): void {
    buffers.clear();
    this.#spare = buffers;
  }

  #begin(deadlineMs: number): string {
    const limits = `set local statement_timeout = ${Math.max(1, Math.ceil(deadlineMs))}`;
    if (this.#options.ownerEpoch === undefined) return limits;
    return `${limits}; select value from lattice.meta where key = 'owner_epoch' for share`;
  }

  #checkEpoch(rows: readonly PgRow[]): void {
    const { ownerEpoch } = this.#options;
    if (ownerEpoch === undefined) return;
    const stored = Number(rows[0]?.value);
    if (stored === ownerEpoch) return;
    throw new GridError('STORAGE_FENCED', `another process owns the data: its owner epoch is ${stored}, ours was ${ownerEpoch}`);
  }

  async #loadTable(session: PgSession, statement: string, onRecord: OnStoredRecord): Promise<void> {
    const row = new StoredRowReader(onRecord);
    const reader = new CopyReader(LOAD_COLUMN_COUNT, (bytes, view, starts, lengths) => row.read(bytes, view, starts, lengths));
    const stallMs = this.#options.loadStallMs ?? LOAD_STALL_MS;
    const watchdog = setInterval(() => {
      if (row.rowsSinceAsked() === 0) session.kill(`no row arrived within ${stallMs} ms`);
    }, stallMs);
    try {
      await session.copyOut(statement, (chunk) => reader.feed(chunk));
    } finally {
      clearInterval(watchdog);
    }
    if (!reader.finished) throw unavailable('the load ended before its last row');
  }
}

async function makeBatchTable(session: PgSession): Promise<void> {
  await session.script(CREATE_BATCH_TABLE);
}

/** Its process on our machine that serves the session. */
async function backendOf(session: PgSession): Promise<number> {
  const [row] = await session.rows('select pg_backend_pid() as pid');
  return Number(row?.pid);
}

async function writeRows(session: PgSession, batch: PostgresBatch): Promise<void> {
  await session.copyIn(COPY_BATCH, batch.buffers.writer.finish());
  const merges: string[] = [];
  if (batch.lwwRows > 0) merges.push(mergeLww(batch.repeats));
  if (batch.orRows > 0) merges.push(mergeOr(batch.repeats));
  if (batch.counterRows > 0) merges.push(MERGE_COUNTERS);
  if (batch.pruneRows > 0) merges.push(PRUNE);
  await session.script(merges.join(';'));
}

/** Parameters of BURY. The digest makes a repeat of the same burial one row. */
function letterColumns({ kind, map, reason, applied, record }: DeadLetter): readonly PgParameter[] {
  const span = (start: number, bytes: number): Uint8Array => record.source.subarray(start, start + bytes);
  const key = span(record.keyStart, record.keyBytes);
  const tag = span(record.tagStart, record.tagBytes);
  const node = span(record.nodeStart, record.nodeBytes);
  const value = span(record.valueStart, record.valueBytes);
  const { millis, counter, tombstone, provenance } = record;
  const ttlMs = Number.isNaN(record.ttlMs) ? null : record.ttlMs;
  const hash = createHash('sha256').update(
    JSON.stringify([kind, map.length, key.length, tag.length, node.length, millis, counter, ttlMs, tombstone]),
  );
  for (const part of [map, key, tag, node, value]) hash.update(part);
  const partition = partitionOf(record.keyHash);
  const text = reason.toWellFormed().replaceAll('\u0000', '\ufffd');
  return [
    hash.digest(),
    kind,
    partition,
    map,
    key,
    tag,
    millis,
    counter,
    node,
    ttlMs,
    tombstone,
    tombstone ? null : value,
    provenance,
    text,
    applied,
  ];
}
