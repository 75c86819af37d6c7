import { DEFAULTS, type ApprovalPolicy, type StackSpec } from '#core/domain/manifest.ts';
import { digestOf, type BoundDocument, type ChangeSummary, type ResourceChange } from '#core/domain/plan.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import type { Verified } from '../trust.ts';
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

/** What people were shown, and the plan behind it. */
export interface ShownPlan {
  planHash: string;
  changes: ResourceChange[];
  summary: ChangeSummary;
  unknowns: string[];
}

/**
 * The document whose digest is approved, made from what is true right now. Called once to plan and twice more to apply:
 * any difference makes the run stale.
 */
export async function bindPlan(
  deps: WorkerDeps,
  at: { stack: StackRow; run: RunRow; workspace: Workspace; inputs: Inputs; verified: Verified },
  shown: ShownPlan,
): Promise<BoundDocument> {
  const { stack, run, workspace, inputs, verified } = at;
  const [checkpoint, versions] = await Promise.all([
    deps.engine.checkpoint(inputs.request),
    deps.engine.versions(workspace.programDir),
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
    plan: shown.planHash,
    settings: inputs.settings,
    config: inputs.config,
    environment: inputs.environment,
    credentials: inputs.credentials,
    versions,
    flags: ['--refresh=false', ...run.targets.map((urn) => `--target=${urn}`)],
    rule: { ...approvalPolicy(run.spec) },
    summary: shown.summary,
    shown: digestOf(shown.changes),
    unknowns: shown.unknowns,
  };
}
