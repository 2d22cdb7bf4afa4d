/**
 * Which pages may read what is answered (Cross-Origin Resource Sharing), and their browsers' question before they ask.
 *
 *   page ─ OPTIONS, Origin, Access-Control-Request-Method ─▶ 204 with what is allowed ─▶ the request itself
 *
 * The same origins as for WebSockets: without authentication loopback ones and those of trustedOrigins, with it those of
 * trustedOrigins, since there the token decides and not the page. Nothing is allowed by cookies: there are none.
 */
import { isTrustedOrigin } from '../origin.ts';
import type { Headers } from './http-reply.ts';

export interface CorsOptions {
  readonly trustedOrigins: readonly string[];
  readonly authRequired: boolean;
}

/** A browser asks again after so many seconds. */
const MAX_AGE_S = 600;

const REQUEST_HEADERS = 'Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, Lattice-Level, Lattice-TTL-Ms';
const ANSWER_HEADERS = 'ETag, Lattice-Level, Lattice-TTL-Ms, Retry-After, WWW-Authenticate';

/** Headers of every answer to a request that names its origin. */
export function corsHeaders(origin: string, { trustedOrigins, authRequired }: CorsOptions): Headers {
  if (origin === '') return [];
  if (!isTrustedOrigin(origin, trustedOrigins, !authRequired)) return [['Vary', 'Origin']];
  return [
    ['Vary', 'Origin'],
    ['Access-Control-Allow-Origin', origin],
    ['Access-Control-Expose-Headers', ANSWER_HEADERS],
  ];
}

/** Headers of the answer to OPTIONS, besides `corsHeaders`. `methods` as in Allow. */
export function preflightHeaders(methods: string): Headers {
  return [
    ['Allow', methods],
    ['Access-Control-Allow-Methods', methods],
    ['Access-Control-Allow-Headers', REQUEST_HEADERS],
    ['Access-Control-Max-Age', String(MAX_AGE_S)],
  ];
}
