import { randomUUID } from 'node:crypto';
import { lstat, mkdir, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { stalled, transient, type ReconcileError } from '../domain/errors.ts';
import { dependencyDigest, readDependencyManifest, type DependencyManifest } from './dependency-manifest.ts';
import { certificatePaths, certificateVariables } from './environment.ts';
import { singleFlight } from './single-flight.ts';
import type { ToolRunner } from './tool-runner.ts';

export interface DependencyOptions {
  /** Folder of package.json. */
  programDir: string;
  /** The tenant's own; made when absent. */
  cacheDir: string;
  /** Absolute path of the Node.js that runs npm and the program. */
  node: string;
  /** Absolute path of npm-cli.js; see `findNpmCli`. */
  npmCli: string;
  /** npm configuration file of the installation (registry, proxy, tokens); undefined: npm's defaults. */
  userConfig: string | undefined;
  /** The worker's environment; only the certificate variables are read. */
  own: Record<string, string | undefined>;
  signal: AbortSignal;
  timeoutMs: number;
  run: ToolRunner;
}

export interface InstalledDependencies {
  /** `sha256:…` of what decided the tree, `none` without dependencies, `bundled` when the artifact brings its own. */
  digest: string;
  /** Folder to show read-only and to link into the program; undefined when there is nothing to link. */
  nodeModules: string | undefined;
}

/** Left by an installer that was killed; younger ones may be at work. */
const ABANDONED_MS = 3_600_000;

/** Failures of the way to the registry, not of what was asked of it. */
const PASSING = /\b(ENOTFOUND|EAI_AGAIN|ECONNRESET|ECONNREFUSED|ETIMEDOUT|ERR_SOCKET_TIMEOUT|EPIPE|E429|E5\d\d)\b/;

/** Programs run on the worker's own Node.js. */
const NODE_MAJOR = process.versions.node.split('.')[0] ?? '';

/** Stack traces, dumped error objects and where npm keeps its logs. */
const NOISE = /log of this run|^Log files|^npm (warn|notice)|^at |^[{}]|^\w+: .*,$|^type: /i;

const MAX_ERROR_LINES = 6;

/** The npm that belongs to `node`, else the first on `searchPath`; our node packages ship only the binary. */
export async function findNpmCli(node: string, searchPath: string): Promise<string | undefined> {
  const below = (bin: string) => join(dirname(bin), 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js');
  const bins = searchPath.split(delimiter).filter((dir) => dir.startsWith('/'));
  const candidates = [below(dirname(node)), ...bins.flatMap((bin) => [join(bin, 'npm'), below(bin)])];
  for (const candidate of candidates) {
    const real = await realpath(candidate).catch(() => undefined);
    if (real?.endsWith('/npm-cli.js') === true) return real;
  }
  return undefined;
}

function npmError(output: { stdout: string; stderr: string }): ReconcileError {
  const lines = output.stderr
    .split('\n')
    .map((line) => line.replace(/^npm (error|ERR!) ?/, '').trim())
    .filter((line) => line !== '' && !NOISE.test(line));
  const said = lines.slice(0, MAX_ERROR_LINES).join('\n').slice(0, 2_000) || 'npm gave no reason';
  const message = `npm ci failed: ${said}`;
  return PASSING.test(said) ? transient('DependenciesFailed', message) : stalled('DependenciesFailed', message);
}

async function removeAbandoned(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (!name.startsWith('.staging-')) continue;
    const path = join(cacheDir, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS)
      await rm(path, { recursive: true, force: true });
  }
}

async function npmCi(options: DependencyOptions, staging: string, npmCache: string): Promise<void> {
  const { node, npmCli, userConfig, own, run, signal, timeoutMs } = options;
  const settings = userConfig === undefined ? '/dev/null' : userConfig;
  const result = await run({
    command: node,
    args: [
      npmCli, 'ci', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--no-update-notifier', '--prefer-offline',
      // The reconciler comes back by itself: npm need not wait minutes, as it does by default.
      '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000',
      '--loglevel=error', '--logs-max=0', `--cache=${npmCache}`, `--userconfig=${settings}`,
    ], // prettier-ignore
    cwd: staging,
    env: {
      ...certificateVariables(own),
      PATH: `${dirname(node)}:/usr/bin:/bin`,
      HOME: join(staging, 'home'),
      TMPDIR: join(staging, 'home'),
      LANG: 'C.UTF-8',
    },
    sandbox: {
      writableDirs: [staging, npmCache],
      readOnlyDirs: [
        dirname(node),
        dirname(dirname(npmCli)),
        ...(userConfig === undefined ? [] : [userConfig]),
        ...certificatePaths(own),
      ],
      hiddenDirs: [],
    },
    signal,
    timeoutMs,
  });
  if (result.code !== 0) throw npmError(result);
}

async function moveIntoPlace(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    // Another process was first, with the same tree.
    if (!(error instanceof Error && 'code' in error && (error.code === 'ENOTEMPTY' || error.code === 'EEXIST')))
      throw error;
  }
}

async function install(options: DependencyOptions, manifest: DependencyManifest, target: string): Promise<void> {
  const { cacheDir } = options;
  await removeAbandoned(cacheDir);
  const staging = join(cacheDir, `.staging-${randomUUID()}`);
  const npmCache = join(cacheDir, '.npm');
  try {
    for (const dir of [staging, join(staging, 'home'), npmCache]) await mkdir(dir, { recursive: true, mode: 0o700 });
    await writeFile(join(staging, 'package.json'), manifest.packageJson);
    await writeFile(join(staging, 'package-lock.json'), manifest.lock);
    await npmCi(options, staging, npmCache);
    await mkdir(join(staging, 'node_modules'), { recursive: true });
    await rm(join(staging, 'home'), { recursive: true, force: true });
    await moveIntoPlace(staging, target);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function isFolder(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  return found?.isDirectory() === true;
}

/**
 * Installs the production dependencies of a Node.js program from its lock file, once for each lock file, without running any
 * of their scripts. Nothing of the artifact but package.json's dependencies and the lock file reaches npm (no .npmrc).
 * @throws ReconcileError(DependenciesFailed), stalled or, when the registry could not be reached, transient; and those of `run`.
 */
export async function ensureDependencies(options: DependencyOptions): Promise<InstalledDependencies> {
  const { programDir, cacheDir, signal } = options;
  if (await isFolder(join(programDir, 'node_modules'))) return { digest: 'bundled', nodeModules: undefined };
  const manifest = await readDependencyManifest(programDir);
  if (manifest === undefined) return { digest: 'none', nodeModules: undefined };
  const digest = dependencyDigest(manifest, NODE_MAJOR);
  const target = join(cacheDir, digest.replace(':', '-'));
  const nodeModules = join(target, 'node_modules');
  if (await isFolder(nodeModules)) return { digest, nodeModules };
  await mkdir(cacheDir, { recursive: true, mode: 0o700 });
  await singleFlight(`${target}.lock`, signal, async () => {
    if (!(await isFolder(nodeModules))) await install(options, manifest, target);
  });
  return { digest, nodeModules };
}
