/** PUT and DELETE /maps/chaos-http/{key}, at no level or a named one. */
import { isMessage } from '../../../gateway/testing/client-codec.ts';
import { levelOf, MEMORY } from '../levels.ts';
import { acknowledged, type Door, type DoorOptions, refused, type Target } from './door.ts';
import { RegisterKeys } from './register-keys.ts';

export const HTTP_MAP = 'chaos-http';

const SLOTS = 20;
const PADDING_MAX = 300;
/** Longer than the server takes for any answer. */
const SILENCE_MS_MAX = 40_000;
const LEVELS = ['', '', '', 'MEMORY', 'APPLIED', 'PERSISTED'] as const;

export class HttpDoor implements Door {
  readonly #options: DoorOptions;
  readonly #keys: RegisterKeys;
  #base = '';
  #abort = new AbortController();
  #writes = 0;

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#keys = new RegisterKeys(options.nodeId, HTTP_MAP, SLOTS, options.ledger.doors);
  }

  async open({ port }: Target): Promise<void> {
    this.#abort = new AbortController();
    this.#base = `http://127.0.0.1:${port}/maps/${HTTP_MAP}`;
  }

  async write(): Promise<void> {
    const { nodeId, random, counts } = this.#options;
    const { slot, settle } = this.#keys.take(random);
    const level = random.pick(LEVELS);
    const isRemoval = slot.value !== undefined && random.below(6) === 0;
    const value = { by: `${nodeId}#${this.#writes++}`, text: 'x'.repeat(random.below(PADDING_MAX)) };
    const body = isRemoval ? undefined : JSON.stringify(value);
    const attempt = slot.register.write(body);
    counts.sent += 1;
    const reply = await this.#ask(`${slot.key}${level === '' ? '' : `?level=${level}`}`, body);
    const text = await reply.text();
    if (reply.status === 404) {
      counts.contradictions.push(`DELETE of ${slot.key} by its only writer: there is no such record`);
    } else if (reply.status === 201 || reply.status === 204) {
      const reached = levelOf(reply.headers.get('lattice-level') ?? undefined);
      if (reached < Math.max(levelOf(level), MEMORY))
        counts.contradictions.push(`HTTP asked for ${level}, told success at ${reply.headers.get('lattice-level')}`);
      attempt.reached = reached;
      slot.value = body;
      acknowledged(counts, reached, 'HTTP writes');
      settle();
    } else {
      const told: unknown = JSON.parse(text);
      refused(counts, `${reply.status} ${isMessage(told) ? String(told.error) : ''}`);
    }
  }

  close(): void {
    this.#abort.abort();
  }

  #ask(path: string, body: string | undefined): Promise<Response> {
    const signal = AbortSignal.any([this.#abort.signal, AbortSignal.timeout(SILENCE_MS_MAX)]);
    const { random } = this.#options;
    const type = random.below(2) === 0 ? 'application/json' : 'application/x-www-form-urlencoded';
    return fetch(`${this.#base}/${path}`, {
      method: body === undefined ? 'DELETE' : 'PUT',
      signal,
      ...(body === undefined ? {} : { body, headers: { 'content-type': type } }),
    });
  }
}
