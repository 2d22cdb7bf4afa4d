/**
 * The form that values of a map must have, from a definition in JSON Schema.
 *
 *   definition ─ bounds ─ zod's reader ─▶ MapSchema ─ check(value) ─▶ undefined, or which field is wrong and how
 *
 * Checked is what the definition names. Fields that it does not name are carried as they are, never dropped, unless it says
 * `additionalProperties: false`: then they are wrong. The reading and checking is zod's; `pattern` and `format` are refused,
 * since their expressions would run on the clients' texts without a bound on time.
 *
 * Source of the form: JSON Schema draft 2020-12, as far as z.fromJSONSchema reads it.
 */
import { z } from 'zod';
import { GridError } from '../../protocol/errors.ts';

/** Whether values that do not fit are let pass, let pass and counted, or refused. */
export const SCHEMA_MODES = ['off', 'warn', 'strict'] as const;
export type SchemaMode = (typeof SCHEMA_MODES)[number];

/** A registered definition, as it is stored and sent to workers. */
export interface SchemaDefinition {
  readonly mapName: string;
  readonly mode: SchemaMode;
  /** Rises by one with each change of the map's schema. */
  readonly version: number;
  /** JSON Schema, as JSON text. */
  readonly definition: string;
}

const DEFINITION_BYTES_MAX = 64 * 1024;
const DEFINITION_DEPTH_MAX = 32;
const DETAIL_CHARACTERS_MAX = 300;
/** Keywords that the checker does not run, or that would make it run for long. */
const REFUSED_KEYWORDS = ['pattern', 'patternProperties', 'format', 'contentEncoding', '$dynamicRef', '$dynamicAnchor'];

export class MapSchema {
  readonly mode: SchemaMode;
  readonly version: number;
  readonly #checker: z.ZodType;

  /** Throws GridError BAD_REQUEST for a definition that cannot be read. */
  constructor({ definition, mode, version }: SchemaDefinition) {
    this.mode = mode;
    this.version = version;
    this.#checker = checkerOf(definition);
  }

  /** What is wrong with a value, naming the field, or undefined when it fits. */
  check(value: unknown): string | undefined {
    const result = this.#checker.safeParse(value);
    if (result.success) return undefined;
    const issue = result.error.issues[0];
    const field = issue === undefined || issue.path.length === 0 ? 'the value' : `field '${issue.path.map(String).join('.')}'`;
    return `${field}: ${issue?.message ?? 'does not fit'}`.slice(0, DETAIL_CHARACTERS_MAX);
  }
}

function checkerOf(definition: string): z.ZodType {
  if (definition.length > DEFINITION_BYTES_MAX) {
    throw badSchema(`it has ${definition.length} characters, ${DEFINITION_BYTES_MAX} are the most`);
  }
  const schema = parsedDefinition(definition);
  refuseKeywords(schema, '', 0);
  try {
    return z.fromJSONSchema(schema);
  } catch (error) {
    throw badSchema(error instanceof Error ? error.message : String(error), error);
  }
}

function parsedDefinition(definition: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(definition);
    if (isObject(parsed)) return parsed;
  } catch (error) {
    throw badSchema('it is not JSON', error);
  }
  throw badSchema('it is not an object');
}

/** Walks the schemas inside a schema; what stands in `properties` are names of fields, not keywords. */
function refuseKeywords(schema: unknown, path: string, depth: number): void {
  if (depth > DEFINITION_DEPTH_MAX) throw badSchema(`it is nested deeper than ${DEFINITION_DEPTH_MAX}`);
  if (Array.isArray(schema)) {
    for (const [index, item] of schema.entries()) refuseKeywords(item, `${path}/${index}`, depth + 1);
    return;
  }
  if (!isObject(schema)) return;
  for (const [keyword, inner] of Object.entries(schema)) {
    if (REFUSED_KEYWORDS.includes(keyword)) throw badSchema(`'${keyword}' at ${path || '/'} is not supported`);
    if (keyword === 'enum' || keyword === 'const' || keyword === 'default' || keyword === 'examples') continue;
    const isNames = keyword === 'properties' || keyword === '$defs' || keyword === 'definitions';
    if (isNames && isObject(inner)) {
      for (const [name, field] of Object.entries(inner)) refuseKeywords(field, `${path}/${keyword}/${name}`, depth + 1);
    } else refuseKeywords(inner, `${path}/${keyword}`, depth + 1);
  }
}

function badSchema(why: string, cause?: unknown): GridError {
  return new GridError('BAD_REQUEST', `the schema cannot be used: ${why}`, { cause });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
