import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ReconcileError, stalled, transient } from '../domain/errors.ts';
import type { PolicyRemediation, PolicyReport, PolicyViolation } from '../domain/plan.ts';
import { NO_POLICIES, overridesFor, sayViolations, violationKey } from '../domain/policy.ts';
import type { Scrubber } from '../scrubber.ts';
import {
  MAX_POLICY_EVENTS,
  type EventLog,
  type Phase,
  type PolicyEvent,
  type PolicyRemediationEvent,
} from './events.ts';
import { saysWhy, withoutColour } from './failures.ts';
import { OVERRIDES_VARIABLE } from './host/policy-overrides.ts';
import type { EngineRequest, PolicyPack } from './port.ts';
import { shown } from './property-diff.ts';

/** A message of a policy is a sentence or two. */
const MAX_MESSAGE_CHARS = 2_000;

/** One engine process and its policies. */
export interface PolicyRun {
  options: { policyPacks?: string[]; policyPackConfigs?: string[] };
  environment: Record<string, string>;
  /** What the packs said in a phase; see `policyReport`. */
  report(log: EventLog, phase: Phase): PolicyReport;
  /** What a failure of the process is; see `policyFailure`. */
  explain(log: EventLog, error: unknown): unknown;
}

/** A process without policy packs. */
export const NO_POLICY_RUN: PolicyRun = {
  options: {},
  environment: {},
  report: () => NO_POLICIES,
  explain: (_log, error) => error,
};

/** A preview or apply that the engine ended because of what policies say; the report has every violation. */
export class PoliciesViolated extends ReconcileError {
  readonly report: PolicyReport;

  constructor(report: PolicyReport) {
    super({ kind: 'stalled', reason: 'PolicyViolated', message: `policies are violated: ${sayViolations(report)}` });
    this.report = report;
  }
}

/**
 * Folder of everything about policies in a run's folder: packs, their settings, overrides. The sandbox shows it read-only, so
 * that the program of the run changes nothing of it.
 */
export function policyFolder(runDir: string): string {
  return join(runDir, 'policies');
}

/** Folders the sandbox must show read-only for a request's packs. */
export function policyDirs(request: Pick<EngineRequest, 'runDir' | 'policyPacks'>): string[] {
  const packs = request.policyPacks ?? [];
  return packs.length === 0 ? [] : [policyFolder(request.runDir), ...packs.map(({ dir }) => dir)];
}

async function writePolicies(
  { runDir, policyPacks: packs = [] }: Pick<EngineRequest, 'runDir' | 'policyPacks'>,
  overridden: readonly string[],
): Promise<Pick<PolicyRun, 'options' | 'environment'>> {
  const folder = policyFolder(runDir);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const overrides = join(folder, 'overrides.json');
  await writeFile(overrides, JSON.stringify(overridden), { mode: 0o600 });
  // Either every pack has a file of settings or none, and a pack of old may take none.
  const hasConfig = packs.some(({ config }) => Object.keys(config).length > 0);
  const configs = packs.map((_, index) => join(folder, `${index}.config.json`));
  for (const [index, { config }] of packs.entries())
    await writeFile(configs[index] ?? '', JSON.stringify(config), { mode: 0o600 });
  return {
    options: { policyPacks: packs.map(({ dir }) => dir), ...(hasConfig && { policyPackConfigs: configs }) },
    environment: { [OVERRIDES_VARIABLE]: overrides },
  };
}

/** Writes settings and overrides where the engine and our language host read them. */
export async function preparePolicies(
  request: Pick<EngineRequest, 'runDir' | 'policyPacks'>,
  scrubber: Pick<Scrubber, 'scrub'>,
  overridden: readonly string[],
): Promise<PolicyRun> {
  const packs = request.policyPacks ?? [];
  if (packs.length === 0) return NO_POLICY_RUN;
  const context = { packs, scrub: (text: string) => scrubber.scrub(text) };
  return {
    ...(await writePolicies(request, overridden)),
    report: (log, phase) => policyReport(log, phase, context),
    explain: (log, error) => policyFailure(log, context, error),
  };
}

interface RanPack {
  /** What the pack calls itself. */
  name: string;
  version: string;
  dir: string;
}

function ranPacks(phase: Phase): RanPack[] {
  return Object.entries(phase.summary?.PolicyPacks ?? {}).map(([key, version]) => {
    const [name = '', , path = ''] = key.split('|');
    return { name, version, dir: basename(path) };
  });
}

function failed(pack: PolicyPack, why: string): ReconcileError {
  return stalled(
    'PolicyPackFailed',
    `policy pack ${pack.name} ${why}, so nothing is known about its policies; correct or remove it`,
  );
}

/**
 * The packs that ran to their end, by what they call themselves.
 * @throws ReconcileError(stalled, PolicyPackFailed): a pack that said nothing must never pass for one without complaints
 */
function packsOf(log: EventLog, phase: Phase, packs: readonly PolicyPack[]): PolicyReport['packs'] {
  const ran = ranPacks(phase);
  const found = packs.map((pack) => {
    const own = ran.find(({ dir }) => dir === basename(pack.dir));
    if (own === undefined || log.packsLoaded < packs.length) throw failed(pack, 'did not load');
    if (!phase.policies.finished.includes(own.name)) throw failed(pack, 'did not look at the whole stack');
    return { name: own.name, version: own.version, digest: pack.digest };
  });
  for (const [index, { name }] of found.entries()) {
    const first = found.findIndex((other) => other.name === name);
    const [pack, other] = [packs[index], packs[first]];
    if (first !== index && pack !== undefined)
      throw failed(pack, `calls itself ${name}, as policy pack ${other?.name} does`);
  }
  return found;
}

function asLevel(level: string): PolicyViolation['level'] {
  // An unknown word must not let anything through.
  return level === 'advisory' || level === 'remediate' || level === 'disabled' ? level : 'mandatory';
}

function plain(message: string, scrub: (text: string) => string): string {
  return scrub(withoutColour(message)).slice(0, MAX_MESSAGE_CHARS);
}

function asViolation(event: PolicyEvent, scrub: (text: string) => string): PolicyViolation {
  return {
    pack: event.policyPackName,
    policy: event.policyName,
    level: asLevel(event.enforcementLevel),
    ...(event.resourceUrn ? { urn: event.resourceUrn } : {}),
    message: plain(event.message, scrub),
  };
}

function asRemediation(event: PolicyRemediationEvent): PolicyRemediation {
  return {
    pack: event.policyPackName,
    policy: event.policyName,
    urn: event.resourceUrn ?? '',
    before: shown(event.before ?? {}),
    after: shown(event.after ?? {}),
  };
}

function ordered<T extends PolicyViolation | PolicyRemediation>(items: T[]): T[] {
  const key = (item: T) => `${violationKey(item)} ${'message' in item ? item.message : ''}`;
  return items.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** What is needed to read the events of a process about policies. */
export interface ReportContext {
  packs: readonly PolicyPack[];
  scrub(text: string): string;
}

/**
 * What the packs said in a phase, in an order that does not depend on which of them answered first.
 * @throws ReconcileError(stalled): PolicyPackFailed when one of them was not heard, PolicyViolated when they said too much
 */
export function policyReport(log: EventLog, phase: Phase, { packs, scrub }: ReportContext): PolicyReport {
  const { violations, remediations, isCut } = phase.policies;
  if (isCut) {
    throw stalled(
      'PolicyViolated',
      `policies said more than ${MAX_POLICY_EVENTS} things about this plan, which nobody can read; correct the program or the packs`,
    );
  }
  return {
    packs: packsOf(log, phase, packs),
    violations: ordered(violations.map((event) => asViolation(event, scrub))),
    remediations: ordered(remediations.map(asRemediation)),
  };
}

/**
 * Whether policies, and nothing else, ended an engine process: `PoliciesViolated` with every violation of its last phase, else
 * the error as it was, its packs called by their names.
 */
export function policyFailure(log: EventLog, context: ReportContext, error: unknown): unknown {
  const phase = log.phases.at(-1);
  const isOver = phase?.summary !== undefined && phase.ended;
  if (!isOver || log.errors.some(({ message }) => saysWhy(message))) return named(error, context.packs);
  if (!phase.policies.violations.some(({ enforcementLevel }) => asLevel(enforcementLevel) === 'mandatory'))
    return named(error, context.packs);
  return new PoliciesViolated(policyReport(log, phase, context));
}

/** The folder of a pack is of the run alone; people know the pack by its name. */
function named(error: unknown, packs: readonly PolicyPack[]): unknown {
  if (!(error instanceof ReconcileError)) return error;
  const message = packs.reduce(
    (text, { dir, name }) => text.replaceAll(`"${dir}"`, name).replaceAll(dir, name),
    error.message,
  );
  if (message === error.message) return error;
  return new ReconcileError({ kind: error.kind, reason: error.reason, message, cause: error });
}

/** The report with the level that violations had before they were overridden. */
function withLevels(report: PolicyReport, keys: readonly string[]): PolicyReport {
  const overridden = new Set(keys);
  const violations = report.violations.map((violation) =>
    overridden.has(violationKey(violation)) ? { ...violation, level: 'mandatory' as const } : violation,
  );
  return { ...report, violations };
}

/**
 * Previews under the request's packs. The engine writes no plan when a mandatory policy is violated, so then it previews once
 * more with exactly these violations as advice: what a person may override is a whole plan, and that plan is applied.
 * @throws ReconcileError(stalled, PolicyPackFailed) when the packs then find something else
 */
export async function underPolicies<T extends { policies: PolicyReport }>(
  request: Pick<EngineRequest, 'runDir' | 'policyPacks'>,
  scrubber: Pick<Scrubber, 'scrub'>,
  preview: (policies: PolicyRun) => Promise<T>,
): Promise<T> {
  let violated: PoliciesViolated;
  try {
    return await preview(await preparePolicies(request, scrubber, []));
  } catch (error) {
    if (!(error instanceof PoliciesViolated)) throw error;
    violated = error;
  }
  const keys = overridesFor(violated.report);
  try {
    const planned = await preview(await preparePolicies(request, scrubber, keys));
    return { ...planned, policies: withLevels(planned.policies, keys) };
  } catch (error) {
    if (!(error instanceof PoliciesViolated)) throw error;
    throw stalled(
      'PolicyPackFailed',
      `policies said one thing about this program, and a moment later another (${error.message}); what they say must follow from the resources alone`,
      error,
    );
  }
}

/** Violations that were not there when the plan was approved: nothing is changed yet, or the apply stops where it is. */
export function stoppedByPolicies(log: EventLog, error: unknown): unknown {
  if (!(error instanceof PoliciesViolated)) return error;
  if (log.phases.length < 2) return transient('PlanStale', `${error.message}; nothing was changed`, error);
  return stalled(
    'PolicyViolated',
    `the apply stopped midway at what its policies do not allow: ${sayViolations(error.report)}. Correct the program, or override it on the plan of the rest`,
    error,
  );
}
