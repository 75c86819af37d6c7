import { Histogram } from 'prom-client';
import { createMetrics, type Metrics } from '#core/metrics.ts';

/** What the service counts, in one registry per app. */
export interface ServiceMetrics extends Metrics {
  /** Seconds of answering, by route of the table, method and status. */
  requests: Histogram<'route' | 'method' | 'status'>;
}

/** Makes the meters of a service process. */
export function createServiceMetrics(): ServiceMetrics {
  const metrics = createMetrics({ withProcess: true });
  return {
    ...metrics,
    requests: new Histogram({
      name: 'plumbline_http_request_seconds',
      help: 'Time to answer a request',
      labelNames: ['route', 'method', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers: [metrics.registry],
    }),
  };
}
