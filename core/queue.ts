import { Queue, Worker, type JobsOptions } from 'bullmq';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';

/** Two queues, so that drift checks never keep a real run waiting (rule 2 of the design). */
export const QUEUE_NAMES = ['reconcile', 'drift'] as const;
export type QueueName = (typeof QUEUE_NAMES)[number];

/** All a job says: which stack to look at. Everything else is in PostgreSQL. */
export const JobData = Type.Object(
  { stackId: Type.String({ pattern: '^[0-9]{1,19}$' }) },
  { additionalProperties: false },
);
export type JobData = Static<typeof JobData>;

/** The doorbell. */
export interface Ring {
  /** Asks for a look at a stack. Never rejects: what is lost is found by the sweep. At most one job is active and one waits. */
  ring(tenant: string, stackId: string, queue: QueueName): Promise<void>;
  /**
   * Removes a deduplication key whose job is in no list any more, as an outage of Redis can leave it: it would swallow every
   * ring for the stack. For the sweep, when a stack stays due although it was rung for. Says whether there was one.
   */
  clearStaleDedup(tenant: string, stackId: string, queue: QueueName): Promise<boolean>;
  /** Jobs that wait, for the metrics. */
  waiting(tenant: string, queue: QueueName): Promise<number>;
  /** Answers when Redis does. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds a producer waits for Redis; the caller's request does not depend on it. */
const LIMIT_MS = 2000;
const WEEK_S = 7 * 86_400;

/** Keys of a tenant: a worker that serves one never sees another's. The braces keep them on one node of a cluster. */
function prefixOf(tenant: string): string {
  return `plumbline:{${tenant}}`;
}

function jobOptions(stackId: string): JobsOptions {
  return {
    deduplication: { id: stackId, keepLastIfActive: true },
    removeOnComplete: { count: 1000 },
    removeOnFail: { age: WEEK_S, count: 1000 },
  };
}

function producerConnection(redisUrl: string): Redis {
  return new Redis(redisUrl, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: LIMIT_MS,
    connectTimeout: LIMIT_MS,
    retryStrategy: (times) => Math.min(times * 100, 2000),
  });
}

async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Redis did not answer within ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  return await Promise.race([work, limit]).finally(() => clearTimeout(timer));
}

/** Opens the doorbell; one connection for all tenants. Redis may be down: then rings fail at once until it is back. */
export function createRing(redisUrl: string, logger: Logger): Ring {
  const connection = producerConnection(redisUrl);
  connection.on('error', (error) => logger.debug({ err: error }, 'Redis connection'));
  const queues = new Map<string, Queue>();

  function queueOf(tenant: string, name: QueueName): Queue {
    const key = `${tenant}/${name}`;
    const known = queues.get(key);
    if (known !== undefined) return known;
    const queue = new Queue(name, { connection, prefix: prefixOf(tenant), skipMetasUpdate: true });
    queue.on('error', (error) => logger.debug({ err: error, tenant, queue: name }, 'queue connection'));
    queues.set(key, queue);
    return queue;
  }

  /** A queue whose first contact failed stays broken for ever: it is made anew by the next use. */
  async function using<T>(tenant: string, name: QueueName, work: (queue: Queue) => Promise<T>): Promise<T> {
    const queue = queueOf(tenant, name);
    try {
      return await within(work(queue));
    } catch (error) {
      queues.delete(`${tenant}/${name}`);
      queue.close().catch(() => undefined);
      throw error;
    }
  }

  return {
    async ring(tenant, stackId, name) {
      const data: JobData = { stackId };
      try {
        await using(tenant, name, (queue) => queue.add('look', data, jobOptions(stackId)));
      } catch (error) {
        logger.warn({ err: error, tenant, stackId, queue: name }, 'the ring failed; the sweep finds the stack');
      }
    },
    clearStaleDedup: (tenant, stackId, name) => using(tenant, name, (queue) => removeStaleKey(queue, stackId)),
    waiting: (tenant, name) => using(tenant, name, (queue) => queue.getWaitingCount()),
    ping: async () => void (await within(connection.ping())),
    async close() {
      await Promise.allSettled([...queues.values()].map((queue) => within(queue.close())));
      connection.disconnect();
    },
  };
}

async function removeStaleKey(queue: Queue, stackId: string): Promise<boolean> {
  const jobId = await queue.getDeduplicationJobId(stackId);
  if (jobId === null) return false;
  const state = await queue.getJobState(jobId);
  if (state !== 'unknown' && state !== 'completed' && state !== 'failed') return false;
  return (await queue.removeDeduplicationKey(stackId)) > 0;
}

export interface QueueWorkerOptions {
  redisUrl: string;
  tenant: string;
  queue: QueueName;
  /** Jobs at once. */
  concurrency: number;
  logger: Logger;
  /** Milliseconds after which a job of a dead worker is handed on; default 60 s. The lease decides who may work. */
  lockMs?: number;
  /** Looks at the stack. `signal` is aborted when the job is canceled. */
  process(job: JobData, signal: AbortSignal | undefined): Promise<void>;
}

/** Takes jobs of one tenant until `close`, which waits for the ones under way. */
export function openQueueWorker(options: QueueWorkerOptions): { close(): Promise<void> } {
  const { tenant, queue, logger, lockMs = 60_000 } = options;
  // BullMQ's rule for workers: a blocking read must outlive any outage.
  const connection = new Redis(options.redisUrl, { maxRetriesPerRequest: null });
  connection.on('error', (error) => logger.debug({ err: error }, 'Redis connection'));
  const worker = new Worker<unknown, void>(
    queue,
    // BullMQ gives a signal only to a processor that declares three parameters.
    async (job, _token, signal) => {
      if (Value.Check(JobData, job.data)) return await options.process(job.data, signal);
      logger.error({ tenant, queue, job: job.id, reason: 'InternalError' }, 'a job that names no stack was dropped');
    },
    {
      connection,
      prefix: prefixOf(tenant),
      concurrency: options.concurrency,
      lockDuration: lockMs,
      stalledInterval: lockMs / 2,
      maxStalledCount: 1,
      removeOnComplete: { count: 1000 },
      removeOnFail: { age: WEEK_S, count: 1000 },
    },
  );
  worker.on('error', (error) => logger.warn({ err: error, tenant, queue, reason: 'InternalError' }, 'queue worker'));
  worker.on('failed', (job, error) =>
    logger.error({ err: error, tenant, queue, data: job?.data, reason: 'InternalError' }, 'a look at a stack failed'),
  );
  return {
    async close() {
      await worker.close();
      connection.disconnect();
    },
  };
}
