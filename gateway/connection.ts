/**
 * A connection as the gateway's logic sees it, whatever carries it: WebSocket today, RESP and SSE as they come.
 *
 * An implementation guards against use after close: calling any method of a closed connection does nothing.
 */
export interface Connection {
  /** Sends one frame. The bytes are copied or written before the call returns. False when earlier bytes are still unread. */
  send(frame: Uint8Array): boolean;
  /** Runs `write` so that all its sends leave in one system call. */
  cork(write: () => void): void;
  /** Says goodbye with a code and reason, then closes. */
  end(code: number, reason: string): void;
  /** Bytes that were sent and are not yet taken by the kernel. */
  bufferedBytes(): number;
  /** Where the client says that it connected to. */
  readonly dialled?: Dialled;
}

/** The address that a client used, by its own account. */
export interface Dialled {
  /** The header Host; '' when there was none. */
  readonly host: string;
  /** With the query. */
  readonly path: string;
  /** By TLS: here, or at a proxy that says so. */
  readonly isSecure: boolean;
}

/** Why the server closes a connection; counted by name in the metrics. */
export const CLOSE = {
  IDLE: { code: 1000, reason: 'idle timeout' },
  AUTH_TIMEOUT: { code: 1000, reason: 'authentication timeout' },
  TOKEN_EXPIRED: { code: 4401, reason: 'the token has expired, reconnect with a newer one' },
  AUTH_FAILED: { code: 1000, reason: 'authentication failed' },
  SHUTDOWN: { code: 1001, reason: 'server shutting down' },
  RATE_LIMITED: { code: 1013, reason: 'rate limit exceeded, reconnect to send again' },
  OVERLOADED: { code: 1013, reason: 'server overloaded, reconnect to send again' },
  DEADLINE: { code: 1013, reason: 'no answer within the deadline, reconnect to send again' },
  UNAVAILABLE: { code: 1013, reason: 'server unavailable, reconnect to send again' },
  READ_ONLY: { code: 1013, reason: 'server takes no writes until it is restarted' },
  DISK_FULL: { code: 1013, reason: 'disk of the server is full, reconnect later to send again' },
  LOG_FULL: { code: 1013, reason: 'log of the server is full, reconnect later to send again' },
  LOG_DAMAGED: { code: 1013, reason: 'log of these keys is damaged, writes wait for its repair' },
  OUT_OF_MEMORY: { code: 1013, reason: 'server has no memory left, reconnect later to send again' },
  SLOW_CONSUMER: { code: 1013, reason: 'too much unread data, reconnect to catch up' },
} as const;

export type CloseCause = keyof typeof CLOSE;
export const CLOSE_CAUSES = Object.keys(CLOSE) as readonly string[];
