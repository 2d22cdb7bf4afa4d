/** A connection's way to its client. Sockets implement it (resp-server.ts), tests do too. */
export interface RespSocket {
  /** Address and port of the client, and ours. */
  readonly remoteAddress: string;
  readonly localAddress: string;
  /** Bytes that were written and the client has not taken. */
  readonly unreadBytes: number;
  /** Writes; the bytes must not change afterwards. */
  write(bytes: Uint8Array): void;
  /** Closes behind what was written. */
  end(): void;
  /** Closes now. */
  destroy(): void;
  pause(): void;
  resume(): void;
}
