/**
 * Answers to what this server does not do: at once and by type, because the client waits up to 30 s for an answer.
 *
 * A type whose response can say "failed" gets that response. Where the response has no such field, or the client
 * takes it for something else, the answer is ERROR 501, which the client logs while its own timeout runs.
 * Ending something that was never begun needs no answer.
 *
 * Sources: docs/PROTOCOL.md §6.7, §7, §9.2, §9.3.
 */
import { type Data, isData } from './codec.ts';

/** How a refusal looks. 'quiet' gets none. */
type Form =
  | 'sql'
  | 'search'
  | 'hybrid'
  | 'vector'
  | 'process'
  | 'process-batch'
  | 'register'
  | 'unregister'
  | 'list-resolvers'
  | 'error'
  | 'quiet';

const UNBUILT = {
  SQL_QUERY: { form: 'sql', id: 'queryId' },
  SEARCH: { form: 'search', id: 'requestId' },
  SEARCH_SUB: { form: 'search', id: 'subscriptionId' },
  SEARCH_UNSUB: { form: 'quiet', id: 'subscriptionId' },
  HYBRID_SEARCH: { form: 'hybrid', id: 'requestId' },
  HYBRID_SEARCH_SUB: { form: 'hybrid', id: 'subscriptionId' },
  HYBRID_SEARCH_UNSUB: { form: 'quiet', id: 'subscriptionId' },
  VECTOR_SEARCH: { form: 'vector', id: 'id' },
  ENTRY_PROCESS: { form: 'process', id: 'requestId' },
  ENTRY_PROCESS_BATCH: { form: 'process-batch', id: 'requestId' },
  REGISTER_RESOLVER: { form: 'register', id: 'requestId' },
  UNREGISTER_RESOLVER: { form: 'unregister', id: 'requestId' },
  LIST_RESOLVERS: { form: 'list-resolvers', id: 'requestId' },
  HYBRID_QUERY_SUBSCRIBE: { form: 'error', id: 'subscriptionId' },
  HYBRID_QUERY_UNSUBSCRIBE: { form: 'quiet', id: 'subscriptionId' },
} as const satisfies Record<string, { form: Form; id: string }>;

export type UnbuiltType = keyof typeof UNBUILT;

/** A request of a domain that is not built, as far as its refusal needs it. */
export interface UnbuiltRequest {
  readonly type: UnbuiltType;
  /** What the client will know the answer by: its request, query or subscription id, or the name of what it asks for. */
  readonly id: string | undefined;
  /** ENTRY_PROCESS_BATCH only. */
  readonly keys: readonly string[];
}

/** Keys that a refused ENTRY_PROCESS_BATCH is answered for one by one; more get ERROR, so that a refusal stays small. */
const REFUSED_KEYS_MAX = 1000;
const NOT_IMPLEMENTED = 501;

export function parseUnbuilt(type: string, message: Data): UnbuiltRequest | undefined {
  if (!isUnbuilt(type)) return undefined;
  const body = isData(message.payload) ? message.payload : message;
  const id = body[UNBUILT[type].id];
  const keys = Array.isArray(body.keys) ? body.keys.filter((key): key is string => typeof key === 'string') : [];
  return { type, id: typeof id === 'string' ? id : undefined, keys };
}

/** The message that refuses `message`, or undefined when it needs no answer (or is of a domain that is built). */
export function refusalOf(message: { readonly type: string }): object | undefined {
  return isUnbuiltRequest(message) ? refuse(message) : undefined;
}

function refuse(request: UnbuiltRequest): object | undefined {
  const { type, id } = request;
  const { form } = UNBUILT[type];
  const error = `${type} is not available on this server`;
  if (form === 'quiet') return undefined;
  if (id === undefined) return errorMessage(request, error);
  switch (form) {
    case 'sql':
      return { type: 'SQL_QUERY_RESP', payload: { queryId: id, columns: [], rows: [], error, code: 'FEATURE_DISABLED' } };
    case 'search':
      return { type: 'SEARCH_RESP', payload: { requestId: id, results: [], totalCount: 0, error } };
    case 'hybrid':
      return { type: 'HYBRID_SEARCH_RESP', payload: { requestId: id, results: [], searchTimeMs: 0, error } };
    case 'vector':
      return { type: 'VECTOR_SEARCH_RESP', payload: { id, results: [], totalCandidates: 0, searchTimeMs: 0, error } };
    case 'process':
      return { type: 'ENTRY_PROCESS_RESPONSE', requestId: id, success: false, error };
    case 'process-batch':
      return refuseKeys(request, id, error);
    case 'register':
      return { type: 'REGISTER_RESOLVER_RESPONSE', requestId: id, success: false, error };
    case 'unregister':
      return { type: 'UNREGISTER_RESOLVER_RESPONSE', requestId: id, success: false, error };
    case 'list-resolvers':
      return { type: 'LIST_RESOLVERS_RESPONSE', requestId: id, resolvers: [] };
    case 'error':
      return errorMessage(request, error);
  }
}

function refuseKeys(request: UnbuiltRequest, requestId: string, error: string): object {
  if (request.keys.length > REFUSED_KEYS_MAX) return errorMessage(request, error);
  const results: Record<string, object> = Object.create(null); // a key may be called `__proto__`
  for (const key of request.keys) results[key] = { success: false, error };
  return { type: 'ENTRY_PROCESS_BATCH_RESPONSE', requestId, results };
}

function errorMessage(request: UnbuiltRequest, error: string): object {
  const details = { type: request.type, id: request.id };
  return { type: 'ERROR', payload: { code: NOT_IMPLEMENTED, message: `FEATURE_DISABLED: ${error}`, details } };
}

function isUnbuilt(type: string): type is UnbuiltType {
  return Object.hasOwn(UNBUILT, type);
}

function isUnbuiltRequest(message: { readonly type: string }): message is UnbuiltRequest {
  return isUnbuilt(message.type);
}
