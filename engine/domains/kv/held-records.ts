/**
 * Requests for single records, and pages of them, beside commands that write several keys: such a command is seen whole or not at all.
 *
 *   record   waits while an act over several workers holds its key
 *   page     waits while an act holds anything; where it took several turns and a command wrote several keys meanwhile, it is
 *            read again, and at last with commands that write kept waiting
 */
import type { GridRequest, LateParts, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { REQUEST_RECORD_PAGE, REQUEST_RECORD_WRITE } from '../../protocol/envelope.ts';
import { parseRead, parseWrite } from '../records/record-requests.ts';
import type { HeldKeys } from './held-keys.ts';
import type { Touched } from './touched-keys.ts';

const PAGE_TRIES = 3;
const WHOLE_MAP: Touched = { isWrite: false, isEverything: true, keys: [] };

export class HeldRecords implements RequestHandler {
  readonly kinds: readonly number[];
  readonly writeKinds: readonly number[];
  readonly #held: HeldKeys;
  readonly #inner: RequestHandler;
  /** Names of holds of pages: below those of acts. */
  #lastHold = -1;

  constructor(held: HeldKeys, inner: RequestHandler) {
    this.#held = held;
    this.#inner = inner;
    this.kinds = inner.kinds;
    this.writeKinds = inner.writeKinds;
  }

  answer(request: GridRequest): RequestAnswer {
    if (request.kind === REQUEST_RECORD_PAGE) return this.#page(request);
    if (!this.#held.isBusy) return this.#inner.answer(request);
    const touched = touchedByRequest(request);
    return this.#held.blocks(touched) ? this.#later(request, touched) : this.#inner.answer(request);
  }

  async *#later(request: GridRequest, touched: Touched): LateParts {
    while (this.#held.blocks(touched)) await this.#held.freed();
    yield* this.#inner.answer(request);
  }

  async *#page(request: GridRequest): LateParts {
    const held = this.#held;
    for (let round = 1; round < PAGE_TRIES; round++) {
      while (held.blocks(WHOLE_MAP)) await held.freed();
      const before = held.jointWrites;
      const parts = await this.#partsOf(request);
      if (held.jointWrites === before) return yield* parts;
    }
    while (held.blocks(WHOLE_MAP)) await held.freed();
    this.#lastHold -= 1;
    const hold = this.#lastHold;
    held.hold(hold, false, true, []);
    try {
      yield* await this.#partsOf(request);
    } finally {
      held.release(hold);
    }
  }

  async #partsOf(request: GridRequest): Promise<Uint8Array[]> {
    const parts: Uint8Array[] = [];
    for await (const part of this.#inner.answer(request)) parts.push(part);
    return parts;
  }
}

function touchedByRequest({ kind, body }: GridRequest): Touched {
  const isWrite = kind === REQUEST_RECORD_WRITE;
  const { map: space, key } = isWrite ? parseWrite(body) : parseRead(body);
  return { isWrite, isEverything: false, keys: [{ space, key }] };
}
