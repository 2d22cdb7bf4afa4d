/**
 * One stream of server-sent events: a session, its reader, and the last events, for a reader who comes back.
 *
 *   session ─ frames ─▶ events, numbered ─┬─▶ kept (64 KiB at most)
 *                                         └─▶ reader, while there is one
 *   reader gone ─ 30 s ─▶ closed          back in time, with the id of his last event ─▶ what he missed, then on
 *
 * A slow reader is bounded as every slow client (outgoing.ts): beyond the bound he is cut off. One who stays away for too
 * long, or misses more than is kept, finds a stream that begins with `gap`: never a silent hole.
 */
import { randomBytes } from 'node:crypto';
import { DoorSession } from './door-session.ts';
import { type EventText, eventTexts, text } from './event-texts.ts';
import type { HttpDoor } from './http-door.ts';
import type { HttpSink } from './http-sink.ts';
import type { Principal } from '../authentication.ts';

const KEPT_BYTES_MAX = 64 * 1024;
const SLOW = 1013;

interface Kept {
  readonly number: number;
  readonly text: string;
}

export interface StreamWish {
  /** Says what the stream is to tell, to its session. */
  readonly messages: readonly object[];
  /** Who asks for what: only the same may go on with a stream. */
  readonly signature: string;
  readonly principal: Principal | undefined;
}

export class EventStream {
  /** Nobody else can name it. */
  readonly name = randomBytes(16).toString('base64url');
  readonly signature: string;
  readonly #session: DoorSession;
  readonly #kept: Kept[] = [];
  readonly #onOver: (stream: EventStream) => void;
  #keptBytes = 0;
  #number = 0;
  /** The last event that is not kept any more. */
  #forgotten = 0;
  #sink: HttpSink | undefined;
  #over = false;
  /** When the reader went, by a clock that only counts. A stream begins without one, and he may never come. */
  awaySinceMs: number | undefined = performance.now();

  /** Throws GridError OVERLOADED when there are too many sessions. */
  constructor(door: HttpDoor, wish: StreamWish, onOver: (stream: EventStream) => void) {
    this.signature = wish.signature;
    this.#onOver = onOver;
    this.#session = new DoorSession(door, wish.principal, {
      message: (message) => {
        for (const event of eventTexts(message)) this.tell(event);
      },
      ended: (code, reason) => this.#ended(code, reason),
      bufferedBytes: () => this.#sink?.bufferedBytes() ?? 0,
    });
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** Asks for what the stream is to tell. */
  ask(messages: readonly object[]): void {
    for (const message of messages) this.#session.say(message);
  }

  /** Whether all behind the event of that number is still kept. */
  has(number: number): boolean {
    return number >= this.#forgotten && number <= this.#number;
  }

  /** A reader, from behind the event of that number on. One who is still there is sent away: his connection is dead, or another's. */
  read(sink: HttpSink, behind: number): void {
    this.#sink?.end();
    this.#sink = sink;
    this.awaySinceMs = undefined;
    sink.onClosed(() => {
      if (this.#sink === sink) this.#left();
    });
    sink.write('retry: 1000\n\n');
    for (const { number, text: kept } of this.#kept) if (number > behind) sink.write(kept);
  }

  tell({ name, data }: EventText): void {
    if (this.#over) return;
    this.#number += 1;
    const framed = `id: ${this.name}.${this.#number}\nevent: ${name}\ndata: ${data}\n\n`;
    this.#keep(framed);
    this.#sink?.write(framed);
  }

  /** A line that says nothing, so that proxies and readers know that the stream is there; and the session is. */
  beat(): void {
    this.#session.ping();
    this.#sink?.write(': \n\n');
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#session.close();
    this.#sink?.end();
    this.#kept.length = 0;
    this.#onOver(this);
  }

  #keep(framed: string): void {
    this.#kept.push({ number: this.#number, text: framed });
    this.#keptBytes += framed.length;
    while (this.#keptBytes > KEPT_BYTES_MAX) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) break;
      this.#keptBytes -= oldest.text.length;
      this.#forgotten = oldest.number;
    }
  }

  #left(): void {
    this.#sink = undefined;
    this.awaySinceMs = performance.now();
  }

  /** The gateway ends the session. A slow reader is cut off: what he has not read would come before any goodbye. */
  #ended(code: number, reason: string): void {
    const sink = this.#sink;
    if (code === SLOW) sink?.end(true);
    else this.tell(text('end', { code, reason }));
    this.close();
  }
}
