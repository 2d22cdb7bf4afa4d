/**
 * POST /api/auth/login: a token with the role admin for who knows the administrator's password (docs/PROTOCOL.md §1.4).
 *
 * There is one administrator, by configuration. Tokens are signed with the secret that verifies them, so there is no login
 * where tokens are verified by a public key. Who guesses is slowed down: each try costs as much as many other requests.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { SignJWT } from 'jose';
import { z } from 'zod';
import { GridError } from '../../engine/protocol/errors.ts';
import { jsonReply } from '../http/http-reply.ts';
import type { RequestRate } from '../http/request-rate.ts';
import { endpoint, type Route } from '../http/route.ts';
import { ADMIN_ROLE, parsedBody } from './administration.ts';

export interface LoginOptions {
  readonly jwtSecret: string | undefined;
  readonly jwtIssuer: string | undefined;
  readonly jwtAudience: string | undefined;
  readonly adminUsername: string;
  /** Undefined: nobody can log in. */
  readonly adminPassword: string | undefined;
  readonly rate: RequestRate;
  /** A clock that only counts, ms. */
  readonly steadyMs: () => number;
  /** Wall clock, ms. */
  readonly nowMs: () => number;
}

const TOKEN_LIFE_S = 24 * 3600;
/** Of the rate of administrative requests: five tries at once, then ten a second. */
const TRY_COST = 10;
const BODY_BYTES_MAX = 4096;
const BODY = z.strictObject({ username: z.string().max(256), password: z.string().max(1024) });
const TOKEN = z.object({ token: z.string() });

export function loginRoute(options: LoginOptions): Route {
  const login = endpoint({
    summary: 'A token of the administrator, for a day',
    access: 'open',
    body: { bytesMax: BODY_BYTES_MAX, types: { 'application/json': BODY }, about: 'JSON' },
    answers: {
      200: { about: 'the token', schema: TOKEN },
      401: { about: 'a wrong name or password' },
      429: { about: 'too many tries' },
      500: { about: 'no administrator is configured' },
    },
    answer: async ({ question, body }) => {
      const { rate, steadyMs, adminUsername, adminPassword, jwtSecret } = options;
      if (!rate.admit(`login ${question.address()}`, TRY_COST, steadyMs())) {
        throw new GridError('RATE_LIMITED', 'too many tries to log in');
      }
      if (adminPassword === undefined || jwtSecret === undefined || isPem(jwtSecret)) {
        throw new GridError(
          'CONFIG_INVALID',
          'no administrator is configured: set adminPassword, and a jwtSecret that is no public key',
        );
      }
      const { username, password } = parsedBody(BODY, body);
      const isRight = [isEqual(username, adminUsername), isEqual(password, adminPassword)];
      if (isRight.includes(false)) throw new GridError('UNAUTHENTICATED', 'wrong name or password');
      return jsonReply(200, { token: await tokenOf(username, jwtSecret, options) });
    },
  });
  return { path: '/api/auth/login', summary: 'Login of the administrator', methods: { post: login } };
}

function tokenOf(username: string, jwtSecret: string, { jwtIssuer, jwtAudience, nowMs }: LoginOptions): Promise<string> {
  const nowS = Math.floor(nowMs() / 1000);
  const claims = new SignJWT({ roles: [ADMIN_ROLE] })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(username)
    .setIssuedAt(nowS)
    .setExpirationTime(nowS + TOKEN_LIFE_S);
  if (jwtIssuer !== undefined) claims.setIssuer(jwtIssuer);
  if (jwtAudience !== undefined) claims.setAudience(jwtAudience);
  return claims.sign(new TextEncoder().encode(jwtSecret));
}

/** In a time that does not tell how much of it is right. */
function isEqual(given: string, right: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(right));
}

function isPem(secret: string): boolean {
  return secret.trimStart().startsWith('-----BEGIN');
}
