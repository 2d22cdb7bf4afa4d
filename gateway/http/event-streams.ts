/**
 * The streams of a gateway: those with a reader, and for a while those whose reader may come back.
 *
 *   Last-Event-ID: <stream>.<number> ─┬─ known here, asked for the same by the same ─▶ goes on behind that event
 *                                     └─ otherwise ─▶ a new stream, whose first event is `gap`
 *
 * A reader who comes back to another gateway thread of the node finds no stream of his there: a gap, too.
 */
import { GridError } from '../../engine/protocol/errors.ts';
import { EventStream, type StreamWish } from './event-stream.ts';
import { text } from './event-texts.ts';
import type { HttpDoor } from './http-door.ts';
import type { HttpSink } from './http-sink.ts';

export const STREAMS_MAX = 2048;
const AWAY_MS_MAX = 30_000;
const BEAT_MS = 15_000;
const LOOK_MS = 1000;
const LAST_EVENT = /^([\w-]{22})\.(\d{1,15})$/;

export class EventStreams {
  readonly #streams = new Map<string, EventStream>();
  readonly #beatMs: number;
  #timer: NodeJS.Timeout | undefined;
  #beatAtMs = 0;

  /** @param idleTimeoutMs a session that says nothing for so long is closed. */
  constructor(idleTimeoutMs: number) {
    this.#beatMs = Math.min(BEAT_MS, idleTimeoutMs / 3);
  }

  /** Streams that are there, read or not. */
  get count(): number {
    return this.#streams.size;
  }

  /** A stream to read: the one that the last event names, or a new one. Throws GridError OVERLOADED. */
  open(door: HttpDoor, wish: StreamWish, lastEventId: string): (sink: HttpSink) => void {
    const [, name = '', number = ''] = LAST_EVENT.exec(lastEventId) ?? [];
    const known = this.#streams.get(name);
    if (known?.signature === wish.signature && known.has(Number(number))) return (sink) => known.read(sink, Number(number));
    const stream = this.#add(door, wish);
    return (sink) => {
      stream.read(sink, 0);
      if (lastEventId !== '')
        stream.tell(text('gap', { reason: 'what came since that event is not known here: read everything anew' }));
      stream.ask(wish.messages);
    };
  }

  #add(door: HttpDoor, wish: StreamWish): EventStream {
    if (this.#streams.size >= STREAMS_MAX) this.#closeLongestAway();
    if (this.#streams.size >= STREAMS_MAX) throw new GridError('OVERLOADED', `${STREAMS_MAX} streams are open`);
    const stream = new EventStream(door, wish, ({ name }) => this.#removed(name));
    this.#streams.set(stream.name, stream);
    this.#timer ??= setInterval(() => this.#look(), Math.min(LOOK_MS, this.#beatMs)).unref();
    return stream;
  }

  #removed(name: string): void {
    this.#streams.delete(name);
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #closeLongestAway(): void {
    let longest: EventStream | undefined;
    for (const stream of this.#streams.values()) {
      if (stream.awaySinceMs !== undefined && stream.awaySinceMs < (longest?.awaySinceMs ?? Number.POSITIVE_INFINITY))
        longest = stream;
    }
    longest?.close();
  }

  #look(): void {
    const nowMs = performance.now();
    const beats = nowMs - this.#beatAtMs >= this.#beatMs;
    if (beats) this.#beatAtMs = nowMs;
    for (const stream of [...this.#streams.values()]) {
      if (stream.awaySinceMs !== undefined && nowMs - stream.awaySinceMs > AWAY_MS_MAX) stream.close();
      else if (beats) stream.beat();
    }
  }
}
