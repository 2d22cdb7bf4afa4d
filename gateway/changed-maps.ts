/**
 * Which of the maps that a gateway knows are others under other grants: made once for all sessions that changed alike.
 */
import type { GrantScope } from './grant-scope.ts';
import type { MapNames } from './map-names.ts';

const EVERYTHING = 'allow';

export class ChangedMaps {
  readonly #maps: MapNames;
  readonly #known = new Map<GrantScope | undefined, Map<GrantScope | undefined, readonly string[]>>();

  constructor(maps: MapNames) {
    this.#maps = maps;
  }

  /** Names of maps of which other rows or fields may be read. */
  between(before: GrantScope | undefined, after: GrantScope | undefined): readonly string[] {
    const byAfter = this.#known.get(before) ?? new Map<GrantScope | undefined, readonly string[]>();
    this.#known.set(before, byAfter);
    const names = byAfter.get(after) ?? this.#compare(before, after);
    byAfter.set(after, names);
    return names;
  }

  #compare(before: GrantScope | undefined, after: GrantScope | undefined): string[] {
    const names: string[] = [];
    for (let mapId = 1; mapId <= this.#maps.count; mapId++) {
      const name = this.#maps.textOf(mapId);
      if ((before?.grants.readText(name) ?? EVERYTHING) !== (after?.grants.readText(name) ?? EVERYTHING)) names.push(name);
    }
    return names;
  }
}
