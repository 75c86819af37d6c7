import { describe, expect, it } from 'vitest';
import { actorOf, authorize, holds, PERMISSIONS, ROUTES, type Principal, type RouteId } from './authorize.ts';
import { ROLES, type Role } from './manifest.ts';

const bearer = (role: Role, tenant: string | null = 'shop'): Principal => ({ id: '1', name: 'alice', tenant, role });

describe('authorize', () => {
  it.each<[RouteId, Role, string]>([
    ['stacks.get', 'viewer', 'allowed'],
    ['stacks.reconcile', 'viewer', 'forbidden'],
    ['stacks.reconcile', 'operator', 'allowed'],
    ['runs.approve', 'operator', 'forbidden'],
    ['runs.approve', 'approver', 'allowed'],
    ['stacks.unlock', 'operator', 'forbidden'],
    ['apply', 'approver', 'forbidden'],
    ['apply', 'admin', 'allowed'],
    ['tokens.create', 'approver', 'forbidden'],
  ])('%s by %s is %s', (route, role, verdict) => {
    expect(authorize(route, bearer(role), 'shop')).toBe(verdict);
  });

  it('hides another tenant from every role, whatever the route asks', () => {
    for (const role of ROLES) expect(authorize('stacks.list', bearer(role), 'bank')).toBe('hidden');
  });

  it('lets an administrator bound to no tenant reach each', () => {
    expect(authorize('stacks.list', bearer('admin', null), 'bank')).toBe('allowed');
  });

  it('keeps what concerns every tenant from the administrator of one', () => {
    expect(authorize('metrics', bearer('admin'), undefined)).toBe('forbidden');
    expect(authorize('metrics', bearer('admin', null), undefined)).toBe('allowed');
  });

  it('answers nothing but open routes without a token', () => {
    const allowed = Object.keys(ROUTES).filter((id) => authorize(id as RouteId, undefined, 'shop') === 'allowed');
    expect(allowed).toEqual([
      'healthz',
      'readyz',
      'openapi',
      'hook',
      'oidc.configuration',
      'oidc.keys',
      'identity.token',
    ]);
  });

  it('gives a viewer nothing but reading', () => {
    const held = Object.keys(PERMISSIONS).filter((name) => holds(bearer('viewer'), name as keyof typeof PERMISSIONS));
    expect(held).toEqual(['read']);
  });
});

describe('actorOf', () => {
  it('tells an installation token from a tenant token of the same name', () => {
    expect(actorOf(bearer('admin', null))).toBe('installation/alice');
    expect(actorOf(bearer('admin'))).toBe('shop/alice');
  });
});
