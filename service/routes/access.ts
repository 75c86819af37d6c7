import { Type } from 'typebox';
import { actorOf } from '#core/domain/authorize.ts';
import { Name } from '#core/domain/manifest-parts.ts';
import { TokenSpec } from '#core/domain/manifest.ts';
import { NewTokenView, ReceiverView, SecretView, TenantView, TokenView } from '#core/domain/view.ts';
import { listReceivers } from '#core/store/receivers.ts';
import { listSecrets } from '#core/store/secrets.ts';
import { getTenant, listTenants } from '#core/store/tenants.ts';
import { deleteToken, listTokens } from '#core/store/tokens.ts';
import { principalOf } from '../auth.ts';
import type { App, RouteDeps } from '../deps.ts';
import { notFound } from '../problem.ts';
import { issueToken } from '../tokens.ts';
import { receiverView, secretView, tenantView, tokenView } from '../views.ts';
import { problems, TenantParams } from './schema.ts';

const tags = ['access'];
const base = '/v1/tenants/:tenant';
const listOf = <S extends Parameters<typeof Type.Array>[0]>(item: S) => Type.Object({ items: Type.Array(item) });

function tenantRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/v1/tenants',
    {
      config: { route: 'tenants.list' },
      schema: { tags, description: 'those the token reaches', response: { 200: listOf(TenantView), ...problems } },
    },
    async (request) => {
      const { tenant } = principalOf(request);
      const rows = tenant === null ? await listTenants(deps.db) : [await getTenant(deps.db, tenant)];
      return { items: rows.flatMap((row) => (row === undefined ? [] : [tenantView(row)])) };
    },
  );

  app.get(
    base,
    {
      config: { route: 'tenants.get' },
      schema: { tags, params: TenantParams, response: { 200: TenantView, ...problems } },
    },
    async (request) => {
      const row = await getTenant(deps.db, request.params.tenant);
      if (row === undefined) throw notFound(`tenant ${request.params.tenant}`);
      return tenantView(row);
    },
  );

  app.get(
    `${base}/secrets`,
    {
      config: { route: 'secrets.list' },
      schema: {
        tags,
        description: 'names and versions; values are never read back',
        params: TenantParams,
        response: { 200: listOf(SecretView), ...problems },
      },
    },
    async (request) => ({ items: (await listSecrets(deps.db, request.params.tenant)).map(secretView) }),
  );

  app.get(
    `${base}/receivers`,
    {
      config: { route: 'receivers.list' },
      schema: { tags, params: TenantParams, response: { 200: listOf(ReceiverView), ...problems } },
    },
    async (request) => {
      const principal = principalOf(request);
      const rows = await listReceivers(deps.db, request.params.tenant);
      return { items: rows.map((row) => receiverView(row, principal)) };
    },
  );
}

function tokenRoutes(app: App, deps: RouteDeps): void {
  app.get(
    `${base}/tokens`,
    {
      config: { route: 'tokens.list' },
      schema: { tags, params: TenantParams, response: { 200: listOf(TokenView), ...problems } },
    },
    async (request) => ({ items: (await listTokens(deps.db, request.params.tenant)).map(tokenView) }),
  );

  app.post(
    `${base}/tokens`,
    {
      config: { route: 'tokens.create' },
      schema: {
        tags,
        description: 'the answer holds the token, this once',
        params: TenantParams,
        body: Type.Object({ name: Name, ...TokenSpec.properties }, { additionalProperties: false }),
        response: { 201: NewTokenView, ...problems },
      },
    },
    async (request, reply) => {
      const { name, ...spec } = request.body;
      const by = actorOf(principalOf(request));
      const { row, token } = await issueToken(deps.db, { tenant: request.params.tenant, name, spec, by });
      return reply.code(201).send({ ...tokenView(row), token });
    },
  );

  app.delete(
    `${base}/tokens/:name`,
    {
      config: { route: 'tokens.delete' },
      schema: {
        tags,
        description: 'the token stops working at once',
        params: Type.Object({ tenant: Name, name: Name }),
        response: { 204: Type.Null(), ...problems },
      },
    },
    async (request, reply) => {
      const { tenant, name } = request.params;
      const deleted = await deleteToken(deps.db, { tenant, name, by: actorOf(principalOf(request)) });
      if (!deleted) throw notFound(`token ${name} of tenant ${tenant}`);
      return reply.code(204).send(null);
    },
  );
}

/** Tenants, and what gives access in them. */
export function accessRoutes(app: App, deps: RouteDeps): void {
  tenantRoutes(app, deps);
  tokenRoutes(app, deps);
}
