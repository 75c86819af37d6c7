import { createHash } from 'node:crypto';
import { access, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stalled } from '../domain/errors.ts';
import { canonicalJson } from '../domain/plan.ts';
import { certificatePaths, certificateVariables } from './environment.ts';
import { requiredPackages, type RequiredPackage } from './host/packages.ts';
import { singleFlight } from './single-flight.ts';
import type { ToolRunner } from './tool-runner.ts';

/** A provider plugin, as `pulumi plugin install resource NAME VERSION` takes it. */
export type RequiredPlugin = RequiredPackage;

export interface PluginOptions {
  plugins: RequiredPlugin[];
  /** Shared by every run; made when absent. */
  cacheDir: string;
  /** Absolute path of the engine. */
  engine: string;
  /** The worker's environment; only the certificate variables are read. */
  own: Record<string, string | undefined>;
  signal: AbortSignal;
  timeoutMs: number;
  run: ToolRunner;
}

const NAME = /^[a-z0-9][a-z0-9-]*$/;
const VERSION = /^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;
const SERVER = /^(https?|github|gitlab):\/\/[^\s]+$/;

/**
 * The provider plugins the packages of a `node_modules` folder ask for: those with `pulumi.resource: true` in package.json.
 * @throws ReconcileError(stalled, ProgramInvalid) for a name, version or server that cannot be one.
 */
export function requiredPlugins(nodeModules: string): RequiredPlugin[] {
  const plugins = requiredPackages(dirname(nodeModules));
  for (const { name, version, server } of plugins) {
    // They are words of a command line: none may pass for a flag.
    if (!NAME.test(name) || !VERSION.test(version) || !(server === '' || SERVER.test(server))) {
      throw stalled(
        'ProgramInvalid',
        `a package asks for the provider plugin ${JSON.stringify({ name, version, server })}, which is not valid`,
      );
    }
  }
  return plugins.toSorted((a, b) => `${a.name}@${a.version}`.localeCompare(`${b.name}@${b.version}`));
}

/**
 * A plugin from a server the program names is whatever that server gives: it never lies where another program's plugin of the
 * same name would be looked for. Only those from the engine's own sources are shared.
 */
function homeOf(cacheDir: string, plugins: RequiredPlugin[]): string {
  const isOfficial = plugins.every(({ server }) => server === '');
  if (isOfficial) return join(cacheDir, 'official');
  return join(cacheDir, createHash('sha256').update(canonicalJson(plugins)).digest('hex').slice(0, 32));
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** The engine leaves `.partial` beside a plugin until it is whole. */
async function isInstalled(plugins: string, { name, version }: RequiredPlugin): Promise<boolean> {
  const dir = join(plugins, `resource-${name}-${version}`);
  return (await exists(dir)) && !(await exists(`${dir}.partial`));
}

async function install(options: PluginOptions, home: string, plugin: RequiredPlugin): Promise<void> {
  const { engine, own, run, signal, timeoutMs } = options;
  const { name, version, server } = plugin;
  const from = server === '' ? [] : ['--server', server];
  const result = await run({
    command: engine,
    args: ['plugin', 'install', 'resource', name, version, '--exact', '--non-interactive', '--color', 'never', ...from],
    cwd: home,
    env: {
      ...certificateVariables(own),
      PATH: '/usr/bin:/bin',
      HOME: home,
      PULUMI_HOME: home,
      PULUMI_SKIP_UPDATE_CHECK: 'true',
      LANG: 'C.UTF-8',
    },
    sandbox: { writableDirs: [home], readOnlyDirs: [dirname(engine), ...certificatePaths(own)], hiddenDirs: [] },
    signal,
    timeoutMs,
  });
  if (result.code === 0 && (await isInstalled(join(home, 'plugins'), plugin))) return;
  const said =
    result.stderr.split('\n').findLast((line) => /^(error|warning): /.test(line)) ?? `exit code ${result.code}`;
  throw stalled(
    'PluginUnavailable',
    `the provider plugin ${name} ${version} could not be installed (${said.slice(0, 500)}). Let the worker reach ${server || 'get.pulumi.com and github.com'}, ` +
      `or install it by hand: PULUMI_HOME=${home} pulumi plugin install resource ${name} ${version} --file <archive>`,
  );
}

/**
 * Installs the plugins that are missing, before a run and never in the middle of one. Returns the folder to show read-only at
 * `PULUMI_HOME/plugins`, or undefined when none are needed.
 * @throws ReconcileError(stalled, PluginUnavailable) with what to do; and those of `run`.
 */
export async function ensurePlugins(options: PluginOptions): Promise<string | undefined> {
  const { plugins, cacheDir, signal } = options;
  if (plugins.length === 0) return undefined;
  const home = homeOf(cacheDir, plugins);
  const folder = join(home, 'plugins');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const plugin of plugins) {
    if (await isInstalled(folder, plugin)) continue;
    await singleFlight(`${home}.lock`, signal, async () => {
      if (!(await isInstalled(join(home, 'plugins'), plugin))) await install(options, home, plugin);
    });
  }
  return folder;
}

/**
 * Holds the plugins an artifact brings along to what its packages ask for; nothing is ever downloaded beside them.
 * @throws ReconcileError(stalled, PluginUnavailable) naming what is missing
 */
export async function requireBundled(folder: string, plugins: readonly RequiredPlugin[]): Promise<void> {
  const missing: string[] = [];
  for (const plugin of plugins) {
    if (!(await isInstalled(folder, plugin))) missing.push(`${plugin.name} ${plugin.version}`);
  }
  if (missing.length === 0) return;
  throw stalled(
    'PluginUnavailable',
    `the artifact brings its provider plugins along, but not ${missing.join(', ')}; install them (pulumi plugin install resource NAME VERSION) and push again --with-plugins`,
  );
}
