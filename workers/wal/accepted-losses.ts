/**
 * `accepted.json` in the folder of the log: losses that somebody has agreed to with `lattice wal repair --accept-loss`.
 *
 *   write:  accepted.json.new ─ fsync ─ rename to accepted.json ─ fsync of the folder      never half a list
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { GridError } from '../../engine/protocol/errors.ts';
import type { AcceptedLoss } from '../../engine/storage/wal-loss.ts';

const FILE = 'accepted.json';
const FIELDS = ['epoch', 'worker', 'fromSequence', 'toSequence'] as const;

/** Empty when nothing was accepted. Throws GridError LOG_DAMAGED for a file that is no list of losses. */
export function readAcceptedLosses(folder: string): AcceptedLoss[] {
  const path = join(folder, FILE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
  return parseAcceptedLosses(text, path);
}

/** Replaces the list. On the disk when it returns. */
export function writeAcceptedLosses(folder: string, losses: readonly AcceptedLoss[]): void {
  const path = join(folder, FILE);
  const draft = `${path}.new`;
  const file = openSync(draft, 'w', 0o600);
  try {
    writeSync(file, `${JSON.stringify(losses.map(bare), undefined, 2)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  syncFolder(folder);
}

function syncFolder(folder: string): void {
  const directory = openSync(folder, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function parseAcceptedLosses(text: string, path: string): AcceptedLoss[] {
  const list = parsed(text);
  if (!Array.isArray(list)) throw unreadable(path);
  return list.map((item: unknown) => {
    if (!isAcceptedLoss(item)) throw unreadable(path);
    return bare(item);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isAcceptedLoss(item: unknown): item is AcceptedLoss {
  if (typeof item !== 'object' || item === null) return false;
  const fields: Record<string, unknown> = { ...item };
  return FIELDS.every((field) => Number.isSafeInteger(fields[field]));
}

/** Only what the file keeps of a loss. */
function bare({ epoch, worker, fromSequence, toSequence }: AcceptedLoss): AcceptedLoss {
  return { epoch, worker, fromSequence, toSequence };
}

function unreadable(path: string): GridError {
  return new GridError(
    'LOG_DAMAGED',
    `${path} is no list of accepted losses: remove it, and accept again with lattice wal repair --accept-loss`,
  );
}
