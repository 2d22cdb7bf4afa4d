/**
 * Whether a host is this machine by its very spelling. No name is looked up: a name that an attacker's DNS answers with
 * 127.0.0.1 is not this machine, whatever it resolves to (DNS rebinding).
 */

const NAMES = new Set(['localhost', '::1', '[::1]', '::ffff:127.0.0.1', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]']);

/** 127.0.0.0/8, four decimal parts without leading zeros: short, octal and hexadecimal spellings are refused. */
const IPV4 = /^127(?:\.(?:0|[1-9]\d{0,2})){3}$/;

/** `host` is a name or an address without a port; an IPv6 address may stand in brackets. */
export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase();
  if (NAMES.has(name)) return true;
  return IPV4.test(name) && name.split('.').every((part) => Number(part) <= 255);
}
