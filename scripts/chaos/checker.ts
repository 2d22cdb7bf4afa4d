/**
 * Does what the grid shows agree with what writers were told? Pure; every way in which it can fail is a kind of its own
 * (violation.ts). What was written through doors where the server stamps is checked by door-ledger.ts.
 *
 * Writes without such an acknowledgement may be there or not: a newer one of them may have superseded an acknowledged one.
 * A removal counts as kept only while its tombstone is there: without it an older write that is sent again would win.
 */
import { compareStampsOf, stampText } from '../../gateway/testing/client-maps.ts';
import { type Ledger, type LwwWrite, NEVER, type OrTag } from './ledger.ts';
import { LEVEL_NAMES } from './levels.ts';
import type { Snapshot, StoredTag, StoredWrite } from './snapshot.ts';
import type { Violation } from './violation.ts';

/** Everything that is wrong. `demand`: writes acknowledged at this level or a higher one must be there. */
export function check(ledger: Ledger, snapshot: Snapshot, demand: number): Violation[] {
  const found: Violation[] = [];
  for (const [map, keys] of ledger.lww) {
    for (const [key, writes] of keys) {
      const violation = checkKey(writes, snapshot.lww.get(map)?.get(key), demand);
      if (violation !== undefined) found.push({ ...violation, place: map, text: `${key}: ${violation.text}` });
    }
  }
  for (const [map, tags] of ledger.or) {
    for (const entry of tags.values()) {
      const violation = checkTag(entry, snapshot.or.get(map)?.get(entry.tag), demand);
      if (violation !== undefined) found.push({ ...violation, place: map, text: `${entry.key} ${entry.tag}: ${violation.text}` });
    }
  }
  return [...found, ...unwritten(ledger, snapshot), ...ledger.doors.check(snapshot, demand)];
}

function checkKey(
  writes: readonly LwwWrite[],
  seen: StoredWrite | undefined,
  demand: number,
): Omit<Violation, 'place'> | undefined {
  const known = newest(writes.filter(({ reached }) => reached >= demand));
  if (known !== undefined && (seen === undefined || compareStampsOf(seen.stamp, known.stamp) < 0)) {
    const isBack = known.value === undefined && seen !== undefined && seen.value !== undefined;
    return { kind: isBack ? 'resurrected' : 'lost', text: `${writeText(known)}, there is ${storedText(seen)}` };
  }
  if (seen === undefined) return undefined;
  const written = writes.filter(({ stamp }) => compareStampsOf(stamp, seen.stamp) === 0);
  if (written.length === 0) return { kind: 'unwritten', text: `there is ${storedText(seen)}` };
  if (written.some(({ value }) => value === seen.value)) return undefined;
  return { kind: 'wrong value', text: `${written.map(writeText).join(' or ')}, there is ${storedText(seen)}` };
}

function checkTag(entry: OrTag, seen: StoredTag | undefined, demand: number): Omit<Violation, 'place'> | undefined {
  if (seen === undefined) {
    if (entry.removed !== NEVER || entry.added < demand) return undefined;
    return { kind: 'lost', text: `added at ${LEVEL_NAMES[entry.added]}, there is nothing` };
  }
  if (entry.removed >= demand) return { kind: 'resurrected', text: `removed at ${LEVEL_NAMES[entry.removed]}, it is back` };
  if (seen.value === entry.value && seen.key === entry.key) return undefined;
  return { kind: 'wrong value', text: `${entry.value} of ${entry.key} was added, there is ${seen.value} of ${seen.key}` };
}

function unwritten(ledger: Ledger, snapshot: Snapshot): Violation[] {
  const found: Violation[] = [];
  for (const [map, keys] of snapshot.lww) {
    for (const [key, seen] of keys) {
      if (ledger.lww.get(map)?.has(key) !== true && ledger.doors.registers.get(map)?.has(key) !== true)
        found.push({ kind: 'unwritten', place: map, text: `${key}: there is ${storedText(seen)}` });
    }
  }
  for (const [map, tags] of snapshot.or) {
    for (const [tag, { key, value }] of tags) {
      if (ledger.or.get(map)?.has(tag) !== true)
        found.push({ kind: 'unwritten', place: map, text: `${key} ${tag}: there is ${value}` });
    }
  }
  return found;
}

function newest(writes: readonly LwwWrite[]): LwwWrite | undefined {
  return writes.reduce<LwwWrite | undefined>(
    (best, write) => (best === undefined || compareStampsOf(write.stamp, best.stamp) > 0 ? write : best),
    undefined,
  );
}

function writeText({ stamp, value, reached }: LwwWrite): string {
  return `${stampText(stamp)} ${shortText(value)} acknowledged at ${LEVEL_NAMES[reached]}`;
}

function storedText(write: StoredWrite | undefined): string {
  return write === undefined ? 'nothing' : `${stampText(write.stamp)} ${shortText(write.value)}`;
}

function shortText(value: string | undefined): string {
  return value === undefined ? 'removal' : value.slice(0, 60);
}
