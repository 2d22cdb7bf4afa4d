/**
 * Finds the queries that a row may concern without asking each: those with equalities are hashed by what they compare with.
 *
 *   signature "done owner" ─▶ hash of (false, 7) ─▶ queries with `done = false AND owner = 7 AND …`
 *   no equality            ─▶ every row may concern them
 *
 * A row costs one look-up per signature, however many queries there are. What is found may still not match. Rows are looked at as
 * they are stored, so a query that sees them otherwise is found only by what reads the same in both.
 */
import { ALL_ROWS, type RowView } from '../security/access.ts';
import { isScalar } from './comparison.ts';
import { conjunctsOf, type Predicate, type PredicateLeaf } from './predicate.ts';

/** What can be found by its predicate. */
export interface Filtered {
  readonly predicate: Predicate;
  readonly view: RowView;
}

interface Signature<Q> {
  readonly leaves: readonly PredicateLeaf[];
  readonly byHash: Map<string, Set<Q>>;
}

export class EqualityFilter<Q extends Filtered> {
  readonly #bySignature = new Map<string, Signature<Q>>();
  readonly #others = new Set<Q>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(query: Q): void {
    const leaves = equalitiesOf(query);
    this.#size += 1;
    if (leaves.length === 0) {
      this.#others.add(query);
      return;
    }
    const name = signatureOf(leaves);
    let signature = this.#bySignature.get(name);
    if (signature === undefined) {
      signature = { leaves, byHash: new Map() };
      this.#bySignature.set(name, signature);
    }
    const hash = hashOf(leaves.map(({ operand }) => operand));
    const queries = signature.byHash.get(hash);
    if (queries === undefined) signature.byHash.set(hash, new Set([query]));
    else queries.add(query);
  }

  remove(query: Q): void {
    const leaves = equalitiesOf(query);
    if (leaves.length === 0) {
      if (this.#others.delete(query)) this.#size -= 1;
      return;
    }
    const name = signatureOf(leaves);
    const signature = this.#bySignature.get(name);
    const hash = hashOf(leaves.map(({ operand }) => operand));
    const queries = signature?.byHash.get(hash);
    if (signature === undefined || queries === undefined || !queries.delete(query)) return;
    this.#size -= 1;
    if (queries.size === 0) signature.byHash.delete(hash);
    if (signature.byHash.size === 0) this.#bySignature.delete(name);
  }

  /** True when rows that concern the query are found by what they hold: a row that held it must be known otherwise. */
  static finds(query: Filtered): boolean {
    return equalitiesOf(query).length > 0;
  }

  /** The queries that every row may concern. */
  others(): Iterable<Q> {
    return this.#others;
  }

  /** Calls `visit` with each query that the row may concern. */
  forEach(value: unknown, key: string, visit: (query: Q) => void): void {
    for (const { leaves, byHash } of this.#bySignature.values()) {
      const fields = leaves.map((leaf) => leaf.read(value, key));
      const queries = byHash.get(hashOf(fields));
      if (queries !== undefined) for (const query of queries) visit(query);
    }
    for (const query of this.#others) visit(query);
  }
}

const known = new WeakMap<Predicate, readonly PredicateLeaf[]>();
const knownOfViews = new WeakMap<Predicate, readonly PredicateLeaf[]>();

/** The leaves `attribute = text, number or boolean` that every wanted row fulfils, one per attribute. */
function equalitiesOf({ predicate, view }: Filtered): readonly PredicateLeaf[] {
  const seesAll = view === ALL_ROWS;
  const cache = seesAll ? known : knownOfViews;
  const cached = cache.get(predicate);
  if (cached !== undefined) return cached;
  const byAttribute = new Map<string, PredicateLeaf>();
  for (const leaf of conjunctsOf(predicate.tree)) {
    const { op, operand, negated, attribute, literal } = leaf;
    // A hidden field `a.b` lets `b` of the map `a` be seen in its place, under the same name.
    if (!seesAll && !literal && attribute.includes('.')) continue;
    if (op === 'eq' && !negated && operand !== null && isScalar(operand) && !byAttribute.has(attribute))
      byAttribute.set(attribute, leaf);
  }
  const leaves = [...byAttribute.values()].sort((a, b) => (a.attribute < b.attribute ? -1 : 1));
  cache.set(predicate, leaves);
  return leaves;
}

function signatureOf(leaves: readonly PredicateLeaf[]): string {
  return leaves.map(({ attribute, literal }) => `${literal ? '=' : '.'}${attribute}`).join('\0');
}

/** Equal for fields that are equal by ===; what is no scalar equals no operand here. */
function hashOf(fields: readonly unknown[]): string {
  let hash = '';
  for (const field of fields) hash += `${typeof field === 'object' ? 'object' : `${(typeof field)[0]}${String(field)}`}\0`;
  return hash;
}
