import type { Selectable } from 'kysely';
import { DEFAULTS } from '#core/domain/manifest.ts';
import { holds, type Principal } from '#core/domain/authorize.ts';
import type {
  ApprovalView,
  DriftItemView,
  EventView,
  PlanView,
  ReceiverView,
  RevisionView,
  RunView,
  SecretView,
  StackView,
  TenantView,
  TokenView,
} from '#core/domain/view.ts';
import type {
  ApprovalsTable,
  DriftItemsTable,
  PlansTable,
  ReceiversTable,
  RevisionsTable,
  RunsTable,
  SecretsTable,
  StacksTable,
  TenantsTable,
} from '#core/store/schema.ts';
import type { EventRow } from '#core/store/events.ts';
import type { TokenRow } from '#core/store/tokens.ts';
import { explain, type Surroundings } from './why.ts';

const iso = (time: Date) => time.toISOString();
const isoOrNull = (time: Date | null) => (time === null ? null : iso(time));

/** A tenant as the API shows it. */
export function tenantView(row: Selectable<TenantsTable>): TenantView {
  return {
    name: row.name,
    description: row.spec.description ?? null,
    signatures: row.spec.signatures ?? DEFAULTS.signatures,
    verify: row.spec.verify ?? null,
    createdAt: iso(row.created_at),
  };
}

/** A run as the API shows it; `stack` is the name, which the row does not hold. */
export function runView(row: Selectable<RunsTable>, stack: string): RunView {
  return {
    tenant: row.tenant,
    stack,
    number: row.number,
    operation: row.operation,
    trigger: row.trigger,
    state: row.state,
    reason: row.reason,
    message: row.message,
    revision: row.revision,
    digest: row.digest,
    generation: row.generation,
    targets: row.targets,
    requestedBy: row.requested_by,
    planDigest: row.plan_digest,
    summary: row.summary,
    signed: row.signed === '' ? null : row.signed,
    isolation: row.isolation === '' ? null : row.isolation,
    needs: row.needs,
    command: row.command,
    comment: row.comment,
    exitCode: row.exit_code,
    approvalsRequired: row.approvals_required,
    expiresAt: isoOrNull(row.expires_at),
    cancelRequestedBy: row.cancel_requested_by,
    createdAt: iso(row.created_at),
    updatedAt: iso(row.updated_at),
    finishedAt: isoOrNull(row.finished_at),
  };
}

function resolvedOf(row: Selectable<StacksTable>): StackView['status']['resolved'] {
  if (row.resolved_digest === null) return null;
  return { revision: row.resolved_revision ?? '', digest: row.resolved_digest, at: isoOrNull(row.resolved_at) };
}

function appliedOf(row: Selectable<StacksTable>): StackView['status']['applied'] {
  if (row.applied_digest === null) return null;
  return {
    revision: row.applied_revision ?? '',
    digest: row.applied_digest,
    generation: row.applied_generation ?? 0,
    at: isoOrNull(row.applied_at),
  };
}

/** Of the revision that is resolved now; what was known about another one says nothing. */
function verificationOf({ verification, resolved_digest }: Selectable<StacksTable>) {
  if (verification === null || verification.digest !== resolved_digest) return null;
  const { state, digest, message, signers, attempts, nextAt } = verification;
  const shown = signers.map(({ format, name, digest: signed, statement }) => ({
    format,
    name,
    digest: signed,
    statement,
  }));
  return { state, digest, message, signers: shown, attempts, nextAt };
}

/** A stack as the API shows it. Sealed columns (settings, passphrase) stay behind. */
export function stackView(
  row: Selectable<StacksTable>,
  live: Selectable<RunsTable> | undefined,
  at: Surroundings,
): StackView {
  return {
    tenant: row.tenant,
    name: row.name,
    labels: row.labels,
    generation: row.generation,
    specBy: row.spec_by,
    spec: row.spec,
    status: {
      conditions: row.conditions,
      observedGeneration: row.observed_generation,
      resolved: resolvedOf(row),
      applied: appliedOf(row),
      verification: verificationOf(row),
      identity: row.identity === null ? null : { ...row.identity },
      failures: row.failures,
      nextReconcileAt: isoOrNull(row.next_reconcile_at),
      nextDriftAt: isoOrNull(row.next_drift_at),
      pendingOperations: row.pending_operations?.length ?? 0,
      reconcileRequested: row.requested_seq > row.handled_seq,
      driftRequested: row.drift_requested_seq > row.drift_handled_seq,
    },
    liveRun: live === undefined ? null : runView(live, row.name),
    why: explain(row, live, at),
    createdAt: iso(row.created_at),
    updatedAt: iso(row.updated_at),
  };
}

/** A plan without the sealed update-plan file. */
export function planView(row: Omit<Selectable<PlansTable>, 'bytes'>): PlanView {
  return {
    planDigest: row.plan_digest,
    changes: row.changes,
    bound: { ...row.bound },
    policies: row.policies,
    createdAt: iso(row.created_at),
  };
}

/** Who decided on which plan. */
export function approvalView(row: Selectable<ApprovalsTable>): ApprovalView {
  return {
    decision: row.decision,
    planDigest: row.plan_digest,
    actor: row.actor,
    comment: row.comment,
    at: iso(row.created_at),
  };
}

/** One differing property or missing resource, with its age. */
export function driftItemView(row: Selectable<DriftItemsTable>, now: Date): DriftItemView {
  return {
    urn: row.urn,
    path: row.path,
    type: row.type,
    kind: row.kind,
    before: row.before,
    after: row.after,
    ignoredUntil: isoOrNull(row.ignored_until),
    ignoredReason: row.ignored_reason,
    firstSeenAt: iso(row.first_seen_at),
    lastSeenAt: iso(row.last_seen_at),
    ageSeconds: Math.max(0, Math.round((now.getTime() - row.first_seen_at.getTime()) / 1000)),
  };
}

/** An event with the names people use instead of ids. */
export function eventView(row: EventRow): EventView {
  return {
    id: row.id,
    type: row.type,
    reason: row.reason,
    severity: row.severity,
    message: row.message,
    actor: row.actor,
    stack: row.stack,
    run: row.run,
    data: row.data,
    at: iso(row.created_at),
  };
}

/** A digest the source has named. */
export function revisionView(row: Selectable<RevisionsTable>): RevisionView {
  return {
    revision: row.revision,
    digest: row.digest,
    ordinal: row.ordinal,
    annotations: row.annotations,
    firstSeenAt: iso(row.first_seen_at),
    lastSeenAt: iso(row.last_seen_at),
    appliedAt: isoOrNull(row.applied_at),
  };
}

/** Name and version; never a value. */
export function secretView(row: Pick<Selectable<SecretsTable>, 'name' | 'version' | 'updated_at'>): SecretView {
  return { name: row.name, version: row.version, updatedAt: iso(row.updated_at) };
}

/** Path a receiver is posted to. */
export function hookPath(path: string): string {
  return `/hooks/${path}`;
}

/** A receiver; its path is as good as a password for some formats, so only operators see it. */
export function receiverView(row: Selectable<ReceiversTable>, principal: Principal): ReceiverView {
  const hook = holds(principal, 'operate') ? hookPath(row.path) : null;
  return { name: row.name, type: row.type, suspended: row.suspended, hook };
}

/** A token without its hash. */
export function tokenView(row: TokenRow): TokenView {
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    createdAt: iso(row.created_at),
    expiresAt: isoOrNull(row.expires_at),
  };
}
