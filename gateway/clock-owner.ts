/**
 * Whose a clock is, as it stands behind the node id in the quarantine (clock-quarantine.ts): a zero and 16 bytes of the hash of the
 * subject, so that it is short and names nobody; nothing for who is nobody.
 */
import { createHash } from 'node:crypto';
import { QUARANTINE_OWNER_BYTES_MAX } from '../engine/crdt/clock-quarantine.ts';
import type { Principal } from './authentication.ts';

const NOBODY = new Uint8Array(0);
const owners = new WeakMap<Principal, Uint8Array>();

export function clockOwner(principal: Principal | undefined): Uint8Array {
  if (principal === undefined) return NOBODY;
  const known = owners.get(principal);
  if (known !== undefined) return known;
  const owner = new Uint8Array(QUARANTINE_OWNER_BYTES_MAX);
  owner.set(
    createHash('sha256')
      .update(principal.id)
      .digest()
      .subarray(0, owner.length - 1),
    1,
  );
  owners.set(principal, owner);
  return owner;
}

/** The node id of a clock, for people. */
export function nodeOfClock(clock: Uint8Array): string {
  const end = clock.length - QUARANTINE_OWNER_BYTES_MAX;
  return Buffer.from(clock.subarray(0, end >= 0 && clock[end] === 0 ? end : clock.length)).toString('utf8');
}
