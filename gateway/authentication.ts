/**
 * Checks the token of a connection (JWT), once for each connection: about a millisecond.
 *
 * One secret decides everything that an attacker might choose: a PEM public key means RS256 and nothing else, any other
 * text HS256 and nothing else, so that neither `alg: none` nor a public key used as an HMAC secret gets through.
 * Why a token was refused stays in the error's cause, for the log; the client reads the same words each time.
 */
import { importSPKI, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import { claimsOf, type Subject } from '../engine/domains/security/subject.ts';
import { GridError } from '../engine/protocol/errors.ts';

/** Longer tokens are refused unread. */
export const TOKEN_BYTES_MAX = 8 * 1024;

/** By how much the clock of the issuer may differ from ours. */
export const LEEWAY_SECONDS = 60;

/** Who a connection speaks for. */
export interface Principal extends Subject {
  /** The token's `sub`. */
  readonly id: string;
  readonly roles: readonly string[];
  /** What else the token says, for policies. */
  readonly claims: Subject['claims'];
  /** When the token ends, in seconds since 1970. */
  readonly expiresSeconds: number;
}

export interface AuthenticationOptions {
  /** Secret of HS256, or a PEM public key for RS256 in which `\n` may stand for a line break. Undefined: no authentication. */
  readonly jwtSecret: string | undefined;
  readonly jwtIssuer: string | undefined;
  readonly jwtAudience: string | undefined;
}

type Key = Parameters<typeof jwtVerify>[1];

export class Authenticator {
  /** False in no-auth mode: then nothing is verified, and only loopback is served. */
  readonly required: boolean;
  readonly #key: Key | undefined;
  readonly #options: JWTVerifyOptions;

  private constructor(key: Key | undefined, options: JWTVerifyOptions) {
    this.required = key !== undefined;
    this.#key = key;
    this.#options = options;
  }

  /** Rejects with GridError CONFIG_INVALID when the secret begins like a PEM key and is no RSA public key. */
  static async create(options: AuthenticationOptions): Promise<Authenticator> {
    const { jwtSecret, jwtIssuer, jwtAudience } = options;
    if (jwtSecret === undefined) return new Authenticator(undefined, {});
    const isPem = jwtSecret.trimStart().startsWith('-----BEGIN');
    const key = isPem ? await publicKey(jwtSecret) : new TextEncoder().encode(jwtSecret);
    return new Authenticator(key, {
      algorithms: [isPem ? 'RS256' : 'HS256'],
      clockTolerance: LEEWAY_SECONDS,
      requiredClaims: ['exp', 'sub'],
      ...(jwtIssuer === undefined ? {} : { issuer: jwtIssuer }),
      ...(jwtAudience === undefined ? {} : { audience: jwtAudience }),
    });
  }

  /**
   * The principal of a token. Rejects with GridError UNAUTHENTICATED, always with the same text.
   *
   * @param nowMs  time to judge by; the clock's, where it is left out
   */
  async verify(token: string, nowMs?: number): Promise<Principal> {
    if (this.#key === undefined) throw refused('no secret is configured');
    // Bytes are never fewer than characters, and a token of other characters than ASCII is none.
    if (token.length > TOKEN_BYTES_MAX) throw refused(`a token of ${token.length} characters`);
    const options = nowMs === undefined ? this.#options : { ...this.#options, currentDate: new Date(nowMs) };
    try {
      const { payload } = await jwtVerify(token, this.#key, options);
      return principalOf(payload);
    } catch (cause) {
      throw cause instanceof GridError ? cause : refused(cause);
    }
  }
}

async function publicKey(secret: string): Promise<Key> {
  try {
    return await importSPKI(secret.trim().replaceAll('\\n', '\n'), 'RS256');
  } catch (cause) {
    const message = 'jwtSecret begins like a key in PEM form, but it is no RSA public key (-----BEGIN PUBLIC KEY-----)';
    throw new GridError('CONFIG_INVALID', message, { cause });
  }
}

function principalOf(payload: JWTPayload): Principal {
  const { sub, exp, roles } = payload;
  const claims = claimsOf(payload);
  if (typeof sub !== 'string' || sub === '') throw refused('sub is no text');
  if (typeof exp !== 'number') throw refused('exp is no number');
  if (roles === undefined) return { id: sub, roles: [], claims, expiresSeconds: exp };
  if (!Array.isArray(roles) || !roles.every((role) => typeof role === 'string')) throw refused('roles is no list of texts');
  return { id: sub, roles, claims, expiresSeconds: exp };
}

function refused(cause: unknown): GridError {
  return new GridError('UNAUTHENTICATED', 'Authentication failed', { cause });
}
