import { dirname, join } from 'node:path';
import type { EngineRequest } from './port.ts';
import type { EngineOptions } from './run-engine.ts';

/** The whole environment of an engine process: nothing of the worker's own. */
export function engineEnvironment(engine: EngineOptions, request: EngineRequest): Record<string, string> {
  const home = join(request.runDir, 'home');
  return {
    ...request.environment,
    PATH: [engine.engineDir, dirname(engine.nodePath), '/usr/bin', '/bin'].join(':'),
    HOME: home,
    TMPDIR: join(request.runDir, 'tmp'),
    PULUMI_HOME: join(home, '.pulumi'),
    PULUMI_BACKEND_URL: request.identity.backend,
    PULUMI_CONFIG_PASSPHRASE: request.passphrase,
    PULUMI_AUTOMATION_API: 'true',
    PULUMI_DEBUG_COMMANDS: 'true',
    PULUMI_SKIP_UPDATE_CHECK: 'true',
    PULUMI_DIY_BACKEND_NO_LEGACY_WARNING: 'true',
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: 'true',
    PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL: 'true',
    PULUMI_IGNORE_AMBIENT_PLUGINS: 'true',
    PULUMI_DISABLE_CI_DETECTION: 'true',
    PULUMI_NODEJS_TRANSPILE_ONLY: 'true',
  };
}
