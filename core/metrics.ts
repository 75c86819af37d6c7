import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What Plumbline counts. The only label that names a customer is `tenant`: stack names stay out. */
export interface Metrics {
  registry: Registry;
  /** Seconds of one reconcile, by tenant and queue. */
  reconcileSeconds: Histogram<'tenant' | 'queue'>;
  /** Finished runs by tenant, operation and state. */
  runs: Counter<'tenant' | 'operation' | 'state'>;
  /** Webhooks by tenant, format and what became of them. */
  webhooks: Counter<'tenant' | 'type' | 'outcome'>;
  /** Stacks whose last check found drift. */
  driftedStacks: Gauge<'tenant'>;
  /** Jobs that wait, by tenant and queue. */
  queueWaiting: Gauge<'tenant' | 'queue'>;
}

/** Makes the meters with a registry of their own; `withProcess` adds those of Node.js. */
export function createMetrics(options: { withProcess?: boolean } = {}): Metrics {
  const registry = new Registry();
  const registers = [registry];
  if (options.withProcess === true) collectDefaultMetrics({ register: registry });
  return {
    registry,
    reconcileSeconds: new Histogram({
      name: 'plumbline_reconcile_seconds',
      help: 'Time of one look at a stack, with what was done',
      labelNames: ['tenant', 'queue'],
      buckets: [0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800],
      registers,
    }),
    runs: new Counter({
      name: 'plumbline_runs_total',
      help: 'Finished runs by operation and state',
      labelNames: ['tenant', 'operation', 'state'],
      registers,
    }),
    webhooks: new Counter({
      name: 'plumbline_webhooks_total',
      help: 'Webhooks by format and outcome',
      labelNames: ['tenant', 'type', 'outcome'],
      registers,
    }),
    driftedStacks: new Gauge({
      name: 'plumbline_drifted_stacks',
      help: 'Stacks whose last check found drift',
      labelNames: ['tenant'],
      registers,
    }),
    queueWaiting: new Gauge({
      name: 'plumbline_queue_waiting',
      help: 'Jobs that wait for a worker',
      labelNames: ['tenant', 'queue'],
      registers,
    }),
  };
}
