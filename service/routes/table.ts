import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { App, RouteDeps } from '../deps.ts';
import { accessRoutes } from './access.ts';
import { applyRoutes } from './apply.ts';
import { driftRoutes } from './drift.ts';
import { execRoutes } from './exec.ts';
import { eventRoutes } from './events.ts';
import { hookRoutes } from './hooks.ts';
import { oidcRoutes } from './oidc.ts';
import { policyRoutes } from './policies.ts';
import { logRoutes } from './logs.ts';
import { runRoutes } from './runs.ts';
import { serviceRoutes } from './service.ts';
import { stateExportRoutes } from './state-export.ts';
import { stackRoutes } from './stacks.ts';
import { stateRoutes } from './state.ts';

/** Every route of the service. Two have a scope of their own: there bodies are checked otherwise. */
export function registerRoutes(app: App, deps: RouteDeps): void {
  serviceRoutes(app, deps);
  accessRoutes(app, deps);
  stackRoutes(app, deps);
  stateRoutes(app, deps);
  runRoutes(app, deps);
  logRoutes(app, deps);
  policyRoutes(app, deps);
  execRoutes(app, deps);
  stateExportRoutes(app, deps);
  driftRoutes(app, deps);
  eventRoutes(app, deps);
  oidcRoutes(app, deps);
  void app.register(async (scope) => applyRoutes(scope.withTypeProvider<TypeBoxTypeProvider>(), deps));
  void app.register(async (scope) => hookRoutes(scope.withTypeProvider<TypeBoxTypeProvider>(), deps));
}
