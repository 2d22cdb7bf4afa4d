/**
 * Questions about synchronisation on their way from a gateway to a worker: MessagePack maps of our own making.
 *
 * Both ends are this program, but the values in a push come from a client: what does not have the right type is left out.
 */
import { decode, toBytes } from '../../protocol/codec.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from '../../storage/record.ts';
import { NO_SCOPE } from '../security/access.ts';
import type { Push, PushedRecord } from './sync-service.ts';

export interface SyncQuestion {
  readonly map: Uint8Array;
  readonly kind: RecordKind;
  readonly prefix: string;
  readonly keys: readonly string[];
  /** Of whoever asks; NO_SCOPE: it sees every row. */
  readonly scope: number;
}

type Fields = Readonly<Record<string, unknown>>;

/** Body of REQUEST_LEAVES, REQUEST_LEAF and REQUEST_OR_DIFF. */
export function parseSyncQuestion(body: Uint8Array): SyncQuestion {
  const fields = fieldsOf(decode(body));
  return {
    map: toBytes(fields.map) ?? new Uint8Array(0),
    kind: fields.kind === KIND_OR ? KIND_OR : KIND_LWW,
    prefix: typeof fields.prefix === 'string' ? fields.prefix : '',
    keys: strings(fields.keys),
    scope: scopeOf(fields),
  };
}

/** Body of REQUEST_OR_PUSH. */
export function parsePush(body: Uint8Array, gateway: number, session: number): Push {
  const fields = fieldsOf(decode(body));
  return {
    map: toBytes(fields.map) ?? new Uint8Array(0),
    entries: list(fields.entries).map((entry) => {
      const { key, records } = fieldsOf(entry);
      return { key: typeof key === 'string' ? key : '', records: list(records).flatMap(pushedRecord) };
    }),
    tombstones: strings(fields.tombstones),
    gateway,
    session,
    writerListens: fields.writerListens === true,
    rights: {
      scope: scopeOf(fields),
      mayWrite: fields.mayWrite !== false,
      mayRemove: fields.mayRemove !== false,
      mayRead: fields.mayRead !== false,
    },
  };
}

function scopeOf({ scope }: Fields): number {
  return typeof scope === 'number' ? scope : NO_SCOPE;
}

function pushedRecord(value: unknown): PushedRecord[] {
  const { tag, value: content, millis, counter, nodeId, ttlMs } = fieldsOf(value);
  if (
    typeof tag !== 'string' ||
    tag === '' ||
    typeof millis !== 'number' ||
    typeof counter !== 'number' ||
    typeof nodeId !== 'string'
  )
    return [];
  return [{ tag, value: content, millis, counter, nodeId, ttlMs: typeof ttlMs === 'number' ? ttlMs : undefined }];
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function strings(value: unknown): string[] {
  return list(value).filter((item): item is string => typeof item === 'string');
}
