/**
 * The main thread's answers to gateways (node-desk.ts): definitions, the audit, and what all gateways know together.
 */
import { GridError } from '../engine/protocol/errors.ts';
import type { AuditStore } from '../workers/postgres/audit-store.ts';
import type { DefinitionRegistry } from './definition-registry.ts';
import type { GatewayFacts, NodeAnswer, NodeQuestion } from './node-desk.ts';

export interface NodeAnswersOptions {
  /** Undefined until the node has its storage. */
  readonly registry: () => DefinitionRegistry | undefined;
  /** Undefined with `store: none`: the audit is in the log of the process alone. */
  readonly audit: () => AuditStore | undefined;
  /** Asks every gateway. */
  readonly gateways: () => Promise<readonly GatewayFacts[]>;
  readonly log: (fields: object, text: string) => void;
}

export class NodeAnswers {
  readonly #options: NodeAnswersOptions;

  constructor(options: NodeAnswersOptions) {
    this.#options = options;
  }

  /** Never rejects with a GridError: that is an answer, too. */
  async answer(question: NodeQuestion): Promise<NodeAnswer> {
    try {
      return await this.#answer(question);
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      return { error: { code: error.code, message: error.message } };
    }
  }

  async #answer(question: NodeQuestion): Promise<NodeAnswer> {
    const { audit, gateways, log } = this.#options;
    switch (question.ask) {
      case 'define':
        return { definition: await this.#registry().change(question.wish) };
      case 'history':
        return { history: await this.#registry().history(question.kind, question.name) };
      case 'auditBegin':
        log({ audit: question.entry }, 'administration');
        return { auditId: (await audit()?.begin(question.entry)) ?? 0 };
      case 'auditEnd':
        await audit()?.end(question.id, question.outcome);
        return { auditId: question.id };
      case 'auditRead':
        return { audit: (await audit()?.read(question.limit, question.before)) ?? [] };
      case 'gateways':
        return { gateways: await gateways() };
    }
  }

  #registry(): DefinitionRegistry {
    const registry = this.#options.registry();
    if (registry === undefined) throw new GridError('UNAVAILABLE', 'the node is starting');
    return registry;
  }
}
