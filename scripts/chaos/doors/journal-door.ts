/**
 * Reads the journal to its end and, at times, a part of it again: a sequence stands for one event for ever, and behind what
 * was read nothing appears late. Events may be gone, with a worker or a process.
 */
import { isMessage, type Message } from '../../../gateway/testing/client-codec.ts';
import { listIn, mapIn, numberIn, textIn } from '../../../gateway/testing/client-fields.ts';
import { AskingSocket } from './asking-socket.ts';
import { type Door, type DoorOptions, passed, type Target } from './door.ts';

const PAGE_EVENTS = 500;
const KNOWN_MAX = 4000;

export class JournalDoor implements Door {
  readonly #options: DoorOptions;
  /** Events that were read, oldest first. */
  readonly #known = new Map<bigint, string>();
  #socket: AskingSocket | undefined;
  /** Everything below was read. */
  #end = 0n;
  #requests = 0;

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  async open({ port }: Target): Promise<void> {
    this.#socket = await AskingSocket.open(port);
  }

  async write(): Promise<void> {
    const { random } = this.#options;
    const [oldest] = this.#known.keys();
    const from = oldest !== undefined && random.below(4) === 0 ? oldest : this.#end;
    const requestId = `journal-${this.#requests++}`;
    const question = { type: 'JOURNAL_READ', requestId, fromSequence: String(from), limit: PAGE_EVENTS };
    await this.#socket?.ask(question, (message) => {
      if (message.type !== 'JOURNAL_READ_RESPONSE') return message.type === 'ERROR';
      if (message.requestId !== requestId) return false;
      this.#took(message);
      return true;
    });
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #took(page: Message): void {
    let last = -1n;
    for (const event of listIn(page, 'events')) {
      if (!isMessage(event)) throw new TypeError('an event is no map');
      const sequence = BigInt(textIn(event, 'sequence'));
      if (sequence <= last) this.#contradicts(`sequence ${sequence} stands behind ${last}`);
      last = sequence;
      this.#meet(sequence, textOf(event));
    }
    const next = BigInt(textIn(page, 'nextSequence'));
    if (next > this.#end) this.#end = next;
    for (const sequence of this.#known.keys()) {
      if (this.#known.size <= KNOWN_MAX) break;
      this.#known.delete(sequence);
    }
  }

  #meet(sequence: bigint, text: string): void {
    const known = this.#known.get(sequence);
    if (known === undefined && sequence < this.#end) this.#contradicts(`sequence ${sequence} appeared late, below ${this.#end}`);
    if (known !== undefined && known !== text) this.#contradicts(`sequence ${sequence} was ${known} and is ${text}`);
    if (known !== undefined) return;
    this.#known.set(sequence, text);
    passed(this.#options.counts, 'journal events read');
  }

  #contradicts(text: string): void {
    this.#options.counts.contradictions.push(`journal: ${text}`);
  }
}

function textOf(event: Message): string {
  const stamp = mapIn(event, 'timestamp');
  return `${textIn(event, 'type')} ${textIn(event, 'mapName')}/${textIn(event, 'key')} ${numberIn(stamp, 'millis')}`;
}
