import { dirname, join } from 'node:path';
import type { Config } from '#core/config.ts';
import { stalled } from '#core/domain/errors.ts';
import { ensureDependencies, findNpmCli } from '#core/engine/dependencies.ts';
import { ensurePlugins, requiredPlugins } from '#core/engine/plugins.ts';
import { createToolRunner } from '#core/engine/tool-runner.ts';
import type { Dependencies } from './deps.ts';

/** A cold install of a large tree over a slow line. */
const INSTALL_MS = 10 * 60_000;

/** Program dependencies by lock file and the provider plugins they ask for, in caches of the tenant's own. */
export function createDependencies(
  config: Config,
  engine: string,
  own: Record<string, string | undefined>,
): Dependencies {
  const run = createToolRunner({
    isolation: config.PLUMBLINE_ISOLATION,
    hiddenDirs: [config.dataDir, config.cacheDir, dirname(config.keyFile)],
  });
  return async ({ tenant, programDir, signal }) => {
    const npmCli = await findNpmCli(process.execPath, own['PATH'] ?? '');
    if (npmCli === undefined)
      throw stalled('DependenciesFailed', 'npm is not on the PATH of the worker; install it beside Node.js');
    const found = await ensureDependencies({
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
    const plugins = await ensurePlugins({
      plugins: requiredPlugins(found.nodeModules ?? join(programDir, 'node_modules')),
      cacheDir: join(config.cacheDir, 'plugins', tenant),
      engine,
      own,
      signal,
      timeoutMs: INSTALL_MS,
      run,
    });
    return { ...found, plugins };
  };
}
