/**
 * Keeps the guards of a worker's maps in step with the schemas that are defined.
 *
 *   definition of kind 'schema' ─▶ MapSchema ─▶ guard of the map of that name, if the map is there
 *   a map is made ─▶ the guard of the schema with its name
 *
 * The body of a definition is JSON: `{ mode, schema }`.
 */
import type { Definition, Definitions } from '../../operation/definitions.ts';
import { GridError } from '../../protocol/errors.ts';
import { decodeText, encodeText } from '../../protocol/wire-text.ts';
import type { GridMap, MapCatalogue } from '../crdt/map-catalogue.ts';
import { MapSchema, SCHEMA_MODES, type SchemaMode } from './map-schema.ts';
import { SchemaGuard } from './schema-guard.ts';

export interface SchemaKeeperOptions {
  readonly maps: MapCatalogue;
  readonly definitions: Definitions;
  /** Told of each value that does not fit the schema of its map. */
  readonly onViolation: () => void;
  /** A stored schema cannot be used by this program: its map is not checked. */
  readonly warn: (text: string) => void;
}

/** From now on writes are held to the schemas there are. */
export function keepSchemas({ maps, definitions, onViolation, warn }: SchemaKeeperOptions): void {
  const guards = new Map<string, SchemaGuard>();
  const guard = (map: GridMap): void => map.guardWith('schema', guards.get(nameOf(map)));
  definitions.watch('schema', (definition) => {
    const made = guardOf(definition, onViolation, warn);
    if (made === undefined) guards.delete(definition.name);
    else guards.set(definition.name, made);
    const map = maps.find(encodeText(definition.name));
    if (map !== undefined) guard(map);
  });
  maps.watch(guard);
}

/** The body of a schema's definition. Throws GridError BAD_REQUEST when it is none. */
export function parseSchemaBody(mapName: string, version: number, body: string): MapSchema {
  const { mode, schema } = fieldsOf(body);
  const known = SCHEMA_MODES.find((candidate) => candidate === mode);
  if (known === undefined) throw new GridError('BAD_REQUEST', `mode is one of ${SCHEMA_MODES.join(', ')}`);
  return new MapSchema({ mapName, mode: known, version, definition: JSON.stringify(schema) ?? '' });
}

/** The text to define a map's schema by. */
export function schemaBody(mode: SchemaMode, schema: unknown): string {
  return JSON.stringify({ mode, schema });
}

function guardOf(definition: Definition, onViolation: () => void, warn: (text: string) => void): SchemaGuard | undefined {
  if (definition.body === undefined) return undefined;
  try {
    return new SchemaGuard(parseSchemaBody(definition.name, definition.version, definition.body), onViolation);
  } catch (error) {
    if (!(error instanceof GridError)) throw error;
    warn(`map '${definition.name}' is not checked: ${error.message}`);
    return undefined;
  }
}

function fieldsOf(body: string): { mode?: unknown; schema?: unknown } {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch (error) {
    throw new GridError('BAD_REQUEST', 'the definition is not JSON', { cause: error });
  }
}

function nameOf(map: GridMap): string {
  return decodeText(map.name, 0, map.name.length);
}
