/** A reader of server-sent events over a socket of its own, as a browser's EventSource is one, but one that says when it reads. */
import { type ClientRequest, type IncomingMessage, request } from 'node:http';

export interface ServerSentEvent {
  readonly id: string;
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const DEADLINE_MS = 10_000;

export class EventReader {
  /** Everything received, in order. */
  readonly events: ServerSentEvent[] = [];
  readonly response: IncomingMessage;
  readonly ended: Promise<void>;
  readonly #request: ClientRequest;
  #text = '';
  #waiting: (() => void)[] = [];

  private constructor(ask: ClientRequest, response: IncomingMessage) {
    this.#request = ask;
    this.response = response;
    this.ended = new Promise((resolve) => response.once('close', resolve));
    response.setEncoding('utf8');
    response.on('data', (part: string) => this.#take(part));
    response.on('error', () => {}); // cut off: `ended` tells
    response.once('close', () => this.#wake());
  }

  /** Resolves with the head of the answer, whatever it is. */
  static open(port: number, path: string, headers: Record<string, string> = {}): Promise<EventReader> {
    return new Promise((resolve, reject) => {
      const ask = request({ host: '127.0.0.1', port, path, headers, agent: false });
      ask.on('error', reject);
      ask.on('response', (response) => resolve(new EventReader(ask, response)));
      ask.end();
    });
  }

  get lastEventId(): string {
    return this.events.at(-1)?.id ?? '';
  }

  named(name: string): ServerSentEvent[] {
    return this.events.filter(({ event }) => event === name);
  }

  /** Resolves when an event of that name came that `isIt`; rejects when the stream ends before, or none comes. */
  async until(name: string, isIt: (data: ServerSentEvent['data']) => boolean = () => true): Promise<ServerSentEvent> {
    const endsMs = performance.now() + DEADLINE_MS;
    for (;;) {
      const found = this.events.find(({ event, data }) => event === name && isIt(data));
      if (found !== undefined) return found;
      if (this.response.closed || performance.now() > endsMs)
        throw new Error(`no event ${name} among ${JSON.stringify(this.events).slice(0, 2000)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Goes, as a reader whose network failed. */
  close(): void {
    this.#request.destroy();
  }

  #take(part: string): void {
    const blocks = (this.#text + part).split('\n\n');
    this.#text = blocks.pop() ?? '';
    for (const block of blocks) {
      const lines = block.split('\n').map((line) => line.split(/: (.*)/s, 2));
      const fields = new Map(lines.map(([name = '', value = '']) => [name, value]));
      const event = fields.get('event');
      if (event !== undefined)
        this.events.push({ id: fields.get('id') ?? '', event, data: Object(JSON.parse(fields.get('data') ?? 'null')) });
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
