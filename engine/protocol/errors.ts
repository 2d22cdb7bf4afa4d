/**
 * What the world may do wrong, typed: a stable code, whether a retry helps, the values in the message.
 *
 * Codes are part of the public surface: clients, logs and metrics carry them; they are added to, never renamed.
 */

interface ErrorKind {
  /** Numeric code on the wire (`ERROR`, `OP_REJECTED`), in the manner of HTTP. */
  readonly status: number;
  /** True when the same request may succeed later without being changed. */
  readonly retryable: boolean;
}

const ERRORS = {
  BAD_REQUEST: { status: 400, retryable: false },
  UNAUTHENTICATED: { status: 401, retryable: false },
  FORBIDDEN: { status: 403, retryable: false },
  INVALID_MAP_NAME: { status: 400, retryable: false },
  RESERVED_MAP_NAME: { status: 403, retryable: false },
  TOO_MANY_MAPS: { status: 507, retryable: false },
  KEY_TOO_LARGE: { status: 413, retryable: false },
  FRAME_TOO_LARGE: { status: 413, retryable: false },
  INVALID_OPERATION: { status: 400, retryable: false },
  STALE_OPERATION: { status: 410, retryable: false },
  RATE_LIMITED: { status: 429, retryable: true },
  OVERLOADED: { status: 429, retryable: true },
  UNAVAILABLE: { status: 503, retryable: true },
  DEADLINE_EXCEEDED: { status: 504, retryable: true },
  LEVEL_UNAVAILABLE: { status: 503, retryable: false },
  FEATURE_DISABLED: { status: 501, retryable: false },
  WRONG_OWNER: { status: 421, retryable: true },
  MIGRATING: { status: 503, retryable: true },
  STORAGE_UNAVAILABLE: { status: 503, retryable: true },
  STORAGE_POISON: { status: 500, retryable: false },
  STORAGE_FENCED: { status: 500, retryable: false },
  STORAGE_VERSION: { status: 500, retryable: false },
  DATA_DIRECTORY_IN_USE: { status: 500, retryable: false },
  CONFIG_INVALID: { status: 500, retryable: false },
  INTERNAL: { status: 500, retryable: false },
  READ_ONLY: { status: 503, retryable: true },
  DISK_FULL: { status: 507, retryable: true },
  LOG_FULL: { status: 507, retryable: true },
  LOG_DAMAGED: { status: 503, retryable: false },
  OUT_OF_MEMORY: { status: 507, retryable: true },
  LEVEL_TIMEOUT: { status: 504, retryable: false },
  DATA_VERSION: { status: 500, retryable: false },
  SCHEMA_VIOLATION: { status: 422, retryable: false },
  CONFLICT: { status: 409, retryable: false },
  NOT_FOUND: { status: 404, retryable: false },
  TOO_MANY_COUNTERS: { status: 507, retryable: false },
  COUNTER_FULL: { status: 507, retryable: false },
  METHOD_NOT_ALLOWED: { status: 405, retryable: false },
  NOT_ACCEPTABLE: { status: 406, retryable: false },
  CONDITION_FAILED: { status: 412, retryable: false },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, retryable: false },
  JOURNAL_GAP: { status: 410, retryable: false },
  FENCED: { status: 409, retryable: false },
  FENCED_LATE: { status: 409, retryable: false },
  KEYS_ALIKE: { status: 507, retryable: false },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** Numbers for rings and slabs: the position of each code. Append only. */
export const ERROR_CODES: readonly ErrorCode[] = Object.freeze(Object.keys(ERRORS).filter(isErrorCode));

function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}

export function errorNumber(code: ErrorCode): number {
  return ERROR_CODES.indexOf(code);
}

/** An error that a caller is expected to handle. Never thrown for a bug of ours: that is an assertion. */
export class GridError extends Error {
  override readonly name = 'GridError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}
