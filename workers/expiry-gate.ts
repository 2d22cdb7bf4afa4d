/**
 * When records may expire: a removal is a write, so it must be possible to log it, and its event needs a gateway that
 * reads. Else the events of what expires would pile up before one that does not, with nobody to slow them down.
 */
export function mayExpire(storage: { readonly mayChange: boolean }, answers: { readonly blocked: boolean }): boolean {
  return storage.mayChange && !answers.blocked;
}
