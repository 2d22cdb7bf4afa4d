/**
 * Keeps web pages of others away from a server without authentication, on upgrades and HTTP alike.
 *
 * Such a server listens on loopback only, but the browser of its own machine reaches it for every page that the user
 * opens. Two headers that a page cannot forge tell: `Origin` names the page's site, and `Host` the name under which the
 * server was reached, which is the attacker's own name when its DNS answers 127.0.0.1 (DNS rebinding).
 * Programs other than browsers send no Origin and are let through.
 */
import { isLoopbackHost } from '../engine/loopback.ts';

export type OriginRefusal = 'HOST_NOT_LOOPBACK' | 'ORIGIN_NOT_TRUSTED';

export interface RequestHeaders {
  /** '' or undefined when absent. */
  readonly origin: string | undefined;
  readonly host: string | undefined;
}

/** Why a request to a server without authentication is refused; undefined when it is let through. */
export function originRefusal(headers: RequestHeaders, trustedOrigins: readonly string[]): OriginRefusal | undefined {
  if (!isLoopbackAuthority(headers.host ?? '')) return 'HOST_NOT_LOOPBACK';
  const origin = headers.origin ?? '';
  return origin === '' || isTrustedOrigin(origin, trustedOrigins, true) ? undefined : 'ORIGIN_NOT_TRUSTED';
}

/** True for an origin of the list, and for one of this machine where those count. */
export function isTrustedOrigin(origin: string, trustedOrigins: readonly string[], loopbackCounts: boolean): boolean {
  if (loopbackCounts && isLoopbackOrigin(origin)) return true;
  return trustedOrigins.some((trusted) => trusted.toLowerCase() === origin.toLowerCase());
}

/** `host` or `host:port`, an IPv6 address in brackets. Every request has a Host since HTTP/1.1: a missing one is refused. */
const AUTHORITY = /^(\[[0-9a-f:.]+\]|[^\s:/?#@[\]]+)(?::\d{1,5})?$/i;

function isLoopbackAuthority(authority: string): boolean {
  const [, host] = AUTHORITY.exec(authority) ?? [];
  return host !== undefined && isLoopbackHost(host);
}

/** Browsers write an origin as scheme, host and port, and nothing else; `null` is the origin of sandboxed pages. */
function isLoopbackOrigin(origin: string): boolean {
  const [, authority] = /^https?:\/\/(.+)$/i.exec(origin) ?? [];
  return authority !== undefined && isLoopbackAuthority(authority);
}
