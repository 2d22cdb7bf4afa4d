/** Requests for single records, and pages of them, while acts over several workers hold keys: they wait, and are then answered. */
import type { GridRequest, LateParts, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { REQUEST_RECORD_PAGE, REQUEST_RECORD_WRITE } from '../../protocol/envelope.ts';
import { parseRead, parseWrite } from '../records/record-requests.ts';
import type { HeldKeys } from './held-keys.ts';
import type { Touched } from './touched-keys.ts';

export class HeldRecords implements RequestHandler {
  readonly kinds: readonly number[];
  readonly writeKinds: readonly number[];
  readonly #held: HeldKeys;
  readonly #inner: RequestHandler;

  constructor(held: HeldKeys, inner: RequestHandler) {
    this.#held = held;
    this.#inner = inner;
    this.kinds = inner.kinds;
    this.writeKinds = inner.writeKinds;
  }

  answer(request: GridRequest): RequestAnswer {
    if (!this.#held.isBusy) return this.#inner.answer(request);
    const touched = touchedByRequest(request);
    return this.#held.blocks(touched) ? this.#later(request, touched) : this.#inner.answer(request);
  }

  async *#later(request: GridRequest, touched: Touched): LateParts {
    while (this.#held.blocks(touched)) await this.#held.freed();
    yield* this.#inner.answer(request);
  }
}

function touchedByRequest({ kind, body }: GridRequest): Touched {
  if (kind === REQUEST_RECORD_PAGE) return { isWrite: false, isEverything: true, keys: [] };
  const isWrite = kind === REQUEST_RECORD_WRITE;
  const { map: space, key } = isWrite ? parseWrite(body) : parseRead(body);
  return { isWrite, isEverything: false, keys: [{ space, key }] };
}
