import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled } from '../domain/errors.ts';

/** What an installed `node_modules` turned out to be. */
export interface InstalledTree {
  dir: string;
  packages: number;
  /** Some of its packages are for this system only. */
  isPlatformBound: boolean;
}

type Fields = Record<string, unknown>;

const MAX_FILE_BYTES = 32 * 1024 * 1024;
const MAX_NAMED = 5;
const LOCKS = ['npm-shrinkwrap.json', 'package-lock.json'] as const;

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function readJson(path: string): Promise<Fields | undefined> {
  const info = await lstat(path).catch(() => undefined);
  if (info === undefined || !info.isFile() || info.size > MAX_FILE_BYTES) return undefined;
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The packages of a lock file (version 2 or 3) by their folder; undefined without any. */
async function packagesOf(path: string): Promise<Map<string, Fields> | undefined> {
  const packages = (await readJson(path))?.['packages'];
  if (!isRecord(packages)) return undefined;
  const entries = Object.entries(packages).filter((entry): entry is [string, Fields] => isRecord(entry[1]));
  return new Map(entries.filter(([folder]) => folder.startsWith('node_modules/')));
}

function refuse(programDir: string, why: string) {
  return stalled(
    'DependenciesFailed',
    `${programDir} ${why}; run \`npm ci\` (or \`npm ci --omit=dev\`) there and push again`,
  );
}

function differs(installed: Fields, locked: Fields | undefined): boolean {
  if (locked === undefined || installed['version'] !== locked['version']) return true;
  const [a, b] = [installed['integrity'], locked['integrity']];
  return typeof a === 'string' && typeof b === 'string' && a !== b;
}

/** Packages npm may leave out: development's, and those for other systems. */
function mayBeMissing(locked: Fields): boolean {
  return ['dev', 'devOptional', 'optional', 'peer', 'extraneous'].some((mark) => locked[mark] === true);
}

async function isThere(programDir: string, folder: string, installed: Fields): Promise<boolean> {
  const manifest = await readJson(join(programDir, folder, 'package.json'));
  return manifest !== undefined && (manifest['version'] ?? undefined) === installed['version'];
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMED).map((name) => name.replace(/^node_modules\//, ''));
  return `${shown.join(', ')}${names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : ''}`;
}

async function readLocked(programDir: string): Promise<Map<string, Fields>> {
  for (const name of LOCKS) {
    const packages = await packagesOf(join(programDir, name));
    if (packages !== undefined) return packages;
  }
  throw refuse(programDir, 'has no package-lock.json that npm 7 or later wrote');
}

/**
 * Holds what npm installed to the lock file: every package it says it installed is there and is the one that is locked, and
 * none that is needed is missing. The contents of packages are not compared.
 * @throws ReconcileError(stalled, DependenciesFailed) with what differs and what to do
 */
export async function checkInstalled(programDir: string): Promise<InstalledTree> {
  const dir = join(programDir, 'node_modules');
  const info = await lstat(dir).catch(() => undefined);
  if (info?.isDirectory() !== true) throw refuse(programDir, 'has no node_modules folder');
  const locked = await readLocked(programDir);
  const installed = await packagesOf(join(dir, '.package-lock.json'));
  if (installed === undefined) throw refuse(programDir, 'has a node_modules folder that npm did not install');
  const links = [...locked].filter(([, entry]) => entry['link'] === true).map(([folder]) => folder);
  if (links.length > 0) throw refuse(programDir, `links to local packages (${some(links)}); publish them first`);
  const changed = [...installed]
    .filter(([folder, entry]) => differs(entry, locked.get(folder)))
    .map(([folder]) => folder);
  if (changed.length > 0)
    throw refuse(programDir, `has packages that are not those of its lock file: ${some(changed)}`);
  const missing = [...locked].filter(([folder, entry]) => !installed.has(folder) && !mayBeMissing(entry));
  const gone: string[] = [];
  for (const [folder, entry] of installed) if (!(await isThere(programDir, folder, entry))) gone.push(folder);
  const absent = [...missing.map(([folder]) => folder), ...gone];
  if (absent.length > 0) throw refuse(programDir, `lacks packages of its lock file: ${some(absent)}`);
  const isPlatformBound = [...installed.values()].some(
    (entry) => entry['os'] !== undefined || entry['cpu'] !== undefined,
  );
  return { dir, packages: installed.size, isPlatformBound };
}
