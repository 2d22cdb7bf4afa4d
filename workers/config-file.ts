/** Where the configuration's file and the data's folder are found: the only part of configuration that reads the disk. */
import { existsSync, readFileSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import type { ConfigFile } from '../engine/config-resolution.ts';
import { GridError } from '../engine/protocol/errors.ts';

/** Read when it exists and no other file is named. */
export const CONFIG_FILE_DEFAULT = 'lattice.toml';

/**
 * Reads the named TOML file, or `lattice.toml` of `folder` when none is named and it is there; undefined without one.
 * Throws GridError CONFIG_INVALID when the file cannot be read or is not TOML, with the line.
 */
export function readConfigFile(named: string | undefined, folder: string): ConfigFile | undefined {
  const path = named ?? CONFIG_FILE_DEFAULT;
  const absolute = resolve(folder, path);
  if (named === undefined && !existsSync(absolute)) return undefined;
  return { path, values: parseToml(path, readText(path, absolute)) };
}

function readText(path: string, absolute: string): string {
  try {
    return readFileSync(absolute, 'utf8');
  } catch (cause) {
    throw new GridError('CONFIG_INVALID', `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function parseToml(path: string, text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    // The first line of the message: the rest quotes the file, which may hold a secret.
    const reason = cause.message.split('\n')[0] ?? '';
    throw new GridError('CONFIG_INVALID', `${path}, line ${cause.line}, column ${cause.column}: ${reason}`, { cause });
  }
}

/** Who starts the server, and where that user keeps data. */
export interface UserHome {
  /** 0 for root; -1 where the system has no numbers for users. */
  readonly uid: number;
  readonly home: string;
  /** XDG_DATA_HOME. A relative one does not count, as its specification demands. */
  readonly xdgDataHome: string | undefined;
}

/** The folder for data when none is set: of the system for root, else of the user. Never inside the checkout. */
export function defaultDataDir({ uid, home, xdgDataHome }: UserHome): string {
  if (uid === 0) return '/var/lib/lattice';
  const dataHome = xdgDataHome !== undefined && isAbsolute(xdgDataHome) ? xdgDataHome : join(home, '.local', 'share');
  return join(dataHome, 'lattice');
}
