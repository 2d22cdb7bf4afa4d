/**
 * `lattice wal inspect` and `lattice wal repair`: the log as text or JSON, and the exit status.
 *
 *   inspect   0 nothing is damaged      1 damage, or the log cannot be read
 *   repair    0 nothing to repair, or the loss is accepted now      1 damage, and --accept-loss was not given
 */
import { type LogLoss, UNKNOWN_END } from '../engine/storage/wal-loss.ts';
import { inspectLog, type LogInspection, repairLog } from '../workers/wal/log-inspection.ts';

/** What a command prints and how it ends. */
export interface CommandResult {
  readonly text: string;
  readonly status: 0 | 1;
}

/** Throws GridError for a log that this version cannot read. */
export function walInspect(dataDir: string, asJson: boolean): CommandResult {
  const inspection = inspectLog(dataDir);
  const status = inspection.losses.some((loss) => loss.kind === 'damage') ? 1 : 0;
  return { text: asJson ? inspectionJson(inspection) : inspectionText(inspection), status };
}

/** Rejects with GridError DATA_DIRECTORY_IN_USE while a server runs. */
export async function walRepair(dataDir: string, accept: boolean): Promise<CommandResult> {
  const { folder, damage } = await repairLog(dataDir, accept);
  if (damage.length === 0) return { text: `${folder}: nothing to repair\n`, status: 0 };
  const lost = lines(damage.map(lossText));
  if (!accept) {
    const advice = 'Until this loss is accepted those partitions are read-only. To accept it: lattice wal repair --accept-loss\n';
    return {
      text: `${folder}: these frames were on the disk, are not in Postgres, and cannot be read:\n${lost}${advice}`,
      status: 1,
    };
  }
  return {
    text: `${folder}: accepted as lost, in accepted.json:\n${lost}The next start opens those partitions for writes.\n`,
    status: 0,
  };
}

/** An end that nobody knows is null. */
function inspectionJson({ folder, segments, losses }: LogInspection): string {
  const known = losses.map((loss) => ({ ...loss, toSequence: loss.toSequence === UNKNOWN_END ? null : loss.toSequence }));
  return `${JSON.stringify({ folder, segments, losses: known }, undefined, 2)}\n`;
}

function inspectionText({ folder, segments, losses }: LogInspection): string {
  if (segments.length === 0) return `${folder}: no log\n`;
  const rows = segments.map(({ name, bytes, frames, records, firstSequence, lastSequence, database }) => {
    const sequences = frames === 0 ? 'no frame' : `${frames} frames, sequences ${firstSequence} to ${lastSequence}`;
    return `  ${name}  ${bytes} bytes, ${sequences}, ${records} records, of ${database ?? 'an unreadable header'}`;
  });
  const found = losses.length === 0 ? 'Nothing is lost.\n' : lines(losses.map(lossText));
  return `${folder}:\n${lines(rows)}${found}`;
}

function lossText(loss: LogLoss): string {
  const { kind, file, offset, fromSequence, toSequence, worker, epoch, reason, partitions } = loss;
  const end = toSequence === UNKNOWN_END ? 'on' : `to ${toSequence}`;
  const frames = toSequence < fromSequence ? 'no frame' : `frames ${fromSequence} ${end} of worker ${worker}, epoch ${epoch}`;
  const where = `${file}, byte ${offset}: ${reason}`;
  const scope = kind === 'damage' ? `; partitions ${ranges(partitions)}` : '';
  return `  ${kind}: ${frames} (${MEANINGS[kind]}); ${where}${scope}`;
}

const MEANINGS = {
  'torn-tail': 'a write that was interrupted, or, beside a running server, is under way',
  junk: 'what an interrupted write left, and nothing is lost by it',
  repaired: 'Postgres has them',
  unsynced: 'never forced to the disk before the power went',
  accepted: 'lost, and accepted',
  damage: 'lost after they were safely on the disk',
} as const;

/** `0-3, 7` for 0, 1, 2, 3, 7. */
function ranges(ascending: readonly number[]): string {
  const parts: string[] = [];
  for (let index = 0; index < ascending.length; index++) {
    const first = ascending[index] as number;
    while (ascending[index + 1] === (ascending[index] as number) + 1) index++;
    const last = ascending[index] as number;
    parts.push(first === last ? `${first}` : `${first}-${last}`);
  }
  return parts.join(', ');
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('');
}
