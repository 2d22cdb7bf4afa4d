/**
 * Replies that clients have not read, over all connections of the door: those that wait to be written, and those that sockets hold.
 *
 *   0 ───────── half ─────────────────── all ────▶      what is held
 *    everybody   who has unread replies    whose are the most
 *    is served   is not read from          is closed
 *
 * They are counted anew after so many more of them, and now and then: in between a client reads without a word to anybody.
 */

/** A connection, as far as it is looked at here. */
export interface Unread {
  /** Its socket is closed, or about to be, whatever was not read. */
  readonly isGone: boolean;
  /** Bytes of replies that it has not read. */
  readonly unreadBytes: number;
  /** Ends a connection whose client does not read. */
  killSlow(): void;
}

/** Replies of several workers to one command are to fit. */
const BYTES_MAX_MIN = 64 << 20;
/** They are counted again when they may have grown by this share of what may be held. */
const STEP_SHARE = 16;

export class UnreadReplies {
  readonly #connections: Iterable<Unread>;
  readonly #bytesMax: number;
  /** As they were counted last, and what came since. */
  #counted = 0;
  #added = 0;

  constructor(connections: Iterable<Unread>, bytesMax: number) {
    this.#connections = connections;
    this.#bytesMax = Math.max(bytesMax, BYTES_MAX_MIN);
  }

  /** Who has not read what it was answered is not to be read from. */
  get isMuch(): boolean {
    return this.#counted + this.#added > this.#bytesMax / 2;
  }

  /** Replies have come. Where that is too much, connections are closed, maybe the one that they are for. */
  added(bytes: number): void {
    this.#added += bytes;
    if (this.#added * STEP_SHARE > this.#bytesMax) this.count();
  }

  /** Looks at all connections. */
  count(): void {
    this.#added = 0;
    this.#counted = 0;
    for (const connection of this.#connections) this.#counted += bytesOf(connection);
    if (this.#counted > this.#bytesMax) this.#closeLargest();
  }

  #closeLargest(): void {
    const largest = [...this.#connections].sort((left, right) => bytesOf(right) - bytesOf(left));
    for (const connection of largest) {
      if (this.#counted <= this.#bytesMax) return;
      this.#counted -= bytesOf(connection);
      connection.killSlow();
    }
  }
}

/** What a connection that ends holds goes with it. */
function bytesOf({ isGone, unreadBytes }: Unread): number {
  return isGone ? 0 : unreadBytes;
}
