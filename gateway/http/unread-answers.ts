/** Bytes of large answers that clients have not read yet, over all exchanges. */
export class UnreadAnswers {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** False when an answer of so many bytes is too much beside those that wait; one alone never is. */
  takes(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#bytesMax;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
  }

  /** It was read, or nobody will. */
  remove(bytes: number): void {
    this.#bytes -= bytes;
  }
}
