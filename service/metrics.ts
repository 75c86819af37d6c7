import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client';

/** What the service counts; one registry per app, so that tests do not share meters. */
export interface ServiceMetrics {
  registry: Registry;
  /** Seconds of answering, by route of the table, method and status. */
  requests: Histogram<'route' | 'method' | 'status'>;
  /** Webhooks by format and what became of them. */
  hooks: Counter<'type' | 'outcome'>;
  /** Rings that failed; their stacks wait for the sweep. */
  ringFailures: Counter;
}

/** Makes the meters; `withProcess` adds those of Node.js itself. */
export function createMetrics(withProcess: boolean): ServiceMetrics {
  const registry = new Registry();
  if (withProcess) collectDefaultMetrics({ register: registry });
  return {
    registry,
    requests: new Histogram({
      name: 'plumbline_http_request_seconds',
      help: 'Time to answer a request',
      labelNames: ['route', 'method', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers: [registry],
    }),
    hooks: new Counter({
      name: 'plumbline_hooks_total',
      help: 'Webhooks by format and outcome',
      labelNames: ['type', 'outcome'],
      registers: [registry],
    }),
    ringFailures: new Counter({
      name: 'plumbline_ring_failures_total',
      help: 'Rings that failed; the sweep finds their stacks',
      registers: [registry],
    }),
  };
}
