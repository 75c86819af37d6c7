import { Type, type Static } from 'typebox';
import { closed, Duration, Name, oneOf } from './manifest-parts.ts';

const Identity = Type.Object(
  {
    issuer: Type.Optional(Type.String({ maxLength: 512 })),
    issuerPattern: Type.Optional(Type.String({ maxLength: 512 })),
    subject: Type.Optional(Type.String({ maxLength: 512 })),
    subjectPattern: Type.Optional(Type.String({ maxLength: 512 })),
  },
  { ...closed, description: 'one issuer and one subject, each exact or as an RE2 pattern of the whole' },
);

export const CosignPolicy = Type.Object(
  {
    keys: Type.Optional(
      Type.Array(Name, {
        minItems: 1,
        maxItems: 20,
        description: 'secrets that hold public keys (PEM), any key counts',
      }),
    ),
    identities: Type.Optional(Type.Array(Identity, { minItems: 1, maxItems: 20 })),
    trustedRoot: Type.Optional(Name),
    requireLog: Type.Optional(Type.Boolean({ description: 'signatures by key must be in the transparency log too' })),
  },
  closed,
);
export type CosignPolicy = Static<typeof CosignPolicy>;

export const NotationPolicy = Type.Object(
  {
    level: Type.Optional(oneOf(['strict', 'permissive'])),
    trustStores: Type.Array(Name, { minItems: 1, maxItems: 20, description: 'secrets that hold certificates (PEM)' }),
    trustedIdentities: Type.Array(Type.String({ maxLength: 1024 }), { minItems: 1, maxItems: 20 }),
  },
  closed,
);
export type NotationPolicy = Static<typeof NotationPolicy>;

const Texts = Type.Array(Type.String({ minLength: 1, maxLength: 1024 }), { minItems: 1, maxItems: 100 });
export const AttestationPolicy = Type.Object(
  {
    type: oneOf(['slsa-provenance', 'sbom', 'vulnerabilities', 'custom']),
    predicateType: Type.Optional(Type.String({ maxLength: 512 })),
    cosign: Type.Optional(CosignPolicy),
    builders: Type.Optional(Texts),
    buildTypes: Type.Optional(Texts),
    sourceRepositories: Type.Optional(Texts),
    sourceRefs: Type.Optional(Texts),
    materials: Type.Optional(Texts),
    maxSeverity: Type.Optional(oneOf(['none', 'low', 'medium', 'high'])),
    fields: Type.Optional(
      Type.Array(
        Type.Object(
          {
            path: Type.String({ minLength: 1, maxLength: 256 }),
            equals: Type.Union([Type.String({ maxLength: 1024 }), Type.Number(), Type.Boolean()]),
          },
          closed,
        ),
        { maxItems: 50 },
      ),
    ),
  },
  closed,
);
export type AttestationPolicy = Static<typeof AttestationPolicy>;

/** Every block that is there must be met. `unsigned` is the exception that is shown everywhere. */
export const VerifyPolicy = Type.Object(
  {
    cosign: Type.Optional(CosignPolicy),
    notation: Type.Optional(NotationPolicy),
    attestations: Type.Optional(Type.Array(AttestationPolicy, { minItems: 1, maxItems: 20 })),
    wait: Type.Optional(Duration),
    unsigned: Type.Optional(Type.Object({ reason: Type.String({ minLength: 3, maxLength: 256 }) }, closed)),
  },
  closed,
);
export type VerifyPolicy = Static<typeof VerifyPolicy>;
