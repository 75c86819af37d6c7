import { lstat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Config } from '#core/config.ts';
import { stalled } from '#core/domain/errors.ts';
import { ensureDependencies, findNpmCli } from '#core/engine/dependencies.ts';
import { ensurePlugins, requireBundled, requiredPlugins } from '#core/engine/plugins.ts';
import { createToolRunner } from '#core/engine/tool-runner.ts';
import type { FetchedPart } from '#core/oci/cache.ts';
import type { Dependencies } from './deps.ts';

/** A cold install of a large tree over a slow line. */
const INSTALL_MS = 10 * 60_000;

type Found = Awaited<ReturnType<typeof ensureDependencies>>;

/** The artifact's own tree of dependencies. @throws ReconcileError stalled when its program has another one inside */
async function bundledTree({ dir, digest }: FetchedPart, programDir: string): Promise<Found> {
  const inside = await lstat(join(programDir, 'node_modules')).catch(() => undefined);
  if (inside === undefined) return { digest, nodeModules: dir };
  throw stalled(
    'DependenciesFailed',
    'the artifact has node_modules in its program and a layer of dependencies beside it; push it again with `plumb push --with-dependencies`',
  );
}

/**
 * Program dependencies by lock file and the provider plugins they ask for, in caches of the tenant's own; or those that the
 * artifact brings along, as they are.
 */
export function createDependencies(
  config: Config,
  engine: string,
  own: Record<string, string | undefined>,
): Dependencies {
  const run = createToolRunner({
    isolation: config.PLUMBLINE_ISOLATION,
    hiddenDirs: [config.dataDir, config.cacheDir, dirname(config.keyFile)],
  });

  async function install(tenant: string, programDir: string, signal: AbortSignal): Promise<Found> {
    const npmCli = await findNpmCli(process.execPath, own['PATH'] ?? '');
    if (npmCli === undefined)
      throw stalled('DependenciesFailed', 'npm is not on the PATH of the worker; install it beside Node.js');
    return await ensureDependencies({
      programDir,
      cacheDir: join(config.cacheDir, 'dependencies', tenant),
      node: process.execPath,
      npmCli,
      userConfig: config.PLUMBLINE_NPM_USERCONFIG === '' ? undefined : config.PLUMBLINE_NPM_USERCONFIG,
      own,
      signal,
      timeoutMs: INSTALL_MS,
      run,
    });
  }

  return async ({ tenant, programDir, parts, packagesOnly, signal }) => {
    const found =
      parts.dependencies === undefined
        ? await install(tenant, programDir, signal)
        : await bundledTree(parts.dependencies, programDir);
    if (packagesOnly === true) return { ...found, plugins: undefined };
    const wanted = requiredPlugins(found.nodeModules ?? join(programDir, 'node_modules'));
    if (parts.plugins !== undefined) {
      await requireBundled(parts.plugins.dir, wanted);
      return { ...found, digest: `${found.digest} plugins ${parts.plugins.digest}`, plugins: parts.plugins.dir };
    }
    const cacheDir = join(config.cacheDir, 'plugins', tenant);
    const plugins = await ensurePlugins({
      plugins: wanted,
      cacheDir,
      engine,
      own,
      signal,
      timeoutMs: INSTALL_MS,
      run,
    });
    return { ...found, plugins };
  };
}
