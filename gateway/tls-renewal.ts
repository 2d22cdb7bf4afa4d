/** The certificate that a node serves with, and how it is changed while the node runs; tls-files.ts has the picture. */
import type { Logger } from 'pino';
import { readTlsPair, type TlsFiles, watchTlsFiles } from '../workers/tls-files.ts';

export class TlsRenewal {
  readonly #files: TlsFiles;
  readonly #log: Logger;
  readonly #serveAnew: () => Promise<void>;
  /** Of the pair that is served. */
  #digest = '';
  /** One at a time. */
  #renewing: Promise<void> = Promise.resolve();
  #isOver = false;
  #unwatch: () => void = () => {};

  /**
   * Throws GridError UNAVAILABLE when the files are no certificate and its key.
   *
   * @param serveAnew has new connections served with the files as they are now; rejects when the old ones serve on
   */
  constructor(files: TlsFiles, log: Logger, serveAnew: () => Promise<void>) {
    this.#files = files;
    this.#log = log;
    this.#serveAnew = serveAnew;
    this.#digest = this.#judge();
  }

  /** Renews when the files change. */
  watch(): void {
    this.#unwatch = watchTlsFiles(this.#files, () => void this.renew());
  }

  /** Resolves when it is done, or said in the log why not. Does not reject. */
  renew(): Promise<void> {
    this.#renewing = this.#renewing.then(() => this.#renew());
    return this.#renewing;
  }

  stop(): void {
    this.#isOver = true;
    this.#unwatch();
  }

  async #renew(): Promise<void> {
    if (this.#isOver) return;
    try {
      const digest = this.#judge();
      if (digest === this.#digest) return;
      await this.#serveAnew();
      this.#digest = digest;
    } catch (error) {
      this.#log.error({ error: String(error) }, 'the TLS files were not taken: the old certificate is served on');
    }
  }

  #judge(): string {
    const { subject, validTo, digest } = readTlsPair(this.#files);
    if (digest !== this.#digest) this.#log.info({ subject, validTo }, 'TLS certificate read');
    return digest;
  }
}
