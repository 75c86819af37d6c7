import closeWithGrace from 'close-with-grace';
import { loadConfig } from '#core/config.ts';
import { openQueueWorker } from '#core/queue.ts';
import { connectEmbedded } from '../toolchain/embedded.ts';
import { endWithParent } from '../toolchain/end-with-parent.ts';
import { failStart } from '../toolchain/setup-error.ts';
import { ensureToolchain } from '../toolchain/setup.ts';
import { buildWorker } from './build.ts';
import { checkDrift } from './drift.ts';
import { attachEvidence } from './evidence.ts';
import { reconcile } from './reconcile.ts';
import { createSweep } from './sweep.ts';

/** How long a stopping worker lets a run end by itself before it interrupts it politely, in milliseconds. */
const GRACE_MS = 20_000;
/** After the polite interrupt: the guardian's own escalation ends sooner. */
const CLOSE_MS = GRACE_MS + 30_000;

/** The worker process: takes jobs of its tenant, looks at stacks, and sweeps for what was missed. */
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
  const { deps } = worker;
  const tenant = deps.identity.tenant;
  // A dead worker's job is handed on when its lease ends, not a minute later.
  const common = {
    redisUrl: servers.redisUrl,
    tenant,
    logger: deps.logger,
    lockMs: config.PLUMBLINE_LEASE_SECONDS * 1000,
  };
  const processors = [
    openQueueWorker({
      ...common,
      queue: 'reconcile',
      concurrency: config.PLUMBLINE_WORKER_CONCURRENCY,
      process: (job) => reconcile(deps, job.stackId),
    }),
    openQueueWorker({
      ...common,
      queue: 'drift',
      concurrency: config.PLUMBLINE_DRIFT_CONCURRENCY,
      process: (job) => checkDrift(deps, job.stackId),
    }),
  ];
  const sweepMs = config.PLUMBLINE_SWEEP_SECONDS * 1000;
  const failed = (error: unknown) => deps.logger.warn({ err: error, reason: 'InternalError' }, 'sweep failed');
  const stopSweep = everySweep(sweepMs, createSweep(deps), failed);
  // Apart from the sweep: a slow registry must not keep stacks from being rung for.
  const stopEvidence = everySweep(sweepMs, () => attachEvidence(deps), failed);
  deps.logger.info({ worker: deps.identity.id, tenant }, 'worker ready');
  closeWithGrace({ delay: CLOSE_MS, logger: deps.logger }, async () => {
    await stopSweep();
    // It ends with the shutdown signal at the latest.
    const evidence = stopEvidence();
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
