/** Whose a variant is: a form of Lattice or a piece of it, or what it is compared with. By its name. */

const OTHERS =
  /^(raw|replay|naive|pm|postMessage|msgpackr|map|js-map|lmdb|fdatasync|redis|socket\.io|y-|hocuspocus|gun|tinybase|automerge|multi-values|psql)/;

export function isLattice(variant: string): boolean {
  return !OTHERS.test(variant);
}

/** Raw sockets that move the same bytes. */
export function isRaw(variant: string): boolean {
  return variant.startsWith('raw');
}
