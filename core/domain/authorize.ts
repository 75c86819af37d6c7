import type { Role } from './manifest.ts';

/** What a role may do. Each word is one column of the authorization table. */
export const PERMISSIONS = {
  read: 'look at stacks, runs, plans, drift and events of a tenant',
  operate: 'reconcile, suspend, resume, cancel, check and heal drift',
  approve: 'approve or discard a plan',
  recover: 'answer pending operations, let missing resources leave the state, declare a lease holder dead',
  administer: 'apply manifests, and so approval rules and secrets; make and delete tokens',
  installation: 'what concerns every tenant: only an administrator bound to none',
} as const satisfies Record<string, string>;
export type Permission = keyof typeof PERMISSIONS;

/**
 * Who may what. Applying manifests is the administrator's: a Stack holds its own approval rule and names the
 * secrets its program gets, so whoever may write it could do without an approver.
 */
export const ROLE_PERMISSIONS = {
  viewer: ['read'],
  operator: ['read', 'operate'],
  approver: ['read', 'operate', 'approve', 'recover'],
  admin: ['read', 'operate', 'approve', 'recover', 'administer', 'installation'],
} as const satisfies Record<Role, readonly Permission[]>;

/**
 * The one table every route goes through: route id → permission. A route that is missing here stops the service at
 * its start, and so does an entry without a route. `open` answers without a token (hooks prove themselves by their
 * receiver's secret).
 */
export const ROUTES = {
  healthz: 'open',
  readyz: 'open',
  openapi: 'open',
  hook: 'open',
  'oidc.configuration': 'open',
  'oidc.keys': 'open',
  'identity.token': 'open',
  metrics: 'installation',
  apply: 'administer',
  'tenants.list': 'read',
  'tenants.get': 'read',
  'stacks.list': 'read',
  'stacks.get': 'read',
  'stacks.reconcile': 'operate',
  'stacks.suspend': 'operate',
  'stacks.resume': 'operate',
  'stacks.unlock': 'recover',
  'stacks.destroy': 'operate',
  'stacks.rebind': 'recover',
  'stacks.accept-state': 'recover',
  'stacks.revisions': 'read',
  'runs.list': 'read',
  'runs.get': 'read',
  'runs.log': 'read',
  'runs.approve': 'approve',
  'runs.discard': 'approve',
  'runs.override': 'approve',
  'runs.cancel': 'operate',
  'runs.state': 'administer',
  'stacks.exec': 'administer',
  'stacks.export': 'administer',
  'drift.list': 'read',
  'drift.check': 'operate',
  'drift.heal': 'operate',
  'drift.accept': 'recover',
  'pending.list': 'read',
  'pending.answer': 'recover',
  'events.list': 'read',
  'secrets.list': 'operate',
  'receivers.list': 'read',
  'tokens.list': 'administer',
  'tokens.create': 'administer',
  'tokens.delete': 'administer',
} as const satisfies Record<string, Permission | 'open'>;
export type RouteId = keyof typeof ROUTES;

/** Whether a text names a route of the table. */
export function isRouteId(text: unknown): text is RouteId {
  return typeof text === 'string' && Object.hasOwn(ROUTES, text);
}

/** The bearer of a token. */
export interface Principal {
  id: string;
  name: string;
  /** Null: every tenant. */
  tenant: string | null;
  role: Role;
}

/** How a principal is written in the diary: `shop/alice`, or `installation/admin` when bound to no tenant. */
export function actorOf(principal: Principal): string {
  return `${principal.tenant ?? 'installation'}/${principal.name}`;
}

/** Whether the principal's role, and for `installation` its reach, holds a permission. */
export function holds(principal: Principal, permission: Permission): boolean {
  if (permission === 'installation' && principal.tenant !== null) return false;
  const held: readonly Permission[] = ROLE_PERMISSIONS[principal.role];
  return held.includes(permission);
}

/** Whether the principal may know that a tenant exists at all. */
export function reaches(principal: Principal, tenant: string): boolean {
  return principal.tenant === null || principal.tenant === tenant;
}

/** `hidden` is answered like something that does not exist, so that nothing is learned about another tenant. */
export type Verdict = 'allowed' | 'unauthenticated' | 'forbidden' | 'hidden';

/**
 * The decision for one request. `tenant` is the one in the path, if the route has one; without a principal only open
 * routes are allowed.
 */
export function authorize(route: RouteId, principal: Principal | undefined, tenant: string | undefined): Verdict {
  const permission = ROUTES[route];
  if (permission === 'open') return 'allowed';
  if (principal === undefined) return 'unauthenticated';
  if (tenant !== undefined && !reaches(principal, tenant)) return 'hidden';
  return holds(principal, permission) ? 'allowed' : 'forbidden';
}
