/**
 * An index as people define it: of which map, of which attribute, of which kind. Kept as a definition for the whole node
 * (operation/definitions.ts), under a name that two attributes never share.
 */
import { GridError } from '../../protocol/errors.ts';
import { attributeReader, fieldOf, KEY_ATTRIBUTE } from './attribute.ts';
import { INDEX_KINDS, type IndexKind } from './attribute-index.ts';

export interface IndexDefinition {
  readonly map: string;
  /** May be a path: `address.city`. */
  readonly attribute: string;
  readonly kind: IndexKind;
}

/** Indexes of one map: each costs memory, and work for every write. */
export const INDEXES_PER_MAP_MAX = 16;

/** The name of the definition. */
export function indexName(map: string, attribute: string): string {
  return JSON.stringify([map, attribute]);
}

export function indexBody({ map, attribute, kind }: IndexDefinition): string {
  return JSON.stringify({ map, attribute, kind });
}

/** Throws GridError BAD_REQUEST when it is no index. */
export function parseIndexBody(body: string): IndexDefinition {
  const parsed = jsonOf(body);
  const map = fieldOf(parsed, 'map');
  const attribute = fieldOf(parsed, 'attribute');
  const kind = INDEX_KINDS.find((candidate) => candidate === fieldOf(parsed, 'kind'));
  if (typeof map !== 'string' || typeof attribute !== 'string' || kind === undefined)
    throw new GridError('BAD_REQUEST', `an index has a map, an attribute, and a kind: ${INDEX_KINDS.join(' or ')}`);
  if (attribute === KEY_ATTRIBUTE) throw new GridError('BAD_REQUEST', 'rows are found by their keys without an index');
  attributeReader(attribute); // throws for what no attribute is called
  return { map, attribute, kind };
}

function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (error) {
    throw new GridError('BAD_REQUEST', 'the definition is not JSON', { cause: error });
  }
}
