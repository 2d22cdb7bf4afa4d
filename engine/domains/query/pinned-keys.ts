/**
 * The keys that a filter pins: no other row can match, so only their owners are asked, and there only these keys are looked up.
 */
import { KEY_ATTRIBUTE } from './attribute.ts';
import { conjunctsOf, type PredicateTree } from './predicate.ts';

/** The keys that a matching row can have, each once, or undefined when the filter does not say. */
export function pinnedKeys(tree: PredicateTree): readonly string[] | undefined {
  for (const { attribute, op, operand, negated } of conjunctsOf(tree)) {
    if (attribute !== KEY_ATTRIBUTE || negated) continue;
    if (op === 'eq' && typeof operand === 'string') return [operand];
    if (op === 'in' && Array.isArray(operand))
      return [...new Set(operand.filter((key): key is string => typeof key === 'string'))];
  }
  return undefined;
}
