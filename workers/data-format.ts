/**
 * The file `FORMAT` of a data directory: which layout its files have, so that a program never opens what it cannot read.
 *
 *   <dataDir>/FORMAT    {"format":1,"program":"0.1.0","since":"2026-01-31T12:00:00.000Z"}
 *
 *   newer than ours        refused: DATA_VERSION, naming both and the way out
 *   older than ours        upgraded step by step, the file rewritten behind each step
 *   no file, no data       written
 *   no file, but data      made before this file existed: that is format 1, written
 *   a log, no database     refused: an empty grid must not stand in for data that is missing
 *
 * It is checked behind the lock of the directory and before anything in it is opened. The format covers the layout of
 * the directory and of the log's segments; the tables in Postgres carry a version of their own (schema.ts).
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GridError } from '../engine/protocol/errors.ts';

/** The format that this program writes. Raise it with a step in `UPGRADES`, and keep a golden directory of each. */
export const DATA_FORMAT = 1;

/** Formats before this one had no file. */
const FORMAT_WITHOUT_FILE = 1;
const FILE = 'FORMAT';
const POSTGRES_FOLDER = 'postgres';
const LOG_FOLDER = 'wal';
const SEGMENT = /\.wal$/;

/** What the file says. */
export interface DataFormat {
  readonly format: number;
  /** Version of the program that made it. */
  readonly program: string;
  /** ISO time. */
  readonly since: string;
}

/** Brings a directory from format `from` to the next one. It may be run again after a crash in its middle. */
export interface UpgradeStep {
  readonly from: number;
  readonly run: (dataDir: string) => Promise<void>;
}

/** Empty until there is a second format. */
const UPGRADES: readonly UpgradeStep[] = [];

export interface DataFormatOptions {
  readonly dataDir: string;
  /** Version of this program. */
  readonly program: string;
  /** True when the database is the one in the directory, false when it is elsewhere (DATABASE_URL). */
  readonly embedded: boolean;
  /** Wall clock, ms. */
  readonly nowMs: number;
  /** Default DATA_FORMAT; tests give another, with `upgrades`. */
  readonly format?: number;
  readonly upgrades?: readonly UpgradeStep[];
}

/**
 * Makes sure that this program can read what is in the directory, and that the directory says which format it has.
 * The caller holds the directory's lock. Rejects with GridError DATA_VERSION; then nothing was changed.
 */
export async function checkDataFormat(options: DataFormatOptions): Promise<void> {
  const { dataDir, format = DATA_FORMAT } = options;
  await mkdir(dataDir, { recursive: true, mode: 0o711 });
  const stored = await storedFormat(dataDir);
  if (stored !== undefined && stored.format > format) throw tooNew(dataDir, stored, format);
  if (options.embedded) await refuseOrphanedLog(dataDir);
  const startsAt = stored?.format ?? ((await hasData(dataDir)) ? FORMAT_WITHOUT_FILE : format);
  for (let at = startsAt; at < format; at++) {
    await upgrade(dataDir, at, options);
    await write(options, at + 1);
  }
  if (stored === undefined && startsAt === format) await write(options, format);
}

/** What the file says; undefined when there is none. */
async function storedFormat(dataDir: string): Promise<DataFormat | undefined> {
  const path = join(dataDir, FILE);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw unreadable(path, String(error));
  });
  if (text === undefined) return undefined;
  const fields: Record<string, unknown> = Object(parsed(text));
  const { format, program, since } = fields;
  if (typeof format !== 'number' || !Number.isSafeInteger(format) || format < 1) {
    throw unreadable(path, `it holds ${JSON.stringify(text.slice(0, 80))}`);
  }
  return { format, program: typeof program === 'string' ? program : 'unknown', since: typeof since === 'string' ? since : '' };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** A whole file or none: temporary name, fsync, rename, fsync of the folder. */
async function write(options: DataFormatOptions, format: number): Promise<void> {
  const { dataDir, program, nowMs } = options;
  const content: DataFormat = { format, program, since: new Date(nowMs).toISOString() };
  const path = join(dataDir, FILE);
  const draft = `${path}.${process.pid}`;
  try {
    const file = await open(draft, 'w', 0o644);
    try {
      await file.writeFile(`${JSON.stringify(content)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  const folder = await open(dataDir, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function upgrade(dataDir: string, from: number, options: DataFormatOptions): Promise<void> {
  const step = (options.upgrades ?? UPGRADES).find((each) => each.from === from);
  if (step !== undefined) return step.run(dataDir);
  const { program, format = DATA_FORMAT } = options;
  throw new GridError(
    'DATA_VERSION',
    `${dataDir} has data format ${from}; this program (${program}) reads format ${format} and has no step from ${from}: ` +
      'start it once with a version in between',
  );
}

/** The log of a database that is gone: what it holds are changes of records that nobody has any more. */
async function refuseOrphanedLog(dataDir: string): Promise<void> {
  const segments = (await namesIn(join(dataDir, LOG_FOLDER))).filter((name) => SEGMENT.test(name)).length;
  if (segments === 0 || (await namesIn(dataDir)).includes(POSTGRES_FOLDER)) return;
  throw new GridError(
    'DATA_VERSION',
    `${dataDir} holds a write-ahead log (${segments} segments in ${LOG_FOLDER}/), but not the database that it belongs to: ` +
      `${POSTGRES_FOLDER}/ is missing. Bring ${POSTGRES_FOLDER}/ back, or set DATABASE_URL to the database of this log, ` +
      `or move ${LOG_FOLDER}/ away to begin with an empty grid`,
  );
}

async function hasData(dataDir: string): Promise<boolean> {
  const names = await namesIn(dataDir);
  return names.includes(POSTGRES_FOLDER) || (await namesIn(join(dataDir, LOG_FOLDER))).length > 0;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
}

function tooNew(dataDir: string, stored: DataFormat, format: number): GridError {
  return new GridError(
    'DATA_VERSION',
    `${dataDir} has data format ${stored.format}, made by version ${stored.program} on ${stored.since}; this program reads ` +
      `formats up to ${format}: start version ${stored.program} or a later one, or choose another data directory`,
  );
}

function unreadable(path: string, why: string): GridError {
  return new GridError(
    'DATA_VERSION',
    `${path} does not say which data format the directory has (${why}): restore it from a backup`,
  );
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
