/**
 * The records of a golden data directory: what scripts/golden-data.ts writes through a server of today, and what a
 * server of any later version must find in it.
 *
 *   stored   written and flushed: rows of Postgres, one of them a dead letter
 *   logged   written while Postgres was away and the server then killed: only the log has them
 */
import type { TopGunClient } from './topgun-client.ts';

export const LWW_MAPS = ['golden', 'golden-ключ'] as const;
export const OR_MAPS = ['golden-tags'] as const;
/** Key of the row that Postgres refuses. */
export const REFUSED_KEY = 'refused';

const CENTURY_MS = 100 * 365 * 86_400_000;

export function writeStored(client: TopGunClient): void {
  client.together(() => {
    client.set('golden', 'text', 'plain');
    client.set('golden', 'unicode 🙂', { ключ: 'значение', emoji: '👩‍🚀' });
    client.set('golden', 'numbers', [0, -1, 0.5, 2 ** 31, 2 ** 53 - 1, -(2 ** 40), 1e-300]);
    client.set('golden', 'nested', { list: [{ deep: [true, false, null] }], empty: {}, none: [] });
    client.set('golden', 'long', 'x'.repeat(3000));
    client.set('golden', 'expires', 'in a century', CENTURY_MS);
    client.set('golden', 'removed', 'soon gone');
    client.set('golden', 'overwritten in the log', 1);
    client.set('golden', 'removed in the log', 'gone later');
    client.set('golden', REFUSED_KEY, 'a dead letter');
    client.set('golden-ключ', 'k', 'in a map with a name beyond ASCII');
    client.add('golden-tags', 'colours', 'red');
    client.add('golden-tags', 'colours', 'green');
    client.add('golden-tags', 'colours', 'removed in the log');
    client.add('golden-tags', 'colours', 'removed');
    client.add('golden-tags', 'objects', { a: [1, { b: 'c' }] });
  });
}

export function removeStored(client: TopGunClient): void {
  client.remove('golden', 'removed');
  client.removeValue('golden-tags', 'colours', 'removed');
}

export function writeLogged(client: TopGunClient): void {
  client.set('golden', 'overwritten in the log', 2);
  client.set('golden', 'only in the log', { text: 'acknowledged, and then the server was killed' });
  client.remove('golden', 'removed in the log');
  client.add('golden-tags', 'colours', 'only in the log');
  client.removeValue('golden-tags', 'colours', 'removed in the log');
}

/** All that a client has after it has synced, as plain JSON. */
export function pictureOf(client: TopGunClient): unknown {
  const lww = LWW_MAPS.map((map) => {
    const records = [...client.lww(map).records].sort(([left], [right]) => (left < right ? -1 : 1));
    return { map, root: client.root(map), records };
  });
  const or = OR_MAPS.map((map) => {
    const items = [...client.or(map).items]
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([key, tags]) => [key, [...tags].sort(([left], [right]) => (left < right ? -1 : 1))]);
    return { map, root: client.root(map), items };
  });
  return JSON.parse(JSON.stringify({ lww, or }));
}

/** A client that has everything by sync alone. */
export async function syncedPicture(client: TopGunClient): Promise<unknown> {
  for (const map of LWW_MAPS) client.lww(map);
  for (const map of OR_MAPS) client.or(map);
  await client.connected();
  await client.settled();
  return pictureOf(client);
}
