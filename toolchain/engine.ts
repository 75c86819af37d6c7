import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { buildTools, type GoTool } from './engine-build.ts';
import { installOfficial } from './engine-install.ts';
import { engineVersion, firstMatching, placeFile } from './engine-find.ts';
import { hostsDir, layLaunchers } from './launchers.ts';
import { withLock } from './lock.ts';
import { isExecutable } from './path-lookup.ts';
import { checkout } from './paths.ts';
import type { Progress } from './progress.mjs';

/** Where the engine comes from and where it is kept. */
export interface EngineOptions {
  toolchainDir: string;
  /** Path of a pulumi binary to prefer (`PLUMBLINE_PULUMI`); empty for none. */
  override?: string;
  onProgress: Progress;
}

/** The engine's parts; they lie in one folder, since the engine counts what lies beside it as bundled. */
export interface EngineParts {
  dir: string;
  pulumi: string;
  /** The YAML language host; undefined where it can be neither found nor built. */
  yaml: string | undefined;
  /** The Node.js that runs our language host and the dynamic provider. */
  node: string;
  version: string;
}

const buildLimitMs = 30 * 60_000;

/**
 * Makes sure of the Pulumi engine of exactly `engineVersion`: from the cache, from `override` or PATH, by the official
 * installer, or built from Go modules. Two processes at once do the work once.
 * @throws SetupError with one sentence about what to install when every way fails.
 */
export async function ensureEngine(options: EngineOptions): Promise<EngineParts> {
  const root = resolve(options.toolchainDir);
  const dir = join(root, `engine-${engineVersion}-${process.platform}-${process.arch}`);
  const pulumi = join(dir, 'pulumi');
  const yaml = join(hostsDir(dir), 'pulumi-language-yaml');
  if (!(await isExecutable(pulumi))) {
    await mkdir(root, { recursive: true });
    const onWait = (pid: number) =>
      options.onProgress(`Process ${pid} is getting the Pulumi engine; waiting for it`, true);
    await withLock(`${dir}.lock`, { limitMs: buildLimitMs, onWait }, async () => {
      if (!(await isExecutable(pulumi))) await obtain(dir, options);
    });
  }
  await layLaunchers(dir, { node: process.execPath, hostDir: join(checkout, 'core', 'engine', 'host') });
  return {
    dir,
    pulumi,
    yaml: (await isExecutable(yaml)) ? yaml : undefined,
    node: process.execPath,
    version: engineVersion,
  };
}

/** Fills a draft folder and renames it into place whole. */
async function obtain(dir: string, { override, onProgress }: EngineOptions): Promise<void> {
  const draft = `${dir}.draft`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft);
  const found =
    (await firstMatching(override ?? '', onProgress)) ?? (await installOfficial(`${dir}.installer`, onProgress));
  const missing: GoTool[] = [];
  if (found === undefined) missing.push('pulumi');
  else await placeFile(found, join(draft, 'pulumi'));
  if (found !== undefined) await placeHosts(dirname(found), draft);
  if (!(await isExecutable(join(hostsDir(draft), 'pulumi-language-yaml')))) missing.push('yaml');
  await build(missing, draft, onProgress);
  await rename(draft, dir);
  await rm(`${dir}.installer`, { recursive: true, force: true });
}

/**
 * The language hosts beside an engine that was found, and their parts; ours takes the place of that for Node.js. They are
 * reached through our forwarding host only, so they lie where the engine does not look.
 */
async function placeHosts(from: string, draft: string): Promise<void> {
  const to = hostsDir(draft);
  await mkdir(to);
  for (const name of await readdir(from)) {
    if (!name.startsWith('pulumi-language-') || name === 'pulumi-language-nodejs') continue;
    await placeFile(join(from, name), join(to, name));
  }
}

async function build(missing: GoTool[], draft: string, onProgress: Progress): Promise<void> {
  if (missing.length === 0) return;
  try {
    await buildTools(missing, draft, onProgress);
  } catch (error) {
    if (missing.includes('pulumi')) throw error;
    const why = error instanceof Error ? error.message : String(error);
    onProgress(`YAML programs cannot run here: ${why}`, true);
  }
}
