import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stalled } from '../domain/errors.ts';
import { requiredPackages } from './host/packages.ts';
import type { EngineVersions } from './port.ts';

const execute = promisify(execFile);
const HOST_DIR = join(import.meta.dirname, 'host');
/** Below the engine's folder, where the engine itself does not look; toolchain/launchers.ts fills it. */
export const FORWARDED_HOSTS = 'hosts';
const HOST_PREFIX = 'pulumi-language-';
const TIMEOUT_MS = 20_000;

async function printedBy(command: string, argument: string): Promise<string> {
  // An empty environment: the answer may not depend on ours.
  const env = { PULUMI_SKIP_UPDATE_CHECK: 'true', HOME: '/nonexistent' };
  const { stdout } = await execute(command, [argument], { env, timeout: TIMEOUT_MS });
  return stdout.trim();
}

async function hashFiles(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(folder))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .sort()) {
    hash.update(`${name}\0`).update(await readFile(join(folder, name)));
  }
  return `sha256:${hash.digest('hex')}`;
}

/** The real language hosts behind our forwarding one: `yaml` → its hash. They say no version that could be trusted. */
async function hostVersions(engineDir: string): Promise<[string, string][]> {
  const folder = join(engineDir, FORWARDED_HOSTS);
  const names = await readdir(folder).catch(() => []);
  const versions: [string, string][] = [];
  for (const name of names.filter((file) => file.startsWith(HOST_PREFIX)).sort()) {
    const hash = createHash('sha256').update(await readFile(join(folder, name)));
    versions.push([name.slice(HOST_PREFIX.length), `sha256:${hash.digest('hex')}`]);
  }
  return versions;
}

/** Versions of what is the same for every program: engine, Node.js and language hosts. Asked once a process. */
export async function installedVersions(engineDir: string, nodePath: string): Promise<EngineVersions> {
  try {
    const [engine, node, host, others] = await Promise.all([
      printedBy(join(engineDir, 'pulumi'), 'version'),
      printedBy(nodePath, '--version'),
      hashFiles(HOST_DIR),
      hostVersions(engineDir),
    ]);
    return { ...Object.fromEntries(others), engine, node, host };
  } catch (cause) {
    throw stalled(
      'EngineMismatch',
      `the Pulumi engine in ${engineDir} does not run; set up the toolchain again`,
      cause,
    );
  }
}

async function sdkVersion(programDir: string): Promise<string | undefined> {
  try {
    const manifest: unknown = JSON.parse(
      await readFile(join(programDir, 'node_modules/@pulumi/pulumi/package.json'), 'utf8'),
    );
    const hasVersion = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
    return hasVersion ? String(manifest.version) : undefined;
  } catch {
    return undefined;
  }
}

/** Versions a program brings along: its SDK and the provider plugins its packages ask for. */
export async function programVersions(programDir: string): Promise<EngineVersions> {
  const sdk = await sdkVersion(programDir);
  const plugins = requiredPackages(programDir).map(({ name, version }): [string, string] => [
    `plugin:${name}`,
    version,
  ]);
  return { ...(sdk === undefined ? {} : { sdk }), ...Object.fromEntries(plugins) };
}
