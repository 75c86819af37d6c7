import closeWithGrace from 'close-with-grace';
import { loadConfig } from '#core/config.ts';
import { createLimiter } from '#core/oci/limiter.ts';
import { openQueueWorker } from '#core/queue.ts';
import { connectEmbedded } from '../toolchain/embedded.ts';
import { endWithParent } from '../toolchain/end-with-parent.ts';
import { failStart } from '../toolchain/setup-error.ts';
import { ensureToolchain } from '../toolchain/setup.ts';
import { buildWorker, type BuiltWorker } from './build.ts';
import { checkDrift } from './drift.ts';
import { attachEvidence } from './evidence.ts';
import { reconcile } from './reconcile.ts';
import { createSweep } from './sweep.ts';

/** How long a stopping worker lets a run end by itself before it interrupts it politely, in milliseconds. */
const GRACE_MS = 20_000;
/** After the polite interrupt: the guardian's own escalation ends sooner. */
const CLOSE_MS = GRACE_MS + 30_000;

/** The worker process: takes jobs of its tenants, looks at stacks, and sweeps for what was missed. */
async function main(): Promise<void> {
  endWithParent();
  const config = loadConfig(process.env);
  const toolchain = await ensureToolchain(config);
  const servers = await connectEmbedded(config);
  const worker = await buildWorker(config, toolchain, servers, process.env).catch(async (error: unknown) => {
    // They outlive this process, and nobody else would stop them.
    await servers.release();
    throw error;
  });
  const { deps, tenants } = worker;
  const processors = openProcessors(worker, servers.redisUrl);
  const sweepMs = config.PLUMBLINE_SWEEP_SECONDS * 1000;
  const failed = (error: unknown) => deps.logger.warn({ err: error, reason: 'InternalError' }, 'sweep failed');
  const stopSweeps = tenants.map((of) => everySweep(sweepMs, createSweep(of), failed));
  // Apart from the sweep: a slow registry must not keep stacks from being rung for.
  const stopEvidences = tenants.map((of) => everySweep(sweepMs, () => attachEvidence(of), failed));
  deps.logger.info({ worker: deps.identity.id, tenants: tenants.map((of) => of.identity.tenant) }, 'worker ready');
  closeWithGrace({ delay: CLOSE_MS, logger: deps.logger }, async () => {
    await Promise.all(stopSweeps.map((stop) => stop()));
    // It ends with the shutdown signal at the latest.
    const evidence = Promise.all(stopEvidences.map((stop) => stop()));
    // Runs may end by themselves first; an apply is only interrupted when the grace is over.
    const interrupt = setTimeout(() => worker.interrupt(), GRACE_MS);
    await Promise.all(processors.map((processor) => processor.close()));
    clearTimeout(interrupt);
    worker.interrupt();
    await evidence;
    await worker.close();
    await servers.release();
  });
}

/** Takes the jobs of every tenant; the settings' numbers at once are those of all tenants together. */
function openProcessors({ tenants, deps: { config } }: BuiltWorker, redisUrl: string): { close(): Promise<void> }[] {
  const [runs, checks] = [config.PLUMBLINE_WORKER_CONCURRENCY, config.PLUMBLINE_DRIFT_CONCURRENCY];
  const [limitRuns, limitChecks] = [createLimiter(runs), createLimiter(checks)];
  return tenants.flatMap((deps) => {
    // A dead worker's job is handed on when its lease ends, not a minute later.
    const lockMs = config.PLUMBLINE_LEASE_SECONDS * 1000;
    const common = { redisUrl, tenant: deps.identity.tenant, logger: deps.logger, lockMs };
    return [
      openQueueWorker({
        ...common,
        queue: 'reconcile',
        concurrency: runs,
        process: (job) => limitRuns(() => reconcile(deps, job.stackId)),
      }),
      openQueueWorker({
        ...common,
        queue: 'drift',
        concurrency: checks,
        process: (job) => limitChecks(() => checkDrift(deps, job.stackId)),
      }),
    ];
  });
}

/** Sweeps now and then every `everyMs`, one at a time; the returned function waits for the one under way. */
function everySweep(
  everyMs: number,
  sweep: () => Promise<void>,
  failed: (error: unknown) => void,
): () => Promise<void> {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let current = Promise.resolve();
  const once = () => {
    current = sweep()
      .catch(failed)
      .then(() => {
        if (!stopped) timer = setTimeout(once, everyMs);
      });
  };
  once();
  return async () => {
    stopped = true;
    clearTimeout(timer);
    await current;
  };
}

await main().catch(failStart);
