import type { Kysely } from 'kysely';
import { credentialSecrets } from '#core/domain/credential.ts';
import type { Snapshot } from '#core/domain/decide.ts';
import { digestOf } from '#core/domain/plan.ts';
import { asReason } from '#core/domain/reason.ts';
import type { StackSpec } from '#core/domain/manifest.ts';
import { stillStands } from '#core/domain/verification.ts';
import { healTargets, listDrift } from '#core/store/drift.ts';
import { getRevision } from '#core/store/revisions.ts';
import { lastDesiredRun, lastRun, liveRun } from '#core/store/runs.ts';
import type { Schema } from '#core/store/schema.ts';
import { secretVersions } from '#core/store/secrets.ts';
import { databaseNow } from '#core/store/clock.ts';
import { getStackById } from '#core/store/stacks.ts';
import { currentTrust } from './trust.ts';

/** Names of the secrets a spec uses: a new version of one of them is a new desired state. */
export function secretNames(spec: StackSpec): string[] {
  const named = Object.values(spec.pulumi.secrets ?? {}).map((ref) => ref.secret);
  if (spec.pulumi.passphrase !== undefined) named.push(spec.pulumi.passphrase.secret);
  return [...new Set([...named, ...credentialSecrets(spec)])].sort();
}

/** Reads everything `decide` looks at. @throws when the stack is gone. */
export async function loadSnapshot(db: Kysely<Schema>, stackId: string) {
  const stack = await getStackById(db, stackId);
  if (stack === undefined) return undefined;
  const [now, run, last, newest, drift, versions, trust] = await Promise.all([
    databaseNow(db),
    liveRun(db, stackId),
    lastDesiredRun(db, stackId),
    lastRun(db, stackId),
    listDrift(db, stackId),
    secretVersions(db, stack.tenant, secretNames(stack.spec)),
    currentTrust(db, stack.tenant, stack.spec),
  ]);
  const resolved = stack.resolved_digest === null ? undefined : await getRevision(db, stackId, stack.resolved_digest);
  const applied = stack.applied_digest === null ? undefined : await getRevision(db, stackId, stack.applied_digest);
  const answered = new Set((stack.pending_answers ?? []).map((answer) => answer.urn));
  const pending = stack.pending_operations ?? [];
  const stalledReason = stack.conditions.find((condition) => condition.type === 'Stalled')?.reason;
  const { verification } = stack;
  const isCurrent = verification?.digest === stack.resolved_digest && verification?.trustKey === trust.key;
  const snapshot: Snapshot = {
    now,
    spec: stack.spec,
    generation: stack.generation,
    requestedSeq: stack.requested_seq,
    handledSeq: stack.handled_seq,
    resolved: resolved && { ...resolved, revision: stack.resolved_revision ?? resolved.revision },
    sourceDueAt: stack.source_due_at ?? undefined,
    applied: applied && {
      digest: applied.digest,
      ordinal: applied.ordinal,
      revision: stack.applied_revision ?? applied.revision,
      generation: stack.applied_generation ?? 0,
    },
    desiredKey: resolved && digestOf({ digest: resolved.digest, generation: stack.generation, secrets: versions }),
    attemptedKey: stack.attempted_key,
    verification: isCurrent && verification !== null && stillStands(verification, now) ? verification : undefined,
    held: stack.held_digest !== null,
    stalled: stalledReason === undefined ? undefined : asReason(stalledReason),
    failures: stack.failures,
    run: run && {
      id: run.id,
      state: run.state,
      operation: run.operation,
      trigger: run.trigger,
      digest: run.digest,
      generation: run.generation,
      expiresAt: run.expires_at,
      cancelRequestedBy: run.cancel_requested_by,
    },
    last: last?.finished_at ? { state: last.state, reason: last.reason, finishedAt: last.finished_at } : undefined,
    destroyRequestedBy: stack.destroy_requested_by,
    lastDestroy: newest?.operation === 'destroy' ? newest.state : undefined,
    healRequestedBy: stack.heal_requested_by,
    healTargets: healTargets(drift, now),
    acceptsMissing: stack.accept_missing !== null,
    pending: { open: pending.length, answered: pending.filter((item) => answered.has(item.urn)).length },
  };
  return { stack, snapshot };
}
