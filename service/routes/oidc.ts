import { Type } from 'typebox';
import { SealedToken, SignedTokenRequest, TOKEN_PATH } from '#core/identity/token-request.ts';
import type { App, RouteDeps } from '../deps.ts';
import { CONFIGURATION_PATH, KEYS_PATH } from '../oidc/issuer.ts';
import { mintToken, noIssuer } from '../oidc/mint.ts';
import { problems } from './schema.ts';

const BODY_LIMIT = 4 * 1024;
/** Far below the time a key is published before it signs. */
const CACHED = 'public, max-age=300';

function wellKnownRoutes(app: App, deps: RouteDeps): void {
  const tags = ['service'];
  const answer = { 200: Type.Record(Type.String(), Type.Unknown()), ...problems };

  app.get(
    CONFIGURATION_PATH,
    {
      config: { route: 'oidc.configuration' },
      schema: {
        tags,
        security: [],
        description: 'the issuer of identity tokens (OpenID Connect Discovery 1.0); 404 where none are minted',
        response: answer,
      },
    },
    async (_request, reply) => {
      if (deps.identityIssuer === undefined) throw noIssuer('not-found');
      return reply.header('cache-control', CACHED).send(deps.identityIssuer.configuration());
    },
  );

  app.get(
    KEYS_PATH,
    {
      config: { route: 'oidc.keys' },
      schema: { tags, security: [], description: 'the public keys of identity tokens (RFC 7517)', response: answer },
    },
    async (_request, reply) => {
      if (deps.identityIssuer === undefined) throw noIssuer('not-found');
      return reply.header('cache-control', CACHED).send(await deps.identityIssuer.keySet(deps.now().getTime()));
    },
  );
}

/** The service as an issuer of identity tokens: what clouds read, and what workers of this installation ask. */
export function oidcRoutes(app: App, deps: RouteDeps): void {
  wellKnownRoutes(app, deps);

  // Open in the table: a request proves itself by its signature, which only processes with the master key can make.
  app.post(
    TOKEN_PATH,
    {
      config: { route: 'identity.token' },
      bodyLimit: BODY_LIMIT,
      schema: {
        tags: ['service'],
        security: [],
        description:
          'for workers of this installation: the request is signed, and the answer sealed, with its master key',
        body: SignedTokenRequest,
        response: { 200: SealedToken, ...problems },
      },
    },
    async (request) => await mintToken(deps, request.body),
  );
}
