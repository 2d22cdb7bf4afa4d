/**
 * Commands of Redis, each of which has one answer that a single writer can foretell:
 *
 *   SET, DEL, INCRBY on keys of database 0       HSET, HDEL on the map chaos-hash
 *
 * `UNKNOWN` says that a command took effect though its reply is lost with a worker; it counts as acknowledged.
 */
import { RespClient } from '../../../gateway/testing/resp-client.ts';
import { acknowledged, type Door, type DoorOptions, refused, type Target } from './door.ts';
import { RegisterKeys, type Slot } from './register-keys.ts';

export const DATABASE_MAP = 'db0';
export const HASH_MAP = 'chaos-hash';

const SLOTS = 10;
const PADDING_MAX = 300;

/** A command and what must come of it. */
interface Planned {
  readonly slot: Slot;
  readonly settle: () => void;
  readonly words: readonly string[];
  /** JSON text of the record afterwards. */
  readonly value: string | undefined;
  readonly reply: string;
}

export class RespDoor implements Door {
  readonly #options: DoorOptions;
  readonly #texts: RegisterKeys;
  readonly #numbers: RegisterKeys;
  readonly #fields: RegisterKeys;
  #client: RespClient | undefined;
  #writes = 0;

  constructor(options: DoorOptions) {
    this.#options = options;
    const { nodeId, ledger } = options;
    this.#texts = new RegisterKeys(`${nodeId}:text`, DATABASE_MAP, SLOTS, ledger.doors);
    this.#numbers = new RegisterKeys(`${nodeId}:number`, DATABASE_MAP, SLOTS, ledger.doors);
    this.#fields = new RegisterKeys(nodeId, HASH_MAP, SLOTS, ledger.doors);
  }

  async open({ respPort }: Target): Promise<void> {
    this.#client = await RespClient.open(respPort);
  }

  async write(): Promise<void> {
    const { counts, plainLevel } = this.#options;
    const client = this.#client;
    if (client === undefined) throw new Error('the door is closed');
    const { slot, settle, words, value, reply } = this.#plan();
    const attempt = slot.register.write(value);
    counts.sent += 1;
    const told = await client.text(...words);
    if (told.startsWith('-') && !told.startsWith('-UNKNOWN')) return refused(counts, told.slice(1));
    if (told.startsWith('-')) refused(counts, told.slice(1));
    else if (told !== reply)
      counts.contradictions.push(`${words.slice(0, 2).join(' ')}: ${told.trim()} in place of ${reply.trim()}`);
    attempt.reached = plainLevel;
    slot.value = value;
    acknowledged(counts, plainLevel, 'Redis writes');
    settle();
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  #plan(): Planned {
    const { random } = this.#options;
    switch (random.below(3)) {
      case 0:
        return this.#set();
      case 1:
        return this.#increment();
      default:
        return this.#setField();
    }
  }

  #set(): Planned {
    const taken = this.#texts.take(this.#options.random);
    if (this.#removes(taken.slot)) return { ...taken, words: ['DEL', taken.slot.key], value: undefined, reply: ':1\r\n' };
    const text = this.#text();
    return { ...taken, words: ['SET', taken.slot.key, text], value: JSON.stringify(text), reply: '+OK\r\n' };
  }

  #increment(): Planned {
    const taken = this.#numbers.take(this.#options.random);
    const by = 1 + this.#options.random.below(9);
    const sum = String(Number(JSON.parse(taken.slot.value ?? '0')) + by);
    return { ...taken, words: ['INCRBY', taken.slot.key, String(by)], value: JSON.stringify(sum), reply: `:${sum}\r\n` };
  }

  #setField(): Planned {
    const taken = this.#fields.take(this.#options.random);
    const { key, value: old } = taken.slot;
    if (this.#removes(taken.slot)) return { ...taken, words: ['HDEL', HASH_MAP, key], value: undefined, reply: ':1\r\n' };
    const value = JSON.stringify({ text: this.#text() });
    return { ...taken, words: ['HSET', HASH_MAP, key, value], value, reply: old === undefined ? ':1\r\n' : ':0\r\n' };
  }

  #removes({ value }: Slot): boolean {
    return value !== undefined && this.#options.random.below(6) === 0;
  }

  #text(): string {
    const { nodeId, random } = this.#options;
    return `${nodeId}#${this.#writes++} ${'x'.repeat(random.below(PADDING_MAX))}`;
  }
}
