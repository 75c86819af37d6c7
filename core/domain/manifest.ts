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

/** A policy pack: a folder of the artifact, or an artifact of its own. */
export const PolicyPackRef = Type.Object(
  {
    path: Type.Optional(
      Type.String({ minLength: 1, maxLength: 256, description: 'folder of the artifact with PulumiPolicy.yaml' }),
    ),
    oci: Type.Optional(
      Type.String({ pattern: '^oci://', maxLength: 512, description: 'oci://host/name:tag or @digest' }),
    ),
    credentials: Type.Optional(Name),
    verify: Type.Optional(VerifyPolicy),
    config: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description: 'policy name to its level and settings, as Pulumi takes it',
      }),
    ),
  },
  { ...closed, description: 'exactly one of path and oci' },
);
export type PolicyPackRef = Static<typeof PolicyPackRef>;

export const PulumiSettings = Type.Object(
  {
    stack: Name,
    organization: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9_.-]{1,100}$',
        description: 'owner of the stack in Pulumi Cloud; other backends have none',
      }),
    ),
    config: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    secrets: Type.Optional(Type.Record(Type.String(), SecretKeyRef)),
    environment: Type.Optional(Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), Type.String())),
    backend: Type.Optional(Type.String({ maxLength: 1024 })),
    secretsProvider: Type.Optional(
      Type.String({
        pattern: '^(passphrase$|awskms://|azurekeyvault://|gcpkms://|hashivault://|default$)',
        maxLength: 1024,
        description:
          'what encrypts the secrets of the state; `passphrase` when empty, `default` is the service of Pulumi Cloud. Frozen at the first apply',
      }),
    ),
    passphrase: Type.Optional(SecretKeyRef),
    environments: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
        maxItems: 50,
        description: 'ESC environments, where the backend has them',
      }),
    ),
    policyPacks: Type.Optional(Type.Array(PolicyPackRef, { maxItems: 20 })),
  },
  closed,
);
export type PulumiSettings = Static<typeof PulumiSettings>;

export const APPROVAL_MODES = ['auto', 'manual', 'on-destructive'] as const;
export type ApprovalMode = (typeof APPROVAL_MODES)[number];

/** What an approval binds: the update plan, or (where the tenant allows it) only operations and property paths. */
export const BINDINGS = ['plan', 'operations'] as const;
export type Binding = (typeof BINDINGS)[number];

export const ApprovalPolicy = Type.Object(
  {
    mode: oneOf(APPROVAL_MODES),
    binding: Type.Optional(oneOf(BINDINGS)),
    required: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 })),
    expires: Type.Optional(Duration),
    selfApproval: Type.Optional(Type.Boolean()),
    maxChanges: Type.Optional(Type.Integer({ minimum: 1 })),
    listedTypes: Type.Optional(Type.Array(Type.String({ maxLength: 256 }), { maxItems: 100 })),
  },
  closed,
);
export type ApprovalPolicy = Static<typeof ApprovalPolicy>;

export const DRIFT_ACTIONS = ['report', 'plan', 'heal'] as const;

/** What of the drift is left out of reports and heals, until when. */
export const DriftIgnore = Type.Object(
  {
    urn: Type.Optional(
      Type.String({ minLength: 1, maxLength: 1024, description: 'URN, or its end, with * for any text' }),
    ),
    type: Type.Optional(
      Type.String({ minLength: 1, maxLength: 256, description: 'resource type with * for any text' }),
    ),
    path: Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description: 'property path and all below it' })),
    reason: Type.String({ minLength: 1, maxLength: 512 }),
    expires: Type.String({ format: 'date-time', description: 'from then on it counts again' }),
  },
  { ...closed, description: 'all of urn, type and path that are given must match' },
);
export type DriftIgnore = Static<typeof DriftIgnore>;

export const DriftPolicy = Type.Object(
  {
    interval: Type.Optional(Duration),
    action: Type.Optional(oneOf(DRIFT_ACTIONS)),
    runProgram: Type.Optional(
      Type.Boolean({
        description:
          'run the program in the refresh too, for providers whose credentials the program makes; default false',
      }),
    ),
    ignore: Type.Optional(Type.Array(DriftIgnore, { maxItems: 100 })),
  },
  closed,
);
export type DriftPolicy = Static<typeof DriftPolicy>;

/** A role of AWS that is assumed for one operation, by static keys of a secret or by a token of this run. */
const AwsRole = Type.Object(
  {
    role: Type.String({ pattern: '^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$', maxLength: 2048 }),
    region: Type.Optional(Type.String({ pattern: '^[a-z0-9-]{1,32}$' })),
    externalId: Type.Optional(Type.String({ minLength: 2, maxLength: 1224 })),
    session: Type.Optional(Duration),
  },
  closed,
);

/** Clouds that trust the tokens this service mints for a run; see docs/identities.md. */
export const OidcLogin = Type.Object(
  {
    aws: Type.Optional(AwsRole),
    azure: Type.Optional(
      Type.Object(
        {
          tenantId: Type.String({ maxLength: 64 }),
          clientId: Type.String({ maxLength: 64 }),
          subscriptionId: Type.Optional(Type.String({ maxLength: 64 })),
        },
        closed,
      ),
    ),
    gcp: Type.Optional(
      Type.Object(
        {
          provider: Type.String({
            maxLength: 512,
            description: 'projects/…/locations/global/workloadIdentityPools/…/providers/…',
          }),
          serviceAccount: Type.Optional(Type.String({ maxLength: 256 })),
          project: Type.Optional(Type.String({ maxLength: 64 })),
        },
        closed,
      ),
    ),
    tokenFile: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
        description: 'variable that gets the path of the token, for other providers',
      }),
    ),
  },
  closed,
);
export type OidcLogin = Static<typeof OidcLogin>;

/** An identity of a run: the name of a Secret whose keys become variables, or what is made of one or of a token. */
export const CredentialSource = Type.Union([
  Name,
  Type.Object({ secret: Name }, closed),
  Type.Object({ secret: Name, assumeRole: AwsRole }, closed),
  Type.Object({ oidc: OidcLogin, secret: Type.Optional(Name) }, closed),
]);
export type CredentialSource = Static<typeof CredentialSource>;

/** Which hosts a run may reach where its network is filtered, and whether the cloud's metadata address is among them. */
export const NetworkPolicy = Type.Object(
  {
    egress: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
        maxItems: 100,
        description: '`host[:port]`, or `*.example.com[:port]`',
      }),
    ),
    metadata: Type.Optional(
      Type.Boolean({ description: 'the metadata address of the cloud; the tenant must allow it' }),
    ),
  },
  closed,
);
export type NetworkPolicy = Static<typeof NetworkPolicy>;

export const RunLimits = Type.Object(
  {
    memoryMb: Type.Optional(Type.Integer({ minimum: 128, maximum: 1_048_576 })),
    processes: Type.Optional(Type.Integer({ minimum: 16, maximum: 32_768 })),
  },
  { ...closed, description: 'of all processes of a run together; never above those of the worker' },
);
export type RunLimits = Static<typeof RunLimits>;

export const StackSpec = Type.Object(
  {
    source: Source,
    pulumi: PulumiSettings,
    credentials: Type.Optional(
      Type.Object({ plan: Type.Optional(CredentialSource), apply: Type.Optional(CredentialSource) }, closed),
    ),
    network: Type.Optional(NetworkPolicy),
    limits: Type.Optional(RunLimits),
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
    policyPacks: Type.Optional(
      Type.Array(PolicyPackRef, { maxItems: 20, description: 'run over every stack of the tenant; oci only' }),
    ),
    bindings: Type.Optional(
      Type.Array(oneOf(BINDINGS), { description: 'what approvals may bind besides the plan; `plan` alone when empty' }),
    ),
    network: Type.Optional(
      Type.Object(
        {
          egress: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: 100 })),
          metadata: Type.Optional(oneOf(['allowed', 'refused'])),
        },
        closed,
      ),
    ),
  },
  closed,
);
export type TenantSpec = Static<typeof TenantSpec>;
export const TenantManifest = kind('Tenant', TenantSpec);
export type TenantManifest = Static<typeof TenantManifest>;

/** Values arrive in clear over HTTP(S) and are encrypted before they are stored; they are never read back. */
const SecretData = Type.Record(Type.String({ minLength: 1, maxLength: 253 }), Type.String({ maxLength: 65_536 }));

/** Where a secret that is kept elsewhere is read, at every run; see docs/secrets.md. */
export const EXTERNAL_STORES = [
  'file',
  'environment',
  'vault',
  'aws-secrets-manager',
  'gcp-secret-manager',
  'azure-key-vault',
] as const;
export const ExternalSecret = Type.Object(
  {
    store: oneOf(EXTERNAL_STORES),
    path: Type.String({
      minLength: 1,
      maxLength: 1024,
      description: 'folder, prefix of variables, path, id or name in the store',
    }),
    address: Type.Optional(Type.String({ maxLength: 512, description: 'URL of the store, where it has one' })),
    version: Type.Optional(Type.String({ maxLength: 128 })),
    region: Type.Optional(Type.String({ maxLength: 32 })),
    namespace: Type.Optional(Type.String({ maxLength: 256 })),
    keys: Type.Optional(
      Type.Record(Type.String(), Type.String(), { description: 'our key to the key in the store; all when empty' }),
    ),
    credentials: Type.Optional(Name),
  },
  closed,
);
export type ExternalSecret = Static<typeof ExternalSecret>;

export const SecretSpec = Type.Object(
  { data: Type.Optional(SecretData), external: Type.Optional(ExternalSecret) },
  { ...closed, description: 'exactly one of data and external' },
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
