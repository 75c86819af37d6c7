import { Type, type Static } from 'typebox';
import { ROLES, StackSpec } from './manifest.ts';
import { VerifyPolicy } from './verify-policy.ts';
import { OPERATIONS, RUN_STATES, TRIGGERS } from './run.ts';

/**
 * What the HTTP API answers, shared by the service (serialisation, documentation) and its clients (types). Fields that
 * are not named here never leave the service. Times are ISO 8601 in UTC; absent means null, never a missing field.
 */
const Time = Type.String({ format: 'date-time' });
const orNull = <S extends Parameters<typeof Type.Array>[0]>(schema: S) => Type.Union([schema, Type.Null()]);
const oneOf = <const T extends string>(values: readonly T[]) => Type.Unsafe<T>({ type: 'string', enum: [...values] });

export const ProblemView = Type.Object({
  type: Type.String({ description: 'urn:plumbline:problem:<code>' }),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String({ description: 'what happened and what to do next' }),
  instance: Type.String({ description: 'id of the request, as in the log' }),
  reason: Type.Optional(Type.String({ description: 'a reason of the table in core/domain/reason.ts' })),
  errors: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() }))),
});
export type ProblemView = Static<typeof ProblemView>;

export const ConditionView = Type.Object({
  type: Type.String(),
  status: oneOf(['True', 'False', 'Unknown']),
  reason: Type.String(),
  message: Type.String(),
  observedGeneration: Type.Integer(),
  lastTransitionTime: Time,
});

export const RunView = Type.Object({
  tenant: Type.String(),
  stack: Type.String(),
  number: Type.Integer({ description: '1, 2, 3 … per stack' }),
  operation: oneOf(OPERATIONS),
  trigger: oneOf(TRIGGERS),
  state: oneOf(RUN_STATES),
  reason: orNull(Type.String()),
  message: Type.String(),
  revision: Type.String(),
  digest: Type.String(),
  generation: Type.Integer(),
  targets: Type.Array(Type.String()),
  requestedBy: Type.String(),
  planDigest: orNull(Type.String({ description: 'what is approved' })),
  summary: orNull(Type.Record(Type.String(), Type.Integer())),
  signed: orNull(
    Type.String({ description: 'who vouches for the artifact, or UNSIGNED and the exception it runs by' }),
  ),
  isolation: orNull(Type.String({ description: 'what isolation its programs had, and what not, in words' })),
  needs: Type.Array(Type.String(), { description: 'why a person is needed' }),
  command: orNull(Type.Array(Type.String(), { description: 'arguments of the engine, of a command by hand' })),
  comment: Type.String({ description: 'why a person asked for it' }),
  exitCode: orNull(Type.Integer({ description: 'what the engine ended with, of a command by hand' })),
  approvalsRequired: Type.Integer(),
  expiresAt: orNull(Time),
  cancelRequestedBy: orNull(Type.String()),
  createdAt: Time,
  updatedAt: Time,
  finishedAt: orNull(Time),
});
export type RunView = Static<typeof RunView>;

export const ChangeView = Type.Object({
  urn: Type.String(),
  type: Type.String(),
  name: Type.String(),
  op: Type.String(),
  diffs: Type.Array(
    Type.Object({
      path: Type.String(),
      kind: oneOf(['add', 'update', 'delete']),
      replaces: Type.Boolean(),
      before: Type.Optional(Type.Unknown()),
      after: Type.Optional(Type.Unknown()),
    }),
  ),
  lostProtection: Type.Boolean(),
  isProvider: Type.Boolean(),
  unknowns: Type.Array(Type.String()),
});

export const ApprovalView = Type.Object({
  decision: oneOf(['approved', 'discarded', 'overridden']),
  planDigest: Type.String(),
  actor: Type.String(),
  comment: Type.String(),
  at: Time,
});
export type ApprovalView = Static<typeof ApprovalView>;

/** What policy packs said about a plan. */
export const PoliciesView = Type.Object({
  packs: Type.Array(Type.Object({ name: Type.String(), version: Type.String(), digest: Type.String() })),
  violations: Type.Array(
    Type.Object({
      pack: Type.String(),
      policy: Type.String(),
      level: oneOf(['advisory', 'mandatory', 'remediate', 'disabled']),
      urn: Type.Optional(Type.String({ description: 'absent for a policy on the whole stack' })),
      message: Type.String(),
    }),
    { description: 'a mandatory one stops the plan until somebody overrides it' },
  ),
  remediations: Type.Array(
    Type.Object({
      pack: Type.String(),
      policy: Type.String(),
      urn: Type.String(),
      before: Type.Optional(Type.Unknown()),
      after: Type.Optional(Type.Unknown()),
    }),
    { description: 'inputs that a policy changed; secrets are masked' },
  ),
});
export type PoliciesView = Static<typeof PoliciesView>;

export const PlanView = Type.Object({
  planDigest: Type.String(),
  changes: Type.Array(ChangeView),
  bound: Type.Record(Type.String(), Type.Unknown(), {
    description: 'everything the approval is bound to; what could be secret is an HMAC under the key of the tenant',
  }),
  policies: PoliciesView,
  createdAt: Time,
});
export type PlanView = Static<typeof PlanView>;

export const RunDetailView = Type.Object({
  run: RunView,
  plan: orNull(PlanView),
  approvals: Type.Array(ApprovalView),
});
export type RunDetailView = Static<typeof RunDetailView>;

export const VerificationView = Type.Object({
  state: oneOf(['verified', 'unsigned', 'missing', 'refused', 'unset']),
  digest: Type.String(),
  message: Type.String(),
  signers: Type.Array(
    Type.Object({
      format: Type.String(),
      name: Type.String(),
      digest: Type.String(),
      statement: Type.String({ description: 'what is signed: the artifact, or a statement by its predicate type' }),
    }),
  ),
  attempts: Type.Integer(),
  nextAt: orNull(Time),
});

export const StackView = Type.Object({
  tenant: Type.String(),
  name: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  generation: Type.Integer(),
  specBy: Type.String({ description: 'who applied the current generation' }),
  spec: StackSpec,
  status: Type.Object({
    conditions: Type.Array(ConditionView),
    observedGeneration: Type.Integer(),
    resolved: orNull(Type.Object({ revision: Type.String(), digest: Type.String(), at: orNull(Time) })),
    applied: orNull(
      Type.Object({ revision: Type.String(), digest: Type.String(), generation: Type.Integer(), at: orNull(Time) }),
    ),
    verification: orNull(VerificationView),
    identity: orNull(Type.Record(Type.String(), Type.String())),
    failures: Type.Integer(),
    nextReconcileAt: orNull(Time),
    nextDriftAt: orNull(Time),
    pendingOperations: Type.Integer({ description: 'operations a person must decide on' }),
    reconcileRequested: Type.Boolean({ description: 'asked to reconcile, and no worker has done so yet' }),
    driftRequested: Type.Boolean({ description: 'asked for a drift check, and no worker has begun it yet' }),
  }),
  liveRun: orNull(RunView),
  why: Type.String({ description: 'one line: why the stack is running, or why not and what to do' }),
  createdAt: Time,
  updatedAt: Time,
});
export type StackView = Static<typeof StackView>;

export const TenantView = Type.Object({
  name: Type.String(),
  description: orNull(Type.String()),
  signatures: oneOf(['required', 'optional']),
  verify: orNull(VerifyPolicy),
  createdAt: Time,
});
export type TenantView = Static<typeof TenantView>;

export const DriftItemView = Type.Object({
  urn: Type.String(),
  path: Type.String({ description: 'property; empty for a missing resource' }),
  type: Type.String(),
  kind: Type.String(),
  before: Type.Unknown({ description: 'last applied value; secrets are masked' }),
  after: Type.Unknown({ description: 'value in the live world' }),
  ignoredUntil: orNull(Time),
  ignoredReason: orNull(Type.String({ description: 'why it does not count until then' })),
  firstSeenAt: Time,
  lastSeenAt: Time,
  ageSeconds: Type.Integer(),
});
export type DriftItemView = Static<typeof DriftItemView>;

export const PendingView = Type.Object({
  operations: Type.Array(Type.Object({ urn: Type.String(), type: Type.String(), operation: Type.String() })),
  answers: Type.Array(
    Type.Object({
      urn: Type.String(),
      answer: oneOf(['clear', 'import']),
      id: Type.Optional(Type.String()),
      by: Type.String(),
    }),
  ),
});
export type PendingView = Static<typeof PendingView>;

export const EventView = Type.Object({
  id: Type.String(),
  type: Type.String(),
  reason: orNull(Type.String()),
  severity: oneOf(['info', 'warning', 'error']),
  message: Type.String(),
  actor: Type.String(),
  stack: orNull(Type.String()),
  run: orNull(Type.Integer()),
  data: Type.Record(Type.String(), Type.Unknown()),
  at: Time,
});
export type EventView = Static<typeof EventView>;

export const RevisionView = Type.Object({
  revision: Type.String(),
  digest: Type.String(),
  ordinal: Type.Integer(),
  annotations: Type.Record(Type.String(), Type.String()),
  firstSeenAt: Time,
  lastSeenAt: Time,
  appliedAt: orNull(Time),
});
export type RevisionView = Static<typeof RevisionView>;

/** Names and versions, never values. */
export const SecretView = Type.Object({ name: Type.String(), version: Type.Integer(), updatedAt: Time });
export type SecretView = Static<typeof SecretView>;

export const ReceiverView = Type.Object({
  name: Type.String(),
  type: Type.String(),
  suspended: Type.Boolean(),
  hook: orNull(Type.String({ description: 'path to post to; only operators see it' })),
});
export type ReceiverView = Static<typeof ReceiverView>;

export const TokenView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  role: oneOf(ROLES),
  createdAt: Time,
  expiresAt: orNull(Time),
});
export type TokenView = Static<typeof TokenView>;

export const NewTokenView = Type.Object({
  ...TokenView.properties,
  token: Type.String({ description: 'shown this once' }),
});
export type NewTokenView = Static<typeof NewTokenView>;

export const APPLY_ACTIONS = ['created', 'changed', 'unchanged'] as const;
export const AppliedView = Type.Object({
  kind: Type.String(),
  tenant: orNull(Type.String()),
  name: Type.String(),
  action: oneOf(APPLY_ACTIONS),
  token: Type.Optional(Type.String({ description: 'of a new Token: shown this once' })),
  hook: Type.Optional(Type.String({ description: 'of a Receiver: the path to post to' })),
});
export type AppliedView = Static<typeof AppliedView>;

export const ApplyResultView = Type.Object({ dryRun: Type.Boolean(), results: Type.Array(AppliedView) });
export type ApplyResultView = Static<typeof ApplyResultView>;

/** One page of a list; `next` is the cursor of the following one, null at the end. */
export function pageOf<S extends Parameters<typeof Type.Array>[0]>(item: S) {
  return Type.Object({ items: Type.Array(item), next: orNull(Type.String()) });
}
