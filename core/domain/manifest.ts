import { Type, type Static } from 'typebox';
import { closed, Duration, Name, oneOf } from './manifest-parts.ts';
import { VerifyPolicy } from './verify-policy.ts';

/**
 * The kinds people write, as TypeBox schemas: type, validator and API documentation in one.
 * Unknown fields are refused, so a typo never means "default".
 */

export const API_VERSION = 'plumbline.dev/v1alpha1';

export const DIGEST_PATTERN = '^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$';
export const Digest = Type.String({ pattern: DIGEST_PATTERN });
export const Tag = Type.String({ pattern: '^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$' });

const Metadata = Type.Object(
  { name: Name, tenant: Type.Optional(Name), labels: Type.Optional(Type.Record(Type.String(), Type.String())) },
  closed,
);

export const SourceRef = Type.Object(
  {
    tag: Type.Optional(Tag),
    semver: Type.Optional(Type.String({ maxLength: 128 })),
    digest: Type.Optional(Digest),
    prerelease: Type.Optional(Type.Boolean({ description: 'whether a range also takes prereleases it does not name' })),
    filter: Type.Optional(
      Type.String({
        maxLength: 256,
        description: 'RE2 pattern; only tags in which it is found are ordered by semver (anchor it with ^ and $)',
      }),
    ),
  },
  { ...closed, description: 'digest > semver > tag; `latest` when empty' },
);
export type SourceRef = Static<typeof SourceRef>;

export const CLOUDS = ['aws', 'azure', 'gcp'] as const;
export type Cloud = (typeof CLOUDS)[number];

export const IMMUTABLE_TAGS = ['semver', 'all', 'none'] as const;

export const Source = Type.Object(
  {
    repository: Type.String({ pattern: '^oci://', maxLength: 512 }),
    ref: SourceRef,
    path: Type.Optional(Type.String({ maxLength: 256, description: 'sub-folder of the artifact with Pulumi.yaml' })),
    interval: Type.Optional(Duration),
    onBackward: Type.Optional(Type.Union([Type.Literal('hold'), Type.Literal('apply')])),
    credentials: Type.Optional(Name),
    workloadIdentity: Type.Optional(oneOf(CLOUDS)),
    verify: Type.Optional(VerifyPolicy),
    immutableTags: Type.Optional(oneOf(IMMUTABLE_TAGS)),
    onTagMoved: Type.Optional(oneOf(['hold', 'apply'])),
    layerSelector: Type.Optional(Type.Object({ mediaType: Type.String({ minLength: 1, maxLength: 255 }) }, closed)),
    imagePath: Type.Optional(
      Type.String({
        maxLength: 256,
        description:
          'folder of a container image that holds the program, such as /program; images are refused without it',
      }),
    ),
    ignore: Type.Optional(
      Type.String({ maxLength: 16_384, description: 'gitignore lines: what of the artifact is left out' }),
    ),
  },
  closed,
);
export type Source = Static<typeof Source>;

export const SecretKeyRef = Type.Object({ secret: Name, key: Type.String({ minLength: 1, maxLength: 253 }) }, closed);

export const PulumiSettings = Type.Object(
  {
    stack: Name,
    config: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    secrets: Type.Optional(Type.Record(Type.String(), SecretKeyRef)),
    environment: Type.Optional(Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), Type.String())),
    backend: Type.Optional(Type.String({ maxLength: 1024 })),
  },
  closed,
);
export type PulumiSettings = Static<typeof PulumiSettings>;

export const APPROVAL_MODES = ['auto', 'manual', 'on-destructive'] as const;
export type ApprovalMode = (typeof APPROVAL_MODES)[number];

export const ApprovalPolicy = Type.Object(
  {
    mode: oneOf(APPROVAL_MODES),
    required: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 })),
    expires: Type.Optional(Duration),
    selfApproval: Type.Optional(Type.Boolean()),
    maxChanges: Type.Optional(Type.Integer({ minimum: 1 })),
    listedTypes: Type.Optional(Type.Array(Type.String({ maxLength: 256 }), { maxItems: 100 })),
  },
  closed,
);
export type ApprovalPolicy = Static<typeof ApprovalPolicy>;

export const DRIFT_ACTIONS = ['report', 'heal'] as const;
export const DriftPolicy = Type.Object(
  {
    interval: Type.Optional(Duration),
    action: Type.Optional(oneOf(DRIFT_ACTIONS)),
  },
  closed,
);
export type DriftPolicy = Static<typeof DriftPolicy>;

export const StackSpec = Type.Object(
  {
    source: Source,
    pulumi: PulumiSettings,
    credentials: Type.Optional(Type.Object({ plan: Type.Optional(Name), apply: Type.Optional(Name) }, closed)),
    approval: Type.Optional(ApprovalPolicy),
    drift: Type.Optional(DriftPolicy),
    timeouts: Type.Optional(Type.Object({ plan: Type.Optional(Duration), apply: Type.Optional(Duration) }, closed)),
    retry: Type.Optional(
      Type.Object(
        { interval: Type.Optional(Duration), max: Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })) },
        closed,
      ),
    ),
    evidence: Type.Optional(
      Type.Object(
        { key: Name },
        {
          ...closed,
          description:
            'plan, approvals and result of each run are attached to the artifact, signed with the private key of this secret (`cosign.key`, and `password` where it is encrypted); source.credentials must allow pushes',
        },
      ),
    ),
    suspend: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type StackSpec = Static<typeof StackSpec>;

function kind<K extends string, S extends ReturnType<typeof Type.Object>>(name: K, spec: S) {
  return Type.Object(
    { apiVersion: Type.Literal(API_VERSION), kind: Type.Literal(name), metadata: Metadata, spec },
    { ...closed, $id: name },
  );
}

export const StackManifest = kind('Stack', StackSpec);
export type StackManifest = Static<typeof StackManifest>;

export const ArtifactCaps = Type.Object(
  {
    maxArtifactMb: Type.Optional(Type.Integer({ minimum: 1 })),
    maxUnpackedMb: Type.Optional(Type.Integer({ minimum: 1 })),
    maxEntries: Type.Optional(Type.Integer({ minimum: 1 })),
    maxDepth: Type.Optional(Type.Integer({ minimum: 1, maximum: 256 })),
    maxRatio: Type.Optional(Type.Integer({ minimum: 1 })),
  },
  { ...closed, description: 'caps of artifacts; never above those of the worker' },
);

/** `verify` is what stacks without a policy of their own must meet; `signatures: optional` is the tenant-wide exception. */
export const TenantSpec = Type.Object(
  {
    description: Type.Optional(Type.String({ maxLength: 512 })),
    verify: Type.Optional(VerifyPolicy),
    signatures: Type.Optional(oneOf(['required', 'optional'])),
    artifacts: Type.Optional(ArtifactCaps),
  },
  closed,
);
export type TenantSpec = Static<typeof TenantSpec>;
export const TenantManifest = kind('Tenant', TenantSpec);
export type TenantManifest = Static<typeof TenantManifest>;

/** Values arrive in clear over HTTP(S) and are encrypted before they are stored; they are never read back. */
export const SecretSpec = Type.Object(
  { data: Type.Record(Type.String({ minLength: 1, maxLength: 253 }), Type.String({ maxLength: 65_536 })) },
  closed,
);
export const SecretManifest = kind('Secret', SecretSpec);
export type SecretManifest = Static<typeof SecretManifest>;

export const RECEIVER_TYPES = ['distribution', 'generic-hmac'] as const;
export type ReceiverType = (typeof RECEIVER_TYPES)[number];
export const ReceiverSpec = Type.Object(
  {
    type: oneOf(RECEIVER_TYPES),
    secret: SecretKeyRef,
    suspend: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type ReceiverSpec = Static<typeof ReceiverSpec>;
export const ReceiverManifest = kind('Receiver', ReceiverSpec);
export type ReceiverManifest = Static<typeof ReceiverManifest>;

export const ROLES = ['viewer', 'operator', 'approver', 'admin'] as const;
export type Role = (typeof ROLES)[number];
export const TokenSpec = Type.Object({ role: oneOf(ROLES), expires: Type.Optional(Duration) }, closed);
export const TokenManifest = kind('Token', TokenSpec);
export type TokenManifest = Static<typeof TokenManifest>;

export const Manifest = Type.Union([StackManifest, TenantManifest, SecretManifest, ReceiverManifest, TokenManifest]);
export type Manifest = Static<typeof Manifest>;
export type Kind = Manifest['kind'];

/** What a spec means where it is silent. Durations as people write them. */
export const DEFAULTS = {
  sourceInterval: '5m',
  onBackward: 'hold',
  onTagMoved: 'hold',
  immutableTags: 'semver',
  signatures: 'required',
  signatureWait: '10m',
  approvalMode: 'manual',
  approvalRequired: 1,
  approvalExpires: '24h',
  driftInterval: '1h',
  driftAction: 'report',
  planTimeout: '10m',
  applyTimeout: '60m',
  retryInterval: '1m',
  retryMax: 5,
} as const;
