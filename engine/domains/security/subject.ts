/**
 * Who asks, as policies see it: an id, roles, and what else the token claims.
 *
 * Claims are flat: `{org: {id: 7}}` is the claim `org.id`. Only texts, numbers, truth values and lists of them are kept.
 */

export type ClaimScalar = string | number | boolean;
export type Claim = ClaimScalar | readonly ClaimScalar[];

export interface Subject {
  readonly id: string;
  readonly roles: readonly string[];
  readonly claims: ReadonlyMap<string, Claim>;
}

const DEPTH_MAX = 4;
const CLAIMS_MAX = 64;
/** Said by `auth.id` and `auth.roles`, whatever a claim of that name says; and what differs from token to token, and says nothing of who has it. */
const LEFT_OUT: ReadonlySet<string> = new Set(['id', 'roles', 'exp', 'iat', 'nbf', 'jti']);

/** The claims of a token's payload. */
export function claimsOf(payload: object): ReadonlyMap<string, Claim> {
  const claims = new Map<string, Claim>();
  gather(payload, '', 1, claims);
  return claims;
}

/** What `auth.<name>` means for a subject; undefined when it has no such claim, or is nobody in particular. */
export function authValue(subject: Subject | undefined, name: string): Claim | undefined {
  if (subject === undefined) return undefined;
  if (name === 'id') return subject.id;
  if (name === 'roles') return subject.roles;
  return subject.claims.get(name);
}

/** All that `auth.<name>` can mean for a subject, by name: to be sent to workers. */
export function authValues(subject: Subject | undefined): Readonly<Record<string, Claim>> | undefined {
  return subject && Object.fromEntries([...subject.claims, ['id', subject.id], ['roles', subject.roles]]);
}

function gather(value: object, prefix: string, depth: number, into: Map<string, Claim>): void {
  for (const [key, member] of Object.entries(value)) {
    const name = prefix + key;
    if (into.size >= CLAIMS_MAX || LEFT_OUT.has(name)) continue;
    if (isScalar(member)) into.set(name, member);
    else if (Array.isArray(member)) {
      if (member.every(isScalar)) into.set(name, member);
    } else if (typeof member === 'object' && member !== null && depth < DEPTH_MAX) gather(member, `${name}.`, depth + 1, into);
  }
}

function isScalar(value: unknown): value is ClaimScalar {
  return typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value));
}
