import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseAllDocuments } from 'yaml';
import { field } from '#core/oci/body.ts';
import { failure, usage } from './error.ts';

const MAX_BYTES = 8 * 1024 * 1024;
const EXTENSIONS = /\.(ya?ml|json)$/;

/** The documents of one text; empty ones, as between two `---`, are left out. @throws CliError naming line and column */
export function parseManifests(name: string, content: string): unknown[] {
  if (content.length > MAX_BYTES) throw usage(`${name} is larger than ${MAX_BYTES} bytes`);
  const documents = parseAllDocuments(content, { prettyErrors: true });
  return [...documents].flatMap((document) => {
    const [error] = document.errors;
    // Its first line only: the rest quotes the file, which may hold secrets.
    if (error !== undefined) throw usage(`${name}: ${error.message.split('\n')[0] ?? 'not valid YAML'}`);
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    return value === null || value === undefined ? [] : [value];
  });
}

/** The manifest with this tenant where it names none; Tenants belong to none, and what is no manifest is for the service to refuse. */
export function inTenant(manifest: unknown, tenant: string): unknown {
  const metadata = field(manifest, 'metadata');
  const isOwned = typeof metadata === 'object' && metadata !== null && field(manifest, 'kind') !== 'Tenant';
  if (!isOwned || typeof manifest !== 'object') return manifest;
  return { ...manifest, metadata: { tenant, ...metadata } };
}

async function filesOf(path: string): Promise<string[]> {
  const info = await stat(path).catch((error: unknown) => {
    throw failure(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`, error);
  });
  if (!info.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => EXTENSIONS.test(name)).toSorted();
  return names.map((name) => join(path, name));
}

/** Every manifest of the files, folders (their *.yaml, *.yml and *.json, not deeper) and `-`, in their order. */
export async function readManifests(paths: readonly string[]): Promise<unknown[]> {
  const manifests: unknown[] = [];
  for (const path of paths) {
    if (path === '-') {
      manifests.push(...parseManifests('standard input', await text(process.stdin)));
      continue;
    }
    for (const file of await filesOf(path)) manifests.push(...parseManifests(file, await readFile(file, 'utf8')));
  }
  return manifests;
}
