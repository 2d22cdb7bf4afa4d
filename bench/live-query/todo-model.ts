/**
 * What the views of W4 must show: todos of some owners, and for each owner the first open ones by time.
 *
 *   owner ─▶ its open todos, by (ts, key) ─▶ the first 50 are the view
 *
 * Each write says which views it changes and how, so that its way can be timed and a server without any logic can be given the same
 * bytes to move. The same seed makes the same writes.
 */

/** Rows of one view. */
export const VIEW_ROWS = 50;
const TITLE = 'something that somebody has to do';

export interface Todo {
  readonly owner: number;
  readonly done: boolean;
  readonly ts: number;
  /** Number of the write that made it so. */
  readonly write: number;
  readonly title: string;
}

export interface ViewChange {
  readonly owner: number;
  readonly changeType: 'LEAVE' | 'ENTER' | 'UPDATE';
  readonly key: string;
  /** Undefined for LEAVE. */
  readonly value: Todo | undefined;
}

export interface TodoWrite {
  readonly key: string;
  readonly value: Todo;
  /** What owners must be told, in the order LEAVE, ENTER, UPDATE. */
  readonly changes: readonly ViewChange[];
  /** Some view shows the written row. */
  readonly isShown: boolean;
}

interface OpenTodo {
  readonly key: string;
  readonly value: Todo;
}

export class TodoModel {
  readonly owners: number;
  readonly #rows: Todo[] = [];
  readonly #open: OpenTodo[][];
  #seed: number;

  constructor(owners: number, rows: number, seed = 1) {
    this.owners = owners;
    this.#seed = seed;
    this.#open = Array.from({ length: owners }, () => []);
    for (let row = 0; row < rows; row++) {
      const value = { owner: row % owners, done: this.#random(2) === 0, ts: this.#random(1_000_000), write: -1, title: TITLE };
      this.#rows.push(value);
      this.#insert(row, value);
    }
  }

  get rows(): readonly Todo[] {
    return this.#rows;
  }

  /** The rows that the owner's view must show, in order. */
  view(owner: number): readonly OpenTodo[] {
    return (this.#open[owner] ?? []).slice(0, VIEW_ROWS);
  }

  /** Changes a row at random, as write number `write`. */
  write(write: number): TodoWrite {
    const row = this.#random(this.#rows.length);
    const old = this.#rows[row] as Todo;
    const value = { ...this.#changed(old), write };
    const owners = [...new Set([old.owner, value.owner])];
    const before = owners.map((owner) => this.view(owner));
    this.#remove(row, old);
    this.#rows[row] = value;
    this.#insert(row, value);
    const key = keyOf(row);
    const changes = owners.flatMap((owner, at) => changesOf(owner, before[at] ?? [], this.view(owner), key));
    const isShown = changes.some((change) => change.key === key && change.changeType !== 'LEAVE');
    return { key, value, changes, isShown };
  }

  #changed(old: Todo): Todo {
    const what = this.#random(10);
    if (what < 5) return { ...old, done: !old.done };
    return what < 8 ? { ...old, ts: this.#random(1_000_000) } : { ...old, owner: this.#random(this.owners) };
  }

  #insert(row: number, value: Todo): void {
    if (value.done) return;
    const open = this.#open[value.owner] as OpenTodo[];
    const key = keyOf(row);
    const at = open.findIndex((one) => one.value.ts > value.ts || (one.value.ts === value.ts && one.key > key));
    open.splice(at < 0 ? open.length : at, 0, { key, value });
  }

  #remove(row: number, { owner, done }: Todo): void {
    if (done) return;
    const open = this.#open[owner] as OpenTodo[];
    open.splice(
      open.findIndex(({ key }) => key === keyOf(row)),
      1,
    );
  }

  /** minstd. */
  #random(below: number): number {
    this.#seed = (this.#seed * 48_271) % 0x7fffffff;
    return this.#seed % below;
  }
}

export function keyOf(row: number): string {
  return `todo-${String(row).padStart(6, '0')}`;
}

function changesOf(owner: number, before: readonly OpenTodo[], after: readonly OpenTodo[], written: string): ViewChange[] {
  const had = new Set(before.map(({ key }) => key));
  const has = new Set(after.map(({ key }) => key));
  const gone = before.filter(({ key }) => !has.has(key));
  const come = after.filter(({ key }) => !had.has(key));
  const kept = after.filter(({ key }) => key === written && had.has(key));
  return [
    ...gone.map(({ key }) => ({ owner, changeType: 'LEAVE' as const, key, value: undefined })),
    ...come.map(({ key, value }) => ({ owner, changeType: 'ENTER' as const, key, value })),
    ...kept.map(({ key, value }) => ({ owner, changeType: 'UPDATE' as const, key, value })),
  ];
}
