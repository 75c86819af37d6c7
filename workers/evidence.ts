import { createPublicKey, type KeyObject } from 'node:crypto';
import { EVIDENCE_RUN, EVIDENCE_TRIES, EVIDENCE_TRY_MS, EVIDENCE_TYPE, type Evidence } from '#core/domain/evidence.ts';
import { asReconcileError, stalled } from '#core/domain/errors.ts';
import { parseRepository } from '#core/domain/reference.ts';
import type { Source } from '#core/oci/port.ts';
import { attest } from '#core/oci/sign.ts';
import { readSigningKey } from '#core/oci/sign-key.ts';
import { verifyAttestation } from '#core/oci/verify/attestation.ts';
import type { AttestationRequirement } from '#core/oci/verify/verdict.ts';
import { listApprovals } from '#core/store/approvals.ts';
import { inTransaction } from '#core/store/database.ts';
import { recordEvent } from '#core/store/events.ts';
import { claimEvidence, markEvidence } from '#core/store/evidence.ts';
import { getPlan } from '#core/store/plans.ts';
import type { RunRow } from '#core/store/runs.ts';
import { getStackById } from '#core/store/stacks.ts';
import type { WorkerDeps } from './deps.ts';
import { readSecret } from './secrets.ts';
import { sourceRegistry } from './steps/resolve.ts';

/** Runs whose evidence is attached in one pass. */
const BATCH = 10;

async function evidenceOf(deps: WorkerDeps, run: RunRow): Promise<Evidence> {
  const [stack, plan, approvals] = await Promise.all([
    getStackById(deps.db, run.stack_id),
    getPlan(deps.db, run.id),
    listApprovals(deps.db, run.id),
  ]);
  if (stack === undefined || plan === undefined || run.finished_at === null) {
    throw stalled('InternalError', `run ${run.number} has no plan any more, so there is nothing to attach`);
  }
  return {
    tenant: run.tenant,
    stack: stack.name,
    run: run.number,
    operation: run.operation,
    trigger: run.trigger,
    revision: run.revision,
    generation: run.generation,
    requestedBy: run.requested_by,
    signed: run.signed,
    plan: {
      digest: plan.plan_digest,
      summary: plan.bound.summary,
      unknowns: plan.bound.unknowns.length,
      at: plan.created_at.toISOString(),
    },
    approvals: approvals.map(({ decision, actor, plan_digest: planDigest, created_at: at }) => ({
      decision,
      actor,
      planDigest,
      at: at.toISOString(),
    })),
    result: {
      state: run.state,
      reason: run.reason,
      startedAt: run.created_at.toISOString(),
      finishedAt: run.finished_at.toISOString(),
    },
  };
}

/** Only what our own key signed about this very run: whoever may push chooses annotations as he likes. */
function sameRun({ tenant, stack, run, plan, result }: Evidence, key: KeyObject): AttestationRequirement {
  const pem = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
  return {
    type: 'custom',
    predicateType: EVIDENCE_TYPE,
    signedBy: { keys: [{ name: 'evidence', pem }], identities: [], trustedRoot: undefined, requireLog: false },
    fields: [
      { path: 'tenant', equals: tenant },
      { path: 'stack', equals: stack },
      { path: 'run', equals: run },
      { path: 'plan.digest', equals: plan.digest },
      { path: 'result.finishedAt', equals: result.finishedAt },
    ],
  };
}

/** The evidence that a worker attached and did not live to write down. */
async function attachedBefore(
  source: Source,
  run: RunRow,
  { name, evidence, key }: { name: string; evidence: Evidence; key: KeyObject },
  signal: AbortSignal,
): Promise<string | undefined> {
  if (run.evidence_attempts < 2) return undefined;
  const repository = parseRepository(run.spec.source.repository);
  const requirement = sameRun(evidence, key);
  for (const referrer of await source.referrers(repository, run.digest, {}, signal)) {
    const said = referrer.annotations?.[EVIDENCE_RUN];
    if (referrer.annotations !== undefined && said !== name) continue;
    const alone = { ...source, referrers: async () => [referrer] };
    const context = { source: alone, repository, digest: run.digest, now: new Date(), signal };
    if ((await verifyAttestation(context, requirement)).type === 'verified') return referrer.digest;
  }
  return undefined;
}

async function attachOne(deps: WorkerDeps, run: RunRow, signal: AbortSignal): Promise<void> {
  const keyName = run.spec.evidence?.key;
  if (keyName === undefined) return;
  const { data } = await readSecret(deps, run.tenant, keyName);
  const pem = data['cosign.key'];
  if (pem === undefined) {
    throw stalled(
      'SecretNotFound',
      `secret ${keyName} in tenant ${run.tenant} has no key cosign.key to sign evidence with`,
    );
  }
  const registry = await sourceRegistry(deps, run, signal);
  const evidence = await evidenceOf(deps, run);
  const name = `${evidence.tenant}/${evidence.stack}/${evidence.run}`;
  const key = await readSigningKey(pem, data['password']);
  const before = await attachedBefore(registry, run, { name, evidence, key }, signal);
  if (before !== undefined) return await markEvidence(deps.db, run.id, before);
  const { digest } = await attest(
    registry,
    {
      repository: parseRepository(run.spec.source.repository),
      digest: run.digest,
      key,
      predicateType: EVIDENCE_TYPE,
      predicate: evidence,
      manifestAnnotations: { [EVIDENCE_RUN]: name },
    },
    signal,
  );
  await markEvidence(deps.db, run.id, digest);
  await say(deps, run, { type: 'EvidenceAttached', message: `run ${run.number}: evidence attached`, data: { digest } });
}

async function say(
  deps: WorkerDeps,
  run: RunRow,
  event: { type: string; message: string; severity?: 'warning'; data: Record<string, unknown> },
) {
  await inTransaction(
    deps.db,
    async (trx) =>
      await recordEvent(trx, {
        tenant: run.tenant,
        stackId: run.stack_id,
        runId: run.id,
        reason: null,
        severity: 'info',
        actor: 'plumbline',
        ...event,
        message: deps.scrubber.scrub(event.message),
      }),
  );
}

/**
 * Attaches the evidence of finished runs that is due. A run is never held up by it: what fails is tried again with
 * growing pauses and, after the last try, said once.
 */
export async function attachEvidence(deps: WorkerDeps): Promise<void> {
  for (let count = 0; count < BATCH; count += 1) {
    // One at a time: a run that waits for slower ones before it would be due again, and another worker's too.
    const [run] = await claimEvidence(deps.db, deps.identity.tenant, 1);
    if (run === undefined) return;
    const signal = AbortSignal.any([deps.shutdown, AbortSignal.timeout(EVIDENCE_TRY_MS)]);
    try {
      await attachOne(deps, run, signal);
    } catch (thrown) {
      const error = asReconcileError(thrown);
      deps.logger.warn({ err: error, run: run.id, reason: error.reason }, 'evidence was not attached');
      const first = run.evidence_attempts === 1;
      if (!first && run.evidence_attempts < EVIDENCE_TRIES) continue;
      const message = `run ${run.number}: its evidence could not be attached to ${run.revision}: ${error.message}; ${first ? 'tried again' : 'given up'}`;
      await say(deps, run, { type: 'EvidenceFailed', message, severity: 'warning', data: { reason: error.reason } });
    }
  }
}
