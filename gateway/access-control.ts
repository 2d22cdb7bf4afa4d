/**
 * Makes the access of a subject from the policies that hold now.
 */
import { type Access, FULL_ACCESS } from '../engine/domains/security/access.ts';
import type { Principal } from './authentication.ts';

export class AccessControl {
  /** The access of a subject; undefined = nobody in particular (no authentication). */
  accessOf(_principal: Principal | undefined): Access {
    return FULL_ACCESS;
  }
}
