/**
 * What runs found, a JSON line each in reliability/results.jsonl: what RELIABILITY.md is written from.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Outcome } from './campaign.ts';

export interface Result {
  /** What was run: `chaos kill`, `soak`, or the path of a test file. */
  readonly run: string;
  readonly title: string;
  /** How much of it: cycles, tests, minutes. */
  readonly amount: number;
  readonly unit: string;
  /** What was checked: acknowledged ops, assertions. Left out where nothing is counted. */
  readonly checked?: number;
  readonly failures: number;
  readonly seed?: number;
  /** Details worth keeping, by name. */
  readonly notes: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly date: string;
  readonly commit: string;
  readonly node: string;
  readonly cpus: number;
}

/** Of the sources, wherever the compiled script is. */
export const PROJECT_ROOT = projectRoot();

const RESULTS_FILE = join(PROJECT_ROOT, 'reliability', 'results.jsonl');

type Found = Omit<Result, 'date' | 'commit' | 'node' | 'cpus'>;

export function chaosResult(outcome: Outcome, seconds: number): Found {
  const { fault, title, cycles, demanded, failures, seed, notes, sent } = outcome;
  return {
    run: `chaos ${fault}`,
    title,
    amount: cycles,
    unit: 'cycles',
    checked: demanded,
    failures,
    seed,
    notes: { 'ops sent': sent, ...notes },
    seconds: Math.round(seconds),
  };
}

/** Appends a line, with date, commit and machine. */
export function appendResult(found: Found, file: string = RESULTS_FILE): void {
  const result: Result = {
    ...found,
    date: new Date().toISOString(),
    commit: commitOf(),
    node: process.version,
    cpus: availableParallelism(),
  };
  mkdirSync(dirname(file), { recursive: true });
  appendFileSync(file, `${JSON.stringify(result)}\n`);
}

/** All results, oldest first. Throws for a line that is no result. */
export function readResults(file: string = RESULTS_FILE): Result[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line.trim() !== '').map((line, index) => parseResult(line, index + 1));
}

function parseResult(line: string, number: number): Result {
  const value: unknown = JSON.parse(line);
  if (!isResult(value)) throw new Error(`line ${number} of the results is none: ${line.slice(0, 200)}`);
  return value;
}

function isResult(value: unknown): value is Result {
  if (typeof value !== 'object' || value === null) return false;
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const texts = ['run', 'title', 'unit', 'date', 'commit', 'node'];
  const numbers = ['amount', 'failures', 'seconds', 'cpus'];
  return texts.every((name) => typeof fields[name] === 'string') && numbers.every((name) => typeof fields[name] === 'number');
}

/** Short hash, with `+` when files differ from it. */
function commitOf(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: PROJECT_ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    const changed = git('status', '--porcelain', '--untracked-files=no', '--', ':!reliability', ':!RELIABILITY.md');
    return `${git('rev-parse', '--short', 'HEAD')}${changed === '' ? '' : '+'}`;
  } catch {
    return 'unknown';
  }
}

/** The nearest folder above with a package.json: the compiled script lies one deeper than its source. */
function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) folder = dirname(folder);
  return folder;
}
