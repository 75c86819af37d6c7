import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';

/** The head of `/openapi.json`; paths come from the routes' own schemas. */
export const openApi: FastifyDynamicSwaggerOptions = {
  openapi: {
    openapi: '3.1.0',
    info: {
      title: 'Plumbline',
      version: '1',
      description:
        'GitOps for Pulumi with an OCI registry as the state store. Errors are problem documents (RFC 9457). Lists are paged by cursor: pass `next` back as `cursor`.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
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
};
