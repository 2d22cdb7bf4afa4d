/** A relay of GUN with nothing on disk and nothing by itself: no folder `radata`, no statistics, no multicast. */
import type { Server } from 'node:http';
import { importPeer } from './peer-packages.ts';

interface PutMessage {
  readonly put?: { readonly '#'?: string };
}

/** What is of use here of GUN's root. */
export interface GunRoot {
  /** All nodes, by their souls. */
  readonly graph: Readonly<Record<string, unknown>>;
  /** Told of each field that changes; must pass it on. */
  on(event: 'put', listener: (this: { to: { next(message: PutMessage): void } }, message: PutMessage) => void): void;
}

interface Gun {
  readonly default: (options: object) => { readonly _: GunRoot };
}

export async function startGunRelay(http: Server): Promise<GunRoot> {
  const { default: gun } = await importPeer<Gun>('gun');
  const offline = { file: false, radisk: false, rfs: false, localStorage: false, axe: false, multicast: false, stats: false };
  return gun({ web: http, ...offline })._;
}
