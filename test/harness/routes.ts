import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { ROUTES, type RouteId } from '#core/domain/authorize.ts';
import type { App } from '../../service/deps.ts';

const Document = Type.Object({
  paths: Type.Record(Type.String(), Type.Record(Type.String(), Type.Object({ operationId: Type.String() }))),
});

export interface WalkedRoute {
  id: RouteId;
  method: 'GET' | 'POST' | 'DELETE';
  /** With every parameter filled in. */
  url: string;
  permission: string;
  /** A body the route would take. */
  body: unknown;
}

const BODIES: Partial<Record<RouteId, (names: RouteNames) => unknown>> = {
  'stacks.unlock': () => ({ confirmDead: true }),
  'stacks.exec': () => ({ command: ['stack', 'export'], reason: 'to look' }),
  'runs.approve': ({ planDigest }) => ({ planDigest }),
  'runs.discard': ({ planDigest }) => ({ planDigest }),
  'runs.override': ({ planDigest }) => ({ planDigest, comment: 'agreed with security' }),
  'pending.answer': ({ urn }) => ({ urn, answer: 'clear' }),
  'drift.accept': ({ urn }) => ({ urn }),
  'tokens.create': () => ({ name: 'intruder', role: 'admin' }),
  apply: ({ tenant }) => ({
    manifests: [
      {
        apiVersion: 'plumbline.dev/v1alpha1',
        kind: 'Secret',
        metadata: { name: 'db', tenant },
        spec: { data: { password: 'overwritten' } },
      },
    ],
  }),
};

export interface RouteNames {
  tenant: string;
  stack: string;
  number: string;
  /** Of a token. */
  name: string;
  /** Of a hook. */
  path: string;
  planDigest: string;
  urn: string;
}

/** Every route of the service with real names in it, from its own document; no route can be forgotten. */
export function everyRoute(app: App, names: RouteNames): WalkedRoute[] {
  const document = Value.Parse(Document, app.swagger());
  const found = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => {
      const id = Object.keys(ROUTES).find((known): known is RouteId => known === operation.operationId);
      if (id === undefined) throw new Error(`${method} ${path} has no route id`);
      const url = path.replace(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(String(Reflect.get(names, key))));
      const verb = method.toUpperCase();
      if (verb !== 'GET' && verb !== 'POST' && verb !== 'DELETE') throw new Error(`${verb} is new here`);
      return { id, method: verb, url, permission: ROUTES[id], body: BODIES[id]?.(names) } satisfies WalkedRoute;
    }),
  );
  if (found.length !== Object.keys(ROUTES).length) throw new Error('the document does not hold every route');
  return found;
}
