/** Tokens as an identity provider signs them. */
import { SignJWT } from 'jose';

export const TEST_SECRET = 'a secret for tests that is long enough for HS256';

export interface TokenClaims {
  readonly sub: string;
  readonly roles?: readonly string[];
  /** When it ends, in seconds from now; default 600. */
  readonly expiresS?: number;
  readonly [claim: string]: unknown;
}

export function signedToken({ sub, expiresS = 600, ...claims }: TokenClaims): Promise<string> {
  const token = new SignJWT({ ...claims }).setProtectedHeader({ alg: 'HS256' }).setSubject(sub);
  return token.setExpirationTime(Math.floor(Date.now() / 1000) + expiresS).sign(new TextEncoder().encode(TEST_SECRET));
}
