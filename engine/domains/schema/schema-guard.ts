/**
 * Holds writes to the schemas of their maps: one guard a map, made when a schema is registered, gone with it.
 *
 * Only maps with a schema decode values. Removals pass. Of an OR-Map the value of each tag is checked.
 */
import { decode } from '../../protocol/codec.ts';
import type { RecordImage, RecordKind } from '../../storage/record.ts';
import type { WriteGuard, WriteRefusal } from '../crdt/write-guard.ts';
import type { MapSchema } from './map-schema.ts';

export class SchemaGuard implements WriteGuard {
  readonly schema: MapSchema;
  readonly #onViolation: () => void;

  /** @param onViolation told of each value that does not fit, refused or not. */
  constructor(schema: MapSchema, onViolation: () => void) {
    this.schema = schema;
    this.#onViolation = onViolation;
  }

  refusal(_kind: RecordKind, image: RecordImage): WriteRefusal | undefined {
    if (image.tombstone || this.schema.mode === 'off') return undefined;
    const wrong = this.schema.check(decode(image.source, image.valueStart, image.valueStart + image.valueBytes));
    if (wrong === undefined) return undefined;
    this.#onViolation();
    return this.schema.mode === 'strict' ? { code: 'SCHEMA_VIOLATION', detail: wrong } : undefined;
  }
}
