/**
 * The requests of anti-entropy, from their bytes to the service that answers them.
 */
import { assert } from '../../assert.ts';
import type { GridRequest, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { REQUEST_LEAF, REQUEST_LEAVES, REQUEST_OR_DIFF, REQUEST_OR_PUSH } from '../../protocol/envelope.ts';
import { ALL_ROWS } from '../security/access.ts';
import { parsePush, parseSyncQuestion } from './sync-requests.ts';
import type { ScopedSync } from './scoped-sync.ts';
import type { SyncService } from './sync-service.ts';

export class SyncHandler implements RequestHandler {
  readonly kinds: readonly number[] = [REQUEST_LEAVES, REQUEST_LEAF, REQUEST_OR_DIFF, REQUEST_OR_PUSH];
  /** A push names tags of its whole map, of any partition. */
  readonly writeKinds: readonly number[] = [REQUEST_OR_PUSH];
  readonly #sync: SyncService;
  readonly #scoped: ScopedSync;

  /** @param scoped answers for subjects with row rules. */
  constructor(sync: SyncService, scoped: ScopedSync) {
    this.#sync = sync;
    this.#scoped = scoped;
  }

  answer({ kind, body, gateway, session, nowMs }: GridRequest): RequestAnswer {
    if (kind === REQUEST_OR_PUSH) return this.#sync.orPush(parsePush(body, gateway, session), nowMs);
    const question = parseSyncQuestion(body);
    const view = this.#scoped.view(gateway, question.scope, question.map);
    const asker = askerOf(gateway, session);
    if (view !== ALL_ROWS) return this.#scoped.answer(kind, question, view, asker);
    if (kind === REQUEST_LEAVES) return this.#sync.leavesNowOrLater(question.map, question.kind, question.prefix, asker);
    if (kind === REQUEST_LEAF) return this.#sync.leafNowOrLater(question.map, question.kind, question.prefix, asker);
    assert(kind === REQUEST_OR_DIFF, `request of kind ${kind}`);
    return this.#sync.orDiff(question.map, question.keys, asker);
  }

  sessionClosed(gateway: number, session: number): void {
    this.#sync.forget(askerOf(gateway, session));
    this.#scoped.forget(askerOf(gateway, session));
  }
}

function askerOf(gateway: number, session: number): string {
  return `${gateway}:${session}`;
}
