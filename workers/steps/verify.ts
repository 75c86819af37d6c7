import { setCondition, type Condition } from '#core/domain/condition.ts';
import { stalled } from '#core/domain/errors.ts';
import {
  isTrusted,
  nextLook,
  saySigners,
  trustOf,
  verificationReason,
  type Verification,
} from '#core/domain/verification.ts';
import { databaseNow } from '#core/store/clock.ts';
import { getRevision, ordinalOfProgram } from '#core/store/revisions.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import { getTenant } from '#core/store/tenants.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record, type StatusChange } from '../record.ts';
import { checkSignatures, type Verified } from '../trust.ts';

/** The condition that everybody who looks at the stack sees, an exception included. */
function sourceVerified(conditions: readonly Condition[], generation: number, verified: Verified, now: Date) {
  const status = verified.state === 'verified' ? 'True' : 'False';
  const reason = verificationReason(verified.state);
  const next = { status, reason, message: saySigners(verified), observedGeneration: generation } as const;
  return setCondition(conditions, { type: 'SourceVerified', ...next }, now);
}

/** What is known now, with the attempts at the same revision under the same policy counted on. */
async function verificationOf(
  deps: WorkerDeps,
  stack: StackRow,
  found: Verified,
  digest: string,
): Promise<Verification> {
  const now = await databaseNow(deps.db);
  const before = stack.verification;
  const same = before?.digest === digest && before.trustKey === found.trustKey;
  const attempts = (same ? before.attempts : 0) + 1;
  const since = same ? before.since : now.toISOString();
  const tenant = await getTenant(deps.db, stack.tenant);
  const trust = trustOf(stack.spec, tenant?.spec ?? {});
  const waits = (found.state === 'missing' || found.state === 'refused') && trust.type === 'policy';
  const next = waits ? nextLook(trust.policy, { attempts, since: new Date(since) }, now) : null;
  return { ...found, digest, attempts, since, nextAt: next?.toISOString() ?? null };
}

function outcomeOfWait(stack: StackRow, { state, message, nextAt }: Verification): StatusChange['outcome'] {
  const reason = verificationReason(state);
  const revision = stack.resolved_revision ?? '';
  if (nextAt !== null) {
    return { type: 'failed', kind: 'waiting', reason, message: `waits for a signature: ${message}` };
  }
  const todo = state === 'refused' ? '; sign it, push a signed one, or correct spec.source.verify' : '';
  return { type: 'failed', kind: 'stalled', reason, message: `${revision} is not run: ${message}${todo}` };
}

/**
 * An index counts when the program in it is signed, and anybody who may push can put a new one round an old program: then
 * it would be a new revision, and what was signed long ago would come back without a word.
 */
async function heldToHistory(deps: WorkerDeps, stack: StackRow, digest: string, found: Verified): Promise<Verified> {
  const own = found.signers.some((signer) => signer.digest === digest);
  const program = found.signers[0]?.digest;
  if (own || program === undefined || stack.applied_digest === null) return found;
  if (stack.spec.source.ref.digest !== undefined) return found;
  const [applied, ordinal] = await Promise.all([
    getRevision(deps.db, stack.id, stack.applied_digest),
    ordinalOfProgram(deps.db, { stackId: stack.id, digest: program, except: digest }),
  ]);
  if (applied === undefined || ordinal === undefined || ordinal >= applied.ordinal) return found;
  const message = `the index itself is not signed, and what it holds is an earlier revision (${program}); sign the index, or name its digest in spec.source.ref`;
  return { ...found, state: 'refused', signers: [], message };
}

/**
 * Looks whether the resolved revision meets the policy, before anything of it is unpacked. A signature that is not there
 * yet is waited for with back-off, then the stack stalls; it is looked for again with every poll and push.
 */
export async function verifyRevision(deps: WorkerDeps, lease: HeldLease, stack: StackRow): Promise<void> {
  const digest = stack.resolved_digest;
  if (digest === null) return;
  const { tenant, spec } = stack;
  const suspect = { tenant, spec, policyOf: spec, digest };
  const found = await heldToHistory(deps, stack, digest, await checkSignatures(deps, suspect, lease.signal));
  const verification = await verificationOf(deps, stack, found, digest);
  const news = stack.verification?.state !== found.state || stack.verification.digest !== digest;
  const trusted = isTrusted(verification);
  const reason = verificationReason(found.state);
  const outcome = trusted ? undefined : outcomeOfWait(stack, verification);
  await record(deps, lease, {
    ...(outcome && { outcome }),
    stack: { verification: JSON.stringify(verification) },
    conditions: (fresh, now) => sourceVerified(fresh, stack.generation, found, now),
    events: news
      ? [
          {
            type: trusted ? 'SourceVerified' : 'VerificationFailed',
            reason,
            severity: found.state === 'verified' ? 'info' : 'warning',
            message: `${stack.resolved_revision}: ${saySigners(found)}`,
            data: { digest, signers: found.signers },
          },
        ]
      : [],
  });
}

/**
 * The gate of every run that executes a program: its digest must meet the stack's policy of the moment, also where the run
 * itself is of an earlier spec.
 * @throws ReconcileError stalled SignatureMissing | SignatureInvalid | PolicyUnset
 */
export async function requireTrust(
  deps: WorkerDeps,
  stack: Pick<StackRow, 'spec'>,
  run: Pick<RunRow, 'tenant' | 'spec' | 'digest' | 'revision'>,
  signal: AbortSignal,
): Promise<Verified> {
  const { tenant, spec, digest } = run;
  const verified = await checkSignatures(deps, { tenant, spec, digest, policyOf: stack.spec }, signal);
  if (isTrusted(verified)) return verified;
  throw stalled(verificationReason(verified.state), `${run.revision} is not run: ${verified.message}`);
}
