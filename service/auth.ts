import type { FastifyRequest } from 'fastify';
import { authorize, isRouteId, ROUTES, type Principal, type RouteId } from '#core/domain/authorize.ts';
import { getTenant } from '#core/store/tenants.ts';
import { findToken, hashToken } from '#core/store/tokens.ts';
import type { App, RouteDeps } from './deps.ts';
import { notFound, Problem } from './problem.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route's row in the authorization table. */
    route?: RouteId;
  }
}

/** Tokens of ours are 49 characters; what is much longer is not looked up. */
const MAX_TOKEN_LENGTH = 256;

const principals = new WeakMap<FastifyRequest, Principal>();

/** Who sent the request. @throws on a route of the table's `open` kind, which has nobody: a defect. */
export function principalOf(request: FastifyRequest): Principal {
  const principal = principals.get(request);
  if (principal === undefined) throw new Error('an open route asked for the principal of its request');
  return principal;
}

/** The bearer of the request's token. Looked up by hash, so the time of the look-up says nothing about a token. */
async function authenticate(deps: RouteDeps, request: FastifyRequest): Promise<Principal | undefined> {
  const match = /^bearer +([A-Za-z0-9_-]+)$/i.exec(request.headers.authorization ?? '');
  const token = match?.[1];
  if (token === undefined || token.length > MAX_TOKEN_LENGTH) return undefined;
  const row = await findToken(deps.db, hashToken(token));
  return row && { id: row.id, name: row.name, tenant: row.tenant, role: row.role };
}

function tenantInPath(request: FastifyRequest): string | undefined {
  const params: unknown = request.params;
  if (typeof params !== 'object' || params === null || !('tenant' in params)) return undefined;
  return String(params.tenant);
}

async function admit(deps: RouteDeps, request: FastifyRequest, route: RouteId): Promise<void> {
  if (ROUTES[route] === 'open') return;
  const tenant = tenantInPath(request);
  const principal = await authenticate(deps, request);
  switch (authorize(route, principal, tenant)) {
    case 'unauthenticated':
      throw new Problem('unauthenticated', 'send `Authorization: Bearer <token>` with a token that has not expired');
    case 'forbidden':
      throw new Problem(
        'forbidden',
        `this needs the permission ${ROUTES[route]}, which the role ${principal?.role} lacks`,
      );
    case 'hidden':
      throw notFound(`tenant ${tenant}`);
    case 'allowed':
  }
  if (principal === undefined) return;
  principals.set(request, principal);
  const known = tenant === undefined || principal.tenant !== null || (await getTenant(deps.db, tenant)) !== undefined;
  if (!known) throw notFound(`tenant ${tenant}`);
}

/**
 * Sends every request through the authorization table, before its body is read.
 * @throws at registration, and at `ready()`, when routes and table do not match one to one.
 */
export function guardRoutes(app: App, deps: RouteDeps): void {
  const registered = new Set<RouteId>();
  app.addHook('onRoute', (options) => {
    const route = options.config?.route;
    const name = `${String(options.method)} ${options.url}`;
    if (!isRouteId(route)) throw new Error(`${name} names no row of the table in core/domain/authorize.ts`);
    if (registered.has(route)) throw new Error(`${name} uses ${route} a second time`);
    registered.add(route);
  });
  app.addHook('onReady', async () => {
    const missing = Object.keys(ROUTES).filter((id) => !registered.has(id as RouteId));
    if (missing.length > 0)
      throw new Error(`the authorization table names routes that do not exist: ${missing.join(', ')}`);
  });
  app.addHook('onRequest', async (request) => {
    const route = request.routeOptions.config.route;
    if (route === undefined) return; // nothing is there: the not-found handler answers
    await admit(deps, request, route);
  });
}
