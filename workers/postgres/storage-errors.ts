/**
 * What Postgres and its driver may say, told apart by who is to blame: the rows, or the world.
 *
 *   rows    22 data, 23 constraint, 54 limits, P0001 raised by a trigger   → STORAGE_POISON, isolate the row
 *   world   everything else: away, full, read only, deadlock, no table     → STORAGE_UNAVAILABLE, try again later
 *
 * Blaming the rows moves them to the dead letters, so whatever is not surely theirs counts as the world.
 * Source: PostgreSQL documentation, appendix A (error codes).
 */
import postgres from 'postgres';
import { GridError } from '../../engine/protocol/errors.ts';

const ROW_CAUSED_CLASSES: ReadonlySet<string> = new Set(['22', '23', '54']);
const ROW_CAUSED_CODES: ReadonlySet<string> = new Set(['P0001']);

/** Sent by a server that ends the connection with the error: the session must not be used again. */
const SESSION_ENDING_CLASSES: ReadonlySet<string> = new Set(['08', '28', '57']);
const QUERY_CANCELED = '57014';

/** True for an error of the driver or of the operating system about the connection, rather than a bug of ours. */
const CONNECTION_CODE =
  /^(CONNECT|E[A-Z]|ERR_(SSL|TLS|STREAM|SOCKET)|SASL|COPY_IN_PROGRESS|MESSAGE_NOT_SUPPORTED|DEPTH_|SELF_|CERT_|UNABLE_)/;

/** The GridError for what a statement rejected with; anything that is neither Postgres nor network is given back as it is. */
export function storageError(error: unknown): unknown {
  if (error instanceof GridError) return error;
  if (error instanceof postgres.PostgresError) return fromPostgres(error);
  if (error instanceof Error && isConnectionError(error)) return unavailable(error.message, error);
  return error;
}

export function unavailable(message: string, cause?: unknown): GridError {
  return new GridError('STORAGE_UNAVAILABLE', message, cause === undefined ? undefined : { cause });
}

/** True when the server said that it closes the connection after this error. */
export function endsSession(error: unknown): boolean {
  if (!(error instanceof postgres.PostgresError)) return true;
  if (error.code === QUERY_CANCELED) return false;
  return error.severity === 'FATAL' || error.severity === 'PANIC' || SESSION_ENDING_CLASSES.has(error.code.slice(0, 2));
}

function fromPostgres(error: postgres.PostgresError): GridError {
  const message = `${error.message} (SQLSTATE ${error.code})`;
  const rowCaused = ROW_CAUSED_CLASSES.has(error.code.slice(0, 2)) || ROW_CAUSED_CODES.has(error.code);
  return new GridError(rowCaused ? 'STORAGE_POISON' : 'STORAGE_UNAVAILABLE', message, { cause: error });
}

function isConnectionError(error: Error): boolean {
  return 'code' in error && typeof error.code === 'string' && CONNECTION_CODE.test(error.code);
}
