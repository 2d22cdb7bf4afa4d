/**
 * What acts over several workers say to the workers, and which acts are under way: a successor of a worker is told what it must hold.
 * The order of the steps is that of joint-acts.ts.
 */
import {
  decodeHoldAnswer,
  encodeAct,
  encodeHold,
  encodeRoll,
  type HoldAnswer,
  type HoldAsk,
} from '../../engine/domains/kv/joint-bodies.ts';
import { replyOf } from '../../engine/domains/kv/refused-reply.ts';
import type { SpaceKey } from '../../engine/domains/kv/touched-keys.ts';
import { CALL_NONE, REQUEST_ACT_HOLD, REQUEST_ACT_RELEASE, REQUEST_ACT_ROLL } from '../../engine/protocol/envelope.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { WorkerCalls } from '../worker-calls.ts';
import type { WorkerLinks } from '../worker-links.ts';
import type { CommandRouter } from './command-router.ts';

export interface ActCallsContext {
  readonly calls: Pick<WorkerCalls, 'everyone' | 'request'>;
  readonly links: Pick<WorkerLinks, 'request'>;
  readonly router: Pick<CommandRouter, 'ownerOfKey' | 'mayNameMap'>;
}

/** A watched key, and the versions that it had: at its owner, and, of a hash, at every worker that has some of it. */
export interface Watched extends SpaceKey {
  readonly versions: ReadonlyMap<number, string>;
}

/** An act under way. */
export interface Act {
  readonly number: number;
  /** What each worker was asked to hold. */
  readonly holds: ReadonlyMap<number, HoldAsk>;
}

/** What an act asks for. */
export type Wish = Pick<HoldAsk, 'isExclusive' | 'isEverything'> & {
  readonly keys: readonly SpaceKey[];
  readonly told: readonly SpaceKey[];
  readonly wholes: readonly Uint8Array[];
  readonly watched: readonly Watched[];
  /** Commands that read, by worker. */
  readonly bodies: ReadonlyMap<number, Uint8Array>;
  readonly change: Uint8Array;
};

export const NOTHING: Wish = {
  isExclusive: false,
  isEverything: false,
  keys: [],
  told: [],
  wholes: [],
  watched: [],
  bodies: new Map(),
  change: new Uint8Array(0),
};

export interface Answered {
  /** Why nothing was done; ''. */
  readonly refusal: string;
  /** It was done, but not as safely as an answer says: why; ''. */
  readonly trouble: string;
  /** What the log of the worker has of it the next start will show: it takes nothing more, or nobody asks any more. */
  readonly isOpen: boolean;
}

const RETRY_MS = 20;
const NO_BYTES = new Uint8Array(0);
/** What the client is told who was not answered in time. */
export const LATE = 'TRYAGAIN DEADLINE_EXCEEDED no answer within the deadline: what the command did is unknown';
/** What says that a worker may not have seen a request, or cannot do it yet. */
const UNANSWERED = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'OVERLOADED']);
/** What says that workers died at it: it was set aside, and not done. All other errors are of the log, or the data store, behind what was done. */
const SET_ASIDE = 'INTERNAL';
const decoder = new TextDecoder();

export class ActCalls {
  readonly #context: ActCallsContext;
  readonly #acts = new Map<number, Act>();
  #last = 0;
  #isClosed = false;

  constructor(context: ActCallsContext) {
    this.#context = context;
  }

  get underWay(): number {
    return this.#acts.size;
  }

  /** What a worker that replaces another must hold. */
  workerReplaced(worker: number): void {
    const holds = [...this.#acts.values()].flatMap(({ holds }) => holds.get(worker) ?? []);
    this.tell(worker, REQUEST_ACT_ROLL, encodeRoll(holds));
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Asks until the worker has answered. */
  async untilAnswered(worker: number, kind: number, body: Uint8Array): Promise<Answered> {
    while (!this.#isClosed) {
      try {
        const [parts] = await this.#context.calls.request(kind, [worker], () => body);
        return { refusal: decoder.decode(parts?.[0] ?? NO_BYTES), trouble: '', isOpen: false };
      } catch (error) {
        if (!(error instanceof GridError)) throw error;
        if (error.code === SET_ASIDE) return { refusal: replyOf(error), trouble: '', isOpen: false };
        if (!UNANSWERED.has(error.code)) return { refusal: '', trouble: replyOf(error), isOpen: error.code === 'READ_ONLY' };
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    return { refusal: '', trouble: LATE, isOpen: true };
  }

  /** From now on the act is under way. */
  begin(wish: Wish): Act {
    const { router, calls } = this.#context;
    const isWide = wish.isEverything || wish.told.some((key) => router.mayNameMap(key));
    const workers = new Set(isWide ? calls.everyone : []);
    for (const { key } of wish.keys) workers.add(router.ownerOfKey(key));
    for (const worker of wish.bodies.keys()) workers.add(worker);
    this.#last += 1;
    const number = this.#last;
    const holds = new Map<number, HoldAsk>();
    for (const worker of [...workers].sort((left, right) => left - right)) {
      const owns = ({ key }: SpaceKey): boolean => router.ownerOfKey(key) === worker;
      holds.set(worker, {
        act: number,
        isExclusive: wish.isExclusive,
        isEverything: wish.isEverything,
        keys: wish.keys.filter(owns),
        told: wish.told.filter((key) => owns(key) || router.mayNameMap(key)),
        wholes: wish.wholes,
        watched: wish.watched.filter(({ versions }) => versions.has(worker)),
        commands: wish.bodies.get(worker) ?? NO_BYTES,
        change: wish.change,
      });
    }
    const act = { number, holds };
    this.#acts.set(number, act);
    return act;
  }

  /** Rejects with GridError; a string is a refusal. */
  async hold({ holds }: Act): Promise<ReadonlyMap<number, HoldAnswer> | string> {
    const workers = [...holds.keys()];
    const bodies = new Map([...holds].map(([worker, ask]) => [worker, encodeHold(ask)]));
    const parts = await this.#context.calls.request(REQUEST_ACT_HOLD, workers, (worker) => bodies.get(worker) ?? NO_BYTES);
    const answers = new Map<number, HoldAnswer>();
    for (const [index, worker] of workers.entries()) {
      const [body] = parts[index] ?? [];
      if (body === undefined) throw new GridError('UNAVAILABLE', 'a worker gave no answer');
      const answer = decodeHoldAnswer(body);
      if (answer.refusal !== '') return answer.refusal;
      answers.set(worker, answer);
    }
    return answers;
  }

  /** Nothing is held any more. A server that ends tells nobody: what is decided and not done everywhere its next start carries on. */
  end({ number, holds }: Act): void {
    if (!this.#acts.delete(number) || this.#isClosed) return;
    for (const worker of holds.keys()) this.tell(worker, REQUEST_ACT_RELEASE, encodeAct(number));
  }

  tell(worker: number, kind: number, body: Uint8Array): void {
    this.#context.links.request(worker, CALL_NONE, 0, kind, body, Number.NaN);
  }
}
