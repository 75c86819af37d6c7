import { createHash } from 'node:crypto';
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled } from '../domain/errors.ts';
import { canonicalJson } from '../domain/plan.ts';

/** Parts of package.json that decide what is installed; its scripts do not come along. */
const FIELDS = [
  'dependencies',
  'optionalDependencies',
  'peerDependencies',
  'devDependencies',
  'peerDependenciesMeta',
  'overrides',
] as const;

/** Installing for production: these alone mean that there is something to install. */
const PRODUCTION_FIELDS = ['dependencies', 'optionalDependencies', 'peerDependencies'] as const;

const MAX_FILE_BYTES = 32 * 1024 * 1024;

const FOREIGN_LOCKS = ['yarn.lock', 'pnpm-lock.yaml', 'bun.lock', 'bun.lockb'] as const;

/** What npm is to install, and nothing else of the program. */
export interface DependencyManifest {
  /** A package.json of only what decides the installation. */
  packageJson: string;
  /** package-lock.json or npm-shrinkwrap.json, as it is. */
  lock: string;
}

async function readPlainFile(path: string): Promise<string | undefined> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  if (!found.isFile() || found.size > MAX_FILE_BYTES) {
    throw stalled(
      'DependenciesFailed',
      `${path.split('/').at(-1)} must be a plain file of at most ${MAX_FILE_BYTES / 1024 / 1024} MiB`,
    );
  }
  return await readFile(path, 'utf8');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseJson(name: string, text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (isRecord(value)) return value;
  } catch {
    // Said below.
  }
  throw stalled('DependenciesFailed', `${name} is not a JSON object; commit the one that npm wrote`);
}

function hasEntries(value: unknown): boolean {
  return isRecord(value) && Object.keys(value).length > 0;
}

/** Packages that are folders of the checkout cannot be installed from two files. */
function refuseLocalPackages(lock: Record<string, unknown>): void {
  for (const [path, entry] of Object.entries(isRecord(lock['packages']) ? lock['packages'] : {})) {
    if (!isRecord(entry)) continue;
    const resolved = entry['resolved'];
    if (entry['link'] === true || (typeof resolved === 'string' && /^(file:|\.)/.test(resolved))) {
      throw stalled(
        'DependenciesFailed',
        `the lock file names the local package ${path}; publish it, or put node_modules into the artifact`,
      );
    }
  }
}

async function readLock(programDir: string): Promise<string> {
  for (const name of ['npm-shrinkwrap.json', 'package-lock.json']) {
    const text = await readPlainFile(join(programDir, name));
    if (text === undefined) continue;
    refuseLocalPackages(parseJson(name, text));
    return text;
  }
  for (const name of FOREIGN_LOCKS) {
    const found = await lstat(join(programDir, name)).catch(() => undefined);
    if (found !== undefined) {
      throw stalled(
        'DependenciesFailed',
        `the artifact has ${name}, but only npm's package-lock.json can be installed from; add one, or put node_modules into the artifact`,
      );
    }
  }
  throw stalled(
    'DependenciesFailed',
    'no lock file: package.json has dependencies and there is no package-lock.json beside it; run `npm install`, commit the lock file and push again',
  );
}

/**
 * Reads what a program needs installed; undefined when it needs nothing.
 * @throws ReconcileError(stalled, DependenciesFailed): no lock file, a lock file of another tool, a local package, no JSON.
 */
export async function readDependencyManifest(programDir: string): Promise<DependencyManifest | undefined> {
  const text = await readPlainFile(join(programDir, 'package.json'));
  if (text === undefined) return undefined;
  const full = parseJson('package.json', text);
  if (!PRODUCTION_FIELDS.some((field) => hasEntries(full[field]))) return undefined;
  const kept = FIELDS.flatMap((field) => (full[field] === undefined ? [] : [[field, full[field]] as const]));
  const packageJson = canonicalJson({ name: 'program', version: '0.0.0', private: true, ...Object.fromEntries(kept) });
  return { packageJson, lock: await readLock(programDir) };
}

/** Names the tree that the manifest gives on this platform: `sha256:…`. */
export function dependencyDigest(manifest: DependencyManifest, nodeMajor: string): string {
  const parts = [manifest.packageJson, manifest.lock, nodeMajor, process.platform, process.arch];
  return `sha256:${createHash('sha256').update(JSON.stringify(parts)).digest('hex')}`;
}
