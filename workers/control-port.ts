/**
 * The conversation between a thread and its owner: ready, stop, and messages of the two's own making.
 *
 * It is for the rare things (start, stop, a neighbour that was replaced); records travel in rings.
 */
import type { Transferable } from 'node:worker_threads';

type Envelope<Body> = { readonly kind: 'ready' } | { readonly kind: 'stop' } | { readonly kind: 'message'; readonly body: Body };

/** What a MessagePort, a Worker and a parentPort have in common. */
interface Port {
  postMessage(message: unknown, transferList?: readonly Transferable[]): void;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  close?(): void;
}

export interface ControlListener<In> {
  /** The other side is set up. Only an owner hears this. */
  onReady?(): void;
  /** The owner asks to end. Only a thread hears this. */
  onStop?(): void;
  onMessage?(message: In): void;
}

export class ControlPort<In, Out> {
  readonly #port: Port;
  #stopSent = false;

  constructor(port: Port) {
    this.#port = port;
  }

  get stopSent(): boolean {
    return this.#stopSent;
  }

  listen(listener: ControlListener<In>): void {
    this.#port.on('message', (message) => {
      const envelope = message as Envelope<In>; // the border between two threads: their modules agree on In
      if (envelope.kind === 'ready') listener.onReady?.();
      else if (envelope.kind === 'stop') listener.onStop?.();
      else listener.onMessage?.(envelope.body);
    });
  }

  ready(): void {
    this.#post({ kind: 'ready' }, []);
  }

  stop(): void {
    this.#stopSent = true;
    this.#post({ kind: 'stop' }, []);
  }

  send(body: Out, transferList: readonly Transferable[] = []): void {
    this.#post({ kind: 'message', body }, transferList);
  }

  /** Hangs up: a listening port keeps its thread alive. */
  close(): void {
    this.#port.close?.();
  }

  #post(envelope: Envelope<Out>, transferList: readonly Transferable[]): void {
    this.#port.postMessage(envelope, transferList);
  }
}
