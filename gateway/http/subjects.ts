/**
 * Who asks over HTTP: the bearer of a token, or nobody in particular where that is allowed.
 *
 *   authentication off                     nobody, everywhere (origin.ts keeps strangers away)
 *   on                                     the token's principal; without one 401
 *   on, and httpAnonymous                  as above, but who has no token, or a bad one, is nobody
 */
import { GridError } from '../../engine/protocol/errors.ts';
import type { Principal } from '../authentication.ts';
import type { HttpDoor } from './http-door.ts';
import type { HttpQuestion } from './exchange.ts';
import type { RequestRate } from './request-rate.ts';
import type { Endpoint, Subject } from './route.ts';

export interface SubjectsOptions {
  readonly authRequired: boolean;
  /** Who has no token may ask all the same. */
  readonly anonymous: boolean;
  readonly rate: RequestRate;
  /** The grid behind the routes; undefined while it is not there. */
  readonly door: () => HttpDoor | undefined;
  /** A clock that only counts, ms. */
  readonly steadyMs: () => number;
}

const BEARER = /^Bearer[ ]+([^ ]+)$/i;

export class Subjects {
  readonly #options: SubjectsOptions;

  constructor(options: SubjectsOptions) {
    this.#options = options;
  }

  /**
   * Who asks, at once where no token must be checked. Throws and rejects with GridError UNAUTHENTICATED, RATE_LIMITED, or
   * UNAVAILABLE while the node does not serve.
   */
  of(question: HttpQuestion, endpoint: Endpoint): Subject | Promise<Subject> {
    const { door, authRequired, anonymous } = this.#options;
    const open = door();
    if (open === undefined) throw new GridError('UNAVAILABLE', 'the server does not serve yet, or not any more');
    if (!authRequired) return this.#nobody(question, open);
    const token = tokenOf(question, endpoint);
    if (token !== '') return this.#bearer(question, open, token);
    if (anonymous) return this.#nobody(question, open);
    throw new GridError('UNAUTHENTICATED', 'authentication required');
  }

  async #bearer(question: HttpQuestion, door: HttpDoor, token: string): Promise<Subject> {
    try {
      const principal = await door.authenticator.verify(token);
      return this.#subject(`subject ${principal.id}`, principal, door);
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      const nobody = this.#nobody(question, door); // who guesses tokens is slowed down, too
      if (this.#options.anonymous) return nobody;
      door.onRefused(error.message);
      throw error;
    }
  }

  #nobody(question: HttpQuestion, door: HttpDoor): Subject {
    return this.#subject(`address ${question.address()}`, undefined, door);
  }

  #subject(who: string, principal: Principal | undefined, door: HttpDoor): Subject {
    const { rate, steadyMs } = this.#options;
    const charge = (cost: number): void => {
      if (rate.admit(who, cost, steadyMs())) return;
      throw new GridError('RATE_LIMITED', 'rate limit exceeded, slow down');
    };
    charge(1);
    return { principal, access: door.accessOf(principal), charge };
  }
}

function tokenOf(question: HttpQuestion, endpoint: Endpoint): string {
  const [, token = ''] = BEARER.exec(question.header('authorization')) ?? [];
  if (token !== '' || endpoint.tokenInQuery !== true) return token;
  return new URLSearchParams(question.queryText).get('token') ?? '';
}
