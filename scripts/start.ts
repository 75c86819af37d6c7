import { loadConfig } from '../core/config.ts';
import { loadMasterKey } from '../core/secrets.ts';
import { connectEmbedded, requireDataDir } from '../toolchain/embedded.ts';
import { endWithParent } from '../toolchain/end-with-parent.ts';
import { ensureToolchain } from '../toolchain/setup.ts';
import { exitWith } from '../toolchain/setup-error.ts';
import { supervise } from '../toolchain/supervise.ts';

/**
 * `npm start`: the service and a worker, each a process of its own, over the configured or the embedded servers.
 * The first signal ends them in order, a second one at once.
 */
async function main(): Promise<number> {
  endWithParent();
  const config = loadConfig(process.env);
  // Told once here, not by each process at each attempt.
  await requireDataDir(config.dataDir);
  await loadMasterKey(config.keyFile, config.dataDir);
  const toolchain = await ensureToolchain(config);
  // Only from here on is there anything to stop in order; before, a signal simply ends us.
  const stopping = new AbortController();
  const forcing = new AbortController();
  const onSignal = () => (stopping.signal.aborted ? forcing : stopping).abort();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  const servers = await connectEmbedded(config);
  const env = {
    ...process.env,
    DATABASE_URL: servers.databaseUrl,
    REDIS_URL: servers.redisUrl,
    PLUMBLINE_TOOLCHAIN: toolchain.dir,
    PLUMBLINE_PULUMI: toolchain.engine.pulumi,
  };
  try {
    // Stopped in the reverse order: the worker first, so that what it still records can be read while it goes.
    return await supervise(
      [
        { name: 'service', script: 'service/main.ts', env },
        { name: 'worker', script: 'workers/main.ts', env },
      ],
      { stop: stopping.signal, force: forcing.signal },
    );
  } finally {
    await servers.release();
  }
}

await exitWith(main);
