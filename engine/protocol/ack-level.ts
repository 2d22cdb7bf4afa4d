/**
 * Which durability levels a node acknowledges, from its configuration.
 *
 *   store          wal   walFsync    a plain ack says   PERSISTED, when asked for
 *   none                             MEMORY             never
 *   write-behind   off               MEMORY             after the commit in Postgres
 *   write-behind   on    ms, off     APPLIED            after a sync of the log
 *   write-behind   on    always      PERSISTED          at once
 *   write-through                    PERSISTED          at once
 *
 * Levels are judged one by one and not as an order: REPLICATED is a promise about other machines, which no sync of a
 * disk keeps. What is persisted does survive the end of the process, so PERSISTED keeps the promise of APPLIED.
 */
import { CONCERN_APPLIED, CONCERN_MEMORY, CONCERN_NAMES, CONCERN_PERSISTED, CONCERN_REPLICATED } from './op-index.ts';

/** The options that decide; named as in engine/config.ts. */
export interface DurabilityOptions {
  readonly store: 'write-behind' | 'write-through' | 'none';
  readonly wal: boolean;
  readonly walFsync: string;
}

/** Levels are the numbers of op-index.ts. */
export interface AckLevels {
  /** What a plain ack says: reached by every op that is answered. */
  readonly plain: number;
  /** Who asks for PERSISTED can have it, at once or by waiting. */
  readonly persists: boolean;
  /** There is a write-ahead log. */
  readonly hasLog: boolean;
}

export function ackLevels({ store, wal, walFsync }: DurabilityOptions): AckLevels {
  const hasLog = wal && store === 'write-behind';
  return { plain: plainLevel(store, hasLog, walFsync), persists: store !== 'none', hasLog };
}

function plainLevel(store: DurabilityOptions['store'], hasLog: boolean, walFsync: string): number {
  if (store === 'write-through') return CONCERN_PERSISTED;
  if (!hasLog) return CONCERN_MEMORY;
  return walFsync === 'always' ? CONCERN_PERSISTED : CONCERN_APPLIED;
}

/** True when a write that reached one level has what was asked for. */
export function hasReached(asked: number, reached: number): boolean {
  if (asked === CONCERN_PERSISTED) return reached === CONCERN_PERSISTED;
  if (asked === CONCERN_APPLIED) return reached === CONCERN_APPLIED || reached === CONCERN_PERSISTED;
  return asked !== CONCERN_REPLICATED;
}

/** Why a node with these levels does not reach what was asked, in words; '' when only time was short. */
export function levelShortage(asked: number, levels: AckLevels): string {
  if (asked === CONCERN_REPLICATED) return 'a single node has no replicas';
  if (asked === CONCERN_PERSISTED && !levels.persists) return 'this server stores nothing (store = none)';
  if (asked === CONCERN_APPLIED && !levels.hasLog) return 'this server keeps no write-ahead log';
  return '';
}

/** The name of a level on the wire. */
export function levelName(level: number): string {
  return CONCERN_NAMES[level] ?? '';
}
