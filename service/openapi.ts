import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import { isRouteId, ROUTES } from '#core/domain/authorize.ts';
import {
  ReceiverManifest,
  SecretManifest,
  StackManifest,
  StackSpec,
  TenantManifest,
  TokenManifest,
} from '#core/domain/manifest.ts';
import { canonicalJson } from '#core/domain/plan.ts';
import * as views from '#core/domain/view.ts';

/** Schemas that get a name in the document; wherever one of them occurs there is a reference to it. */
const NAMED: Record<string, object> = {
  Stack: StackManifest,
  Tenant: TenantManifest,
  Secret: SecretManifest,
  Receiver: ReceiverManifest,
  Token: TokenManifest,
  StackSpec,
  Problem: views.ProblemView,
  RunView: views.RunView,
  RunDetailView: views.RunDetailView,
  PlanView: views.PlanView,
  ChangeView: views.ChangeView,
  ApprovalView: views.ApprovalView,
  StackView: views.StackView,
  ConditionView: views.ConditionView,
  TenantView: views.TenantView,
  DriftItemView: views.DriftItemView,
  PendingView: views.PendingView,
  EventView: views.EventView,
  RevisionView: views.RevisionView,
  SecretView: views.SecretView,
  ReceiverView: views.ReceiverView,
  TokenView: views.TokenView,
  NewTokenView: views.NewTokenView,
  AppliedView: views.AppliedView,
  ApplyResultView: views.ApplyResultView,
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A schema as the plugin writes it: no id, and a record's pattern as `additionalProperties`. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isObject(value)) return value;
  const { $id: _, patternProperties, ...rest } = value;
  const [items] = isObject(patternProperties) ? Object.values(patternProperties) : [];
  const all = items === undefined ? rest : { ...rest, additionalProperties: items };
  return Object.fromEntries(Object.entries(all).map(([key, item]) => [key, plain(item)]));
}

const names = new Map(Object.entries(NAMED).map(([name, schema]) => [canonicalJson(plain(schema)), name]));

/** Puts a reference in the place of every named schema below `value`. */
function withReferences(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withReferences);
  if (!isObject(value)) return value;
  const inside = (item: unknown) => {
    const name = isObject(item) ? names.get(canonicalJson(plain(item))) : undefined;
    return name === undefined ? withReferences(item) : { $ref: `#/components/schemas/${name}` };
  };
  const entries = Object.entries(value).map(([key, item]) => [
    key,
    Array.isArray(item) ? item.map(inside) : inside(item),
  ]);
  return Object.fromEntries(entries);
}

function namedSchemas(): Record<string, unknown> {
  return Object.fromEntries(Object.entries(NAMED).map(([name, schema]) => [name, withReferences(plain(schema))]));
}

const info = {
  title: 'Plumbline',
  version: '1',
  description:
    'GitOps for Pulumi with an OCI registry as the state store. Errors are problem documents (RFC 9457). Lists are paged by cursor: pass `next` back as `cursor`.',
  license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
};

/** `/openapi.json`: paths come from the routes' own schemas, permissions from the authorization table. */
export const openApi: FastifyDynamicSwaggerOptions = {
  convertConstToEnum: false,
  refResolver: {
    buildLocalReference: ({ $id }, _base, _fragment, index) => (typeof $id === 'string' ? $id : `def-${index}`),
  },
  openapi: {
    openapi: '3.1.0',
    info,
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{ token: [] }],
    tags: [
      { name: 'manifests', description: 'desired state, as people write it' },
      { name: 'stacks', description: 'status, and what a person may ask for' },
      { name: 'runs', description: 'attempts, their plans and approvals' },
      { name: 'drift', description: 'the live world against the last applied state' },
      { name: 'events', description: 'the diary' },
      { name: 'access', description: 'tenants, tokens, secrets, receivers' },
      { name: 'service', description: 'of the process itself' },
    ],
  },
  transform: ({ schema, url, route }) => {
    const id = route.config?.route;
    if (!isRouteId(id)) return { schema, url };
    return { schema: { ...schema, operationId: id, 'x-permission': ROUTES[id] }, url };
  },
  transformObject: (document) => {
    if (!('openapiObject' in document)) return document.swaggerObject;
    const { openapiObject } = document;
    const components = { ...openapiObject.components, schemas: namedSchemas() };
    // The document is plain JSON, and a reference may stand wherever a schema may (OpenAPI 3.1).
    return { ...openapiObject, components, paths: withReferences(openapiObject.paths) } as typeof openapiObject;
  },
};
