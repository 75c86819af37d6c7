import { bindingOf, mayBind } from '#core/domain/approval.ts';
import { stalled } from '#core/domain/errors.ts';
import { DEFAULTS, type ApprovalPolicy, type StackSpec } from '#core/domain/manifest.ts';
import {
  boundOperations,
  digestOf,
  type BoundDocument,
  type ChangeSummary,
  type PolicyReport,
  type ResourceChange,
} from '#core/domain/plan.ts';
import { boundPolicies } from '#core/domain/policy.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import { getTenant } from '#core/store/tenants.ts';
import type { WorkerDeps } from '../deps.ts';
import type { Verified } from '../trust.ts';
import type { RunPacks } from './policy-packs.ts';
import type { Inputs } from './request.ts';
import type { Workspace } from './workspace.ts';

/** The approval policy of a spec with every default filled in. */
export function approvalPolicy(spec: StackSpec): ApprovalPolicy & { required: number; expires: string } {
  const given = spec.approval ?? { mode: DEFAULTS.approvalMode };
  return {
    ...given,
    required: given.required ?? DEFAULTS.approvalRequired,
    expires: given.expires ?? DEFAULTS.approvalExpires,
  };
}

/** Whether the run's tenant lets approvals bind what its spec asks for; a tenant may take that back at any time. */
export async function allowsBinding(deps: WorkerDeps, run: RunRow): Promise<boolean> {
  if (bindingOf(run.spec) === 'plan') return true;
  return mayBind(run.spec, (await getTenant(deps.db, run.tenant))?.spec);
}

/** @throws stalled(SpecInvalid) */
export async function requireBinding(deps: WorkerDeps, run: RunRow): Promise<void> {
  if (await allowsBinding(deps, run)) return;
  throw stalled(
    'SpecInvalid',
    `spec.approval.binding: ${bindingOf(run.spec)} is not among the bindings of tenant ${run.tenant}; remove it, or have the administrator allow it`,
  );
}

/** What stands for the update plan: its bytes, or operations and paths where that is all an approval holds. */
function heldPlan(run: RunRow, shown: ShownPlan): string {
  if (run.operation === 'destroy' || bindingOf(run.spec) === 'plan') return shown.planHash;
  return digestOf(boundOperations(shown.changes));
}

/** What people were shown, and the plan behind it. */
export interface ShownPlan {
  planHash: string;
  changes: ResourceChange[];
  summary: ChangeSummary;
  unknowns: string[];
  policies: PolicyReport;
}

/**
 * The document whose digest is approved, made from what is true right now. Called once to plan and twice more to apply:
 * any difference makes the run stale.
 */
export async function bindPlan(
  deps: WorkerDeps,
  at: { stack: StackRow; run: RunRow; workspace: Workspace; inputs: Inputs; verified: Verified; packs: RunPacks },
  shown: ShownPlan,
): Promise<BoundDocument> {
  const { stack, run, workspace, inputs, verified } = at;
  const [checkpoint, versions, packs] = await Promise.all([
    deps.engine.checkpoint(inputs.request),
    deps.engine.versions(workspace.programDir),
    at.packs.bound(),
  ]);
  // A heal is made from the applied spec on purpose; everything else must still be the newest generation.
  const generation = run.trigger === 'heal' ? run.generation : stack.generation;
  return {
    tenant: stack.tenant,
    stack: stack.name,
    generation,
    operation: run.operation,
    targets: run.targets,
    identity: inputs.request.identity,
    checkpoint: checkpoint.hash,
    artifact: run.digest,
    verification: {
      state: verified.state,
      trustKey: verified.trustKey,
      signers: verified.signers.map(({ name, statement }) => `${name}: ${statement}`),
    },
    path: run.spec.source.path ?? '.',
    dependencies: workspace.dependencies,
    plan: heldPlan(run, shown),
    binding: bindingOf(run.spec),
    settings: inputs.settings,
    config: inputs.config,
    environment: inputs.environment,
    principals: inputs.principals,
    ...boundPolicies(packs, shown.policies),
    credentials: inputs.credentials,
    versions,
    flags: ['--refresh=false', ...run.targets.map((urn) => `--target=${urn}`)],
    // The program is the applied one, the rule by which a person is asked is the stack's.
    rule: { ...approvalPolicy(run.trigger === 'heal' ? stack.spec : run.spec) },
    summary: shown.summary,
    shown: digestOf(shown.changes),
    unknowns: shown.unknowns,
  };
}
