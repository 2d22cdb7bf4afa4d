/**
 * A gateway's questions to the main thread: it alone changes what concerns the node as a whole, and knows all gateways.
 *
 *   ask(question) ─▶ main thread: node-answers.ts ─▶ answer, or a GridError by its code and message
 */
import type { Definition, DefinitionKind } from '../engine/operation/definitions.ts';
import { type ErrorCode, GridError } from '../engine/protocol/errors.ts';
import type { AuditEntry, AuditRecord } from '../workers/postgres/audit-store.ts';
import type { DefinitionChange } from '../workers/postgres/definition-store.ts';
import type { DefinitionWish } from './definition-registry.ts';
import type { SessionFacts } from './session-facts.ts';

/** What a gateway knows by itself and the others do not. */
export interface GatewayFacts {
  readonly sessions: readonly SessionFacts[];
  readonly slowOperations: readonly { readonly type: string; readonly tookMs: number; readonly msAgo: number }[];
}

export type NodeQuestion =
  | { readonly ask: 'define'; readonly wish: DefinitionWish }
  | { readonly ask: 'history'; readonly kind: DefinitionKind; readonly name: string }
  | { readonly ask: 'auditBegin'; readonly entry: AuditEntry }
  | { readonly ask: 'auditEnd'; readonly id: number; readonly outcome: string }
  | { readonly ask: 'auditRead'; readonly limit: number; readonly before: number | undefined }
  | { readonly ask: 'gateways' };

export type NodeAnswer =
  | { readonly definition: Definition }
  | { readonly history: readonly DefinitionChange[] }
  | { readonly auditId: number }
  | { readonly audit: readonly AuditRecord[] }
  | { readonly gateways: readonly GatewayFacts[] }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } };

/** Questions under way; more are refused. */
const QUESTIONS_MAX = 256;
const DEADLINE_MS = 20_000;

interface Waiting {
  readonly resolve: (answer: NodeAnswer) => void;
  readonly timer: NodeJS.Timeout;
}

/** Every method rejects with GridError: what the main thread refuses, OVERLOADED, DEADLINE_EXCEEDED. */
export class NodeDesk {
  readonly #send: (request: number, question: NodeQuestion) => void;
  readonly #waiting = new Map<number, Waiting>();
  #requests = 0;

  constructor(send: (request: number, question: NodeQuestion) => void) {
    this.#send = send;
  }

  /** Changes a definition on every thread. CONFLICT and NOT_FOUND are among what it rejects with. */
  async define(wish: DefinitionWish): Promise<Definition> {
    const answer = await this.#ask({ ask: 'define', wish });
    if ('definition' in answer) return answer.definition;
    throw errorOf(answer);
  }

  /** The versions of a definition, newest first. */
  async history(kind: DefinitionKind, name: string): Promise<readonly DefinitionChange[]> {
    const answer = await this.#ask({ ask: 'history', kind, name });
    if ('history' in answer) return answer.history;
    throw errorOf(answer);
  }

  /** Writes down what is about to be changed, and by whom; resolves with the entry's number. */
  async auditBegin(entry: AuditEntry): Promise<number> {
    const answer = await this.#ask({ ask: 'auditBegin', entry });
    if ('auditId' in answer) return answer.auditId;
    throw errorOf(answer);
  }

  /** Writes down how it ended. */
  async auditEnd(id: number, outcome: string): Promise<void> {
    const answer = await this.#ask({ ask: 'auditEnd', id, outcome });
    if ('error' in answer) throw errorOf(answer);
  }

  /** Entries of the audit, newest first, below `before` where it is given. */
  async auditRead(limit: number, before?: number): Promise<readonly AuditRecord[]> {
    const answer = await this.#ask({ ask: 'auditRead', limit, before });
    if ('audit' in answer) return answer.audit;
    throw errorOf(answer);
  }

  /** What each gateway knows of its sessions. */
  async gateways(): Promise<readonly GatewayFacts[]> {
    const answer = await this.#ask({ ask: 'gateways' });
    if ('gateways' in answer) return answer.gateways;
    throw errorOf(answer);
  }

  answered(request: number, answer: NodeAnswer): void {
    const waiting = this.#waiting.get(request);
    if (waiting === undefined) return; // came too late
    this.#waiting.delete(request);
    clearTimeout(waiting.timer);
    waiting.resolve(answer);
  }

  #ask(question: NodeQuestion): Promise<NodeAnswer> {
    if (this.#waiting.size >= QUESTIONS_MAX) {
      return Promise.reject(new GridError('OVERLOADED', `${QUESTIONS_MAX} questions about the node are under way`));
    }
    this.#requests += 1;
    const request = this.#requests;
    return new Promise((resolve) => {
      const late = { error: { code: 'DEADLINE_EXCEEDED', message: `no answer to ${question.ask} in time` } } as const;
      const timer = setTimeout(() => this.answered(request, late), DEADLINE_MS);
      timer.unref();
      this.#waiting.set(request, { resolve, timer });
      this.#send(request, question);
    });
  }
}

function errorOf(answer: NodeAnswer): GridError {
  return 'error' in answer
    ? new GridError(answer.error.code, answer.error.message)
    : new GridError('INTERNAL', 'an answer to another question');
}
