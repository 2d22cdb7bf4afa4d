/** The server's root of a map, asked for by hand. */
import { payloadOf, stampIn } from './client-fields.ts';
import type { WireSession } from './wire-session.ts';

export async function rootAt(session: WireSession, mapName: string, kind: 'lww' | 'or'): Promise<number> {
  if (kind === 'lww') session.send({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 });
  else session.send({ type: 'ORMAP_SYNC_INIT', mapName, rootHash: 0, bucketHashes: {}, lastSyncTimestamp: 0, claimedEpoch: 0 });
  const root = await session.next(kind === 'lww' ? 'SYNC_RESP_ROOT' : 'ORMAP_SYNC_RESP_ROOT');
  const payload = payloadOf(root);
  stampIn(payload);
  return Number(payload.rootHash);
}
