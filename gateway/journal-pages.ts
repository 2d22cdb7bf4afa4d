/** Gathers the pages of all workers into one, in order. */
import { type JoinedPage, type JournalPage, decodePage, joinPages } from '../engine/domains/persistence/journal-wire.ts';
import { errorNumber } from '../engine/protocol/errors.ts';
import type { Gather } from './call-table.ts';

const DEADLINE_EXCEEDED = errorNumber('DEADLINE_EXCEEDED');

export class JournalPages implements Gather {
  readonly #eventsMax: number;
  readonly #onPage: (page: JoinedPage) => void;
  readonly #onError: (error: number) => void;
  readonly #pages: JournalPage[] = [];
  #error = -1;

  constructor(eventsMax: number, onPage: (page: JoinedPage) => void, onError: (error: number) => void) {
    this.#eventsMax = eventsMax;
    this.#onPage = onPage;
    this.#onError = onError;
  }

  answered(_worker: number, error: number, body: Uint8Array): void {
    if (error >= 0) this.#error = error;
    else this.#pages.push(decodePage(body));
  }

  complete(): void {
    if (this.#error >= 0) this.#onError(this.#error);
    else this.#onPage(joinPages(this.#pages, this.#eventsMax));
  }

  expired(): void {
    this.#onError(DEADLINE_EXCEEDED);
  }
}
