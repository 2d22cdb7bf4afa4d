/**
 * Certificate and key: judged before anybody serves with them, and looked at again while the server runs.
 *
 *   start ─ judge ─ an SSLApp in each gateway thread ─ listen
 *   files changed, or SIGHUP ─ judge ─┬─ good ─▶ another SSLApp in each thread; the first one listens with it
 *                                     ├─ same ─▶ nothing
 *                                     └─ bad ──▶ said in the log, and the old ones serve on
 *
 * A connection stays with the app that took it, so nobody is cut off; only one that is just being made while the port is
 * bound anew may have to be made again. What is judged here is read again by uWS, which takes
 * names of files only.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Config } from '../engine/config.ts';
import { GridError } from '../engine/protocol/errors.ts';

/** How often the files are looked at. */
const LOOK_MS = 2000;

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** What the files hold; the key goes nowhere but to TLS. */
export interface TlsPair {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** When the certificate ends, and who it is of, for the log. */
  readonly validTo: string;
  readonly subject: string;
  /** Tells another certificate or key from the same. */
  readonly digest: string;
}

/** Where they are; undefined when the server speaks plainly. */
export function tlsFilesOf({ tlsCertFile, tlsKeyFile }: Config): TlsFiles | undefined {
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  return { certFile: tlsCertFile, keyFile: tlsKeyFile };
}

/** Reads and judges them. Throws GridError UNAVAILABLE that names the file and what is wrong with it. */
export function readTlsPair({ certFile, keyFile }: TlsFiles): TlsPair {
  const cert = read('tlsCertFile', certFile);
  const key = read('tlsKeyFile', keyFile);
  try {
    const { subject, validTo } = new X509Certificate(cert);
    createSecureContext({ cert, key });
    const digest = createHash('sha256').update(cert).update(key).digest('hex');
    return { cert, key, subject: subject.replaceAll('\n', ', '), validTo, digest };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new GridError('UNAVAILABLE', `${certFile} and ${keyFile} are no certificate and its key in PEM form: ${reason}`);
  }
}

/** Calls `onChange` when one of the files is another; returns what stops it. Does not keep the process alive. */
export function watchTlsFiles({ certFile, keyFile }: TlsFiles, onChange: () => void): () => void {
  const look = (now: { mtimeMs: number; ino: number }, before: { mtimeMs: number; ino: number }): void => {
    if (now.mtimeMs !== before.mtimeMs || now.ino !== before.ino) onChange();
  };
  for (const file of [certFile, keyFile]) watchFile(file, { interval: LOOK_MS, persistent: false }, look);
  return () => {
    for (const file of [certFile, keyFile]) unwatchFile(file, look);
  };
}

function read(option: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new GridError(
      'UNAVAILABLE',
      `${option} ${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
