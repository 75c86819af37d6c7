import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A provider plugin that a program's dependency asks for. */
export interface RequiredPackage {
  name: string;
  /** With a leading `v`. */
  version: string;
  server: string;
}

type Manifest = Record<string, unknown>;

/** Nested `node_modules` deeper than this are no real installation. */
const MAX_DEPTH = 8;

function isManifest(value: unknown): value is Manifest {
  return typeof value === 'object' && value !== null;
}

function readManifest(folder: string): Manifest | undefined {
  try {
    const manifest: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return isManifest(manifest) ? manifest : undefined;
  } catch {
    return undefined;
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function listFolders(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => !name.startsWith('.'));
  } catch {
    return [];
  }
}

/** Folders of all packages below one `node_modules`, scoped ones included. */
function packageFolders(modules: string): string[] {
  return listFolders(modules).flatMap((name) =>
    name.startsWith('@')
      ? listFolders(join(modules, name)).map((inner) => join(modules, name, inner))
      : [join(modules, name)],
  );
}

function requiredPackage(manifest: Manifest): RequiredPackage | undefined {
  const pulumi = manifest['pulumi'];
  if (!isManifest(pulumi) || pulumi['resource'] !== true) return undefined;
  const name = text(pulumi['name']) ?? text(manifest['name'])?.replace(/^@[^/]+\//, '');
  const version = text(pulumi['version']) ?? text(manifest['version']);
  if (name === undefined || version === undefined) return undefined;
  return { name, version: version.startsWith('v') ? version : `v${version}`, server: text(pulumi['server']) ?? '' };
}

function collect(folder: string, depth: number, found: Map<string, RequiredPackage>): void {
  if (depth > MAX_DEPTH) return;
  for (const candidate of packageFolders(join(folder, 'node_modules'))) {
    const manifest = readManifest(candidate);
    const required = manifest === undefined ? undefined : requiredPackage(manifest);
    if (required !== undefined) found.set(`${required.name}@${required.version}`, required);
    collect(candidate, depth + 1, found);
  }
}

/** The provider plugins that the packages in `programDir/node_modules` declare (`pulumi.resource` in their package.json). */
export function requiredPackages(programDir: string): RequiredPackage[] {
  const found = new Map<string, RequiredPackage>();
  collect(programDir, 0, found);
  return [...found.values()];
}
