import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ReconcileError, stalled } from '../domain/errors.ts';
import type { PolicyReport, ResourceChange } from '../domain/plan.ts';
import { engineStackName } from './backends.ts';
import { settleAnswers } from './answers.ts';
import { changeSummary, resourceChanges } from './changes.ts';
import { destroy, previewDestroy } from './destroy.ts';
import { execCommand } from './exec.ts';
import { liveDrift, pendingChanges, refreshedResources } from './drift.ts';
import { phaseOf, type Phase } from './events.ts';
import { withGate } from './gated.ts';
import { releaseOwnLocks } from './locks.ts';
import { requireAgreement } from './plan-agreement.ts';
import { planFileHash, plannedResources } from './plan-file.ts';
import type {
  ApplyRequest,
  ApplyResult,
  Checkpoint,
  DriftResult,
  Engine,
  EngineRequest,
  EngineVersions,
  PreviewResult,
} from './port.ts';
import { NO_POLICY_RUN, preparePolicies, stoppedByPolicies, underPolicies, type PolicyRun } from './policies.ts';
import type { CompleteAnswer } from '../store/schema.ts';
import type { EngineOptions } from './run-engine.ts';
import { openSession, type Session, type VersionedEngine } from './session.ts';
import { encryptConfig, providerOf } from './secrets-provider.ts';
import { readCheckpoint, readDeployment } from './state.ts';
import { installedVersions, programVersions } from './versions.ts';

/** The plan was made without a refresh; one in between would move the state under it. */
const NO_REFRESH = ['--refresh=false'];

interface Planned {
  phase: Phase;
  changes: ResourceChange[];
  plan: Buffer;
  policies: PolicyReport;
}

async function previewOnce(
  session: Session,
  operation: 'preview' | 'drift',
  runDir: string,
  policies: PolicyRun = NO_POLICY_RUN,
): Promise<Planned> {
  const planPath = join(runDir, 'plan.json');
  // A plan of an earlier attempt must never pass for this one's.
  await rm(planPath, { force: true });
  const log = await session.run({
    operation,
    phases: 1,
    extra: NO_REFRESH,
    environment: policies.environment,
    explain: policies.explain,
    run: (stack, options) => stack.preview({ ...options, ...policies.options, plan: planPath }),
  });
  const plan = await readFile(planPath);
  const phase = phaseOf(log, 0);
  const planned = plannedResources(plan);
  requireAgreement(planned, phase);
  const changed = new Map(planned.map((resource) => [resource.urn, resource.changed]));
  return { phase, plan, changes: resourceChanges(phase, changed), policies: policies.report(log, phase) };
}

/** The first preview of a stack finds no state; only then one is made, so that no other preview pays for the question. */
async function previewOrInit(session: Session, request: EngineRequest, policies: PolicyRun): Promise<Planned> {
  try {
    return await previewOnce(session, 'preview', request.runDir, policies);
  } catch (error) {
    if (!(error instanceof ReconcileError) || error.reason !== 'StateRegressed') throw error;
    await session.print(['stack', 'init', '--no-select', '--stack', engineStackName(request.identity)]);
    return previewOnce(session, 'preview', request.runDir, policies);
  }
}

async function preview(engine: VersionedEngine, request: EngineRequest): Promise<PreviewResult> {
  const session = await openSession(engine, request);
  const { phase, plan, changes, policies } = await underPolicies(request, engine.scrubber, (run) =>
    previewOrInit(session, request, run),
  );
  return {
    changes,
    summary: changeSummary(phase),
    plan,
    planHash: planFileHash(plan),
    unknowns: changes.flatMap(({ urn, unknowns }) => unknowns.map((path) => `${urn}#${path}`)),
    policies,
  };
}

/**
 * A look at the state in the middle of an apply (the gate's) must not pass for the run itself: the lease goes on naming the
 * namespace of the `up`. Its own guardian still ends it with the lease.
 */
function besideApply(request: EngineRequest): EngineRequest {
  const { guard } = request;
  const unrecorded = {
    started: async () => undefined,
    ended: async () => undefined,
    remainingMs: () => guard.remainingMs(),
  };
  return { ...request, guard: unrecorded };
}

async function apply(engine: VersionedEngine, request: ApplyRequest): Promise<ApplyResult> {
  const planPath = join(request.runDir, 'approved-plan.json');
  await writeFile(planPath, request.plan, { mode: 0o600 });
  const session = await openSession(engine, request);
  const policies = await preparePolicies(request, engine.scrubber, request.policyOverrides ?? []);
  const log = await withGate(request, (environment) =>
    session.run({
      operation: 'apply',
      phases: 2,
      extra: NO_REFRESH,
      environment: { ...environment, ...policies.environment },
      explain: (events, error) => stoppedByPolicies(events, policies.explain(events, error)),
      run: (stack, options) => stack.up({ ...options, ...policies.options, plan: planPath }),
    }),
  );
  policies.report(log, phaseOf(log, 1));
  return { summary: changeSummary(phaseOf(log, 1)), checkpoint: await readCheckpoint(engine, request) };
}

async function drift(engine: VersionedEngine, request: EngineRequest): Promise<DriftResult> {
  const session = await openSession(engine, request);
  const refreshed = await session.run({
    operation: 'drift',
    phases: 1,
    extra: [`--run-program=${request.runProgram === true}`],
    run: (stack, options) => stack.previewRefresh(options),
  });
  const live = phaseOf(refreshed, 0);
  const planned = await previewOnce(session, 'drift', request.runDir);
  const { items, noise } = liveDrift(live);
  return { items: [...items, ...pendingChanges(planned.changes)], resources: refreshedResources(live), noise };
}

async function refresh(
  engine: VersionedEngine,
  request: EngineRequest,
  answers: CompleteAnswer[],
): Promise<Checkpoint> {
  const imported = await settleAnswers(engine, request, answers);
  // Without targets all are refreshed, the imported ones among them.
  const targets = request.targets.length === 0 ? [] : [...request.targets, ...imported];
  const session = await openSession(engine, { ...request, targets });
  await session.run({
    operation: 'refresh',
    phases: 1,
    run: (stack, options) => stack.refresh({ ...options, runProgram: false }),
  });
  return readCheckpoint(engine, request);
}

/**
 * The real engine: the pulumi binary of `engineDir` through the Automation API, one process an operation. Errors are
 * `ReconcileError`s; see failures.ts.
 */
export function createPulumiEngine(options: EngineOptions): Engine {
  let installed: Promise<EngineVersions> | undefined;
  const applying = new Set<string>();
  const versions = () => (installed ??= installedVersions(options.engineDir, options.nodePath));
  const versioned = async (): Promise<VersionedEngine> => {
    const { engine } = await versions();
    if (engine === undefined) throw stalled('EngineMismatch', 'the engine does not say its version');
    return { ...options, version: engine };
  };
  const whileApplying = async <T extends EngineRequest, R>(
    request: T,
    act: (engine: VersionedEngine, request: T) => Promise<R>,
  ): Promise<R> => {
    applying.add(request.runId);
    try {
      return await act(await versioned(), request);
    } finally {
      applying.delete(request.runId);
    }
  };
  const beside = (request: EngineRequest) => (applying.has(request.runId) ? besideApply(request) : request);
  return {
    versions: async (programDir) => ({ ...(await versions()), ...(await programVersions(programDir)) }),
    checkpoint: async (request) => readCheckpoint(await versioned(), beside(request)),
    stateProvider: async (request) => providerOf(await readDeployment(await versioned(), beside(request))),
    encryptConfig: async (request, values) => encryptConfig(options, beside(request), values),
    preview: async (request) => preview(await versioned(), request),
    apply: (request) => whileApplying(request, apply),
    previewDestroy: async (request) => previewDestroy(await versioned(), request),
    destroy: (request) => whileApplying(request, destroy),
    drift: async (request) => drift(await versioned(), request),
    refresh: async (request, answers) => refresh(await versioned(), request, answers),
    exec: async (request, exec) => execCommand(await versioned(), request, exec),
    releaseOwnLock: (request, runIds) => releaseOwnLocks(request.identity, runIds),
  };
}
