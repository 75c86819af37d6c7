import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { QUEUE_NAMES, type Ring } from '#core/queue.ts';
import { countRuns, countStacks } from '#core/store/counts.ts';
import type { Database } from '#core/store/database.ts';

/** What the service counts and, at each scrape, reads from the diary. The only label that names a customer is `tenant`. */
export interface ServiceMetrics {
  /** Webhooks by tenant, format and what became of them. */
  webhooks: Counter<'tenant' | 'type' | 'outcome'>;
  /** Seconds of answering, by route of the table, method and status. */
  requests: Histogram<'route' | 'method' | 'status'>;
  contentType: string;
  /** Prometheus text: what was counted, and the stacks, runs and queues as they are now. */
  scrape(db: Database, ring: Pick<Ring, 'waiting'>): Promise<string>;
}

function createGauges(registers: Registry[]) {
  return {
    stacks: new Gauge({
      name: 'plumbline_stacks',
      help: 'Stacks by the status and reason of their Ready condition',
      labelNames: ['tenant', 'ready', 'reason'],
      registers,
    }),
    drifted: new Gauge({
      name: 'plumbline_drifted_stacks',
      help: 'Stacks whose last check found drift',
      labelNames: ['tenant'],
      registers,
    }),
    unsigned: new Gauge({
      name: 'plumbline_unsigned_stacks',
      help: 'Stacks that run what nobody signed, by an exception',
      labelNames: ['tenant'],
      registers,
    }),
    runs: new Gauge({
      name: 'plumbline_runs',
      help: 'Runs on record by operation and state',
      labelNames: ['tenant', 'operation', 'state'],
      registers,
    }),
    waiting: new Gauge({
      name: 'plumbline_queue_waiting',
      help: 'Jobs that wait for a worker',
      labelNames: ['tenant', 'queue'],
      registers,
    }),
  };
}

async function read(gauges: ReturnType<typeof createGauges>, db: Database, ring: Pick<Ring, 'waiting'>): Promise<void> {
  const [stacks, runs] = await Promise.all([countStacks(db), countRuns(db)]);
  for (const gauge of Object.values(gauges)) gauge.reset();
  for (const { tenant, ready, reason, drifted, unsigned, count } of stacks) {
    gauges.stacks.inc({ tenant, ready, reason }, count);
    gauges.drifted.inc({ tenant }, drifted);
    gauges.unsigned.inc({ tenant }, unsigned);
  }
  for (const { tenant, operation, state, count } of runs) gauges.runs.set({ tenant, operation, state }, count);
  for (const tenant of new Set(stacks.map((row) => row.tenant))) {
    for (const queue of QUEUE_NAMES) gauges.waiting.set({ tenant, queue }, await ring.waiting(tenant, queue));
  }
}

/** Makes the meters of a service process. */
export function createServiceMetrics(): ServiceMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const gauges = createGauges(registers);
  return {
    contentType: registry.contentType,
    scrape: async (db, ring) => {
      await read(gauges, db, ring);
      return await registry.metrics();
    },
    webhooks: new Counter({
      name: 'plumbline_webhooks_total',
      help: 'Webhooks by format and outcome',
      labelNames: ['tenant', 'type', 'outcome'],
      registers,
    }),
    requests: new Histogram({
      name: 'plumbline_http_request_seconds',
      help: 'Time to answer a request',
      labelNames: ['route', 'method', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    }),
  };
}
