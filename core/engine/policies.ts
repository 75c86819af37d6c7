import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ReconcileError, stalled } from '../domain/errors.ts';
import type { PolicyRemediation, PolicyReport, PolicyViolation } from '../domain/plan.ts';
import { mandatoryViolations, sayViolations, violationKey } from '../domain/policy.ts';
import {
  MAX_POLICY_EVENTS,
  type EventLog,
  type Phase,
  type PolicyEvent,
  type PolicyRemediationEvent,
} from './events.ts';
import { OVERRIDES_VARIABLE } from './host/policy-overrides.ts';
import type { EngineRequest, PolicyPack } from './port.ts';
import { shown } from './property-diff.ts';

/** A message of a policy is a sentence or two. */
const MAX_MESSAGE_CHARS = 2_000;

/** What an engine process is told about policies. */
export interface PolicyRun {
  options: { policyPacks?: string[]; policyPackConfigs?: string[] };
  environment: Record<string, string>;
}

/** A preview or apply that the engine ended because of what policies say; the report has every violation. */
export class PoliciesViolated extends ReconcileError {
  readonly report: PolicyReport;

  constructor(report: PolicyReport) {
    super({ kind: 'stalled', reason: 'PolicyViolated', message: `policies are violated: ${sayViolations(report)}` });
    this.name = 'PoliciesViolated';
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

/** Writes settings and overrides where the engine and our language host read them. */
export async function preparePolicies(
  request: Pick<EngineRequest, 'runDir' | 'policyPacks'>,
  overridden: readonly string[],
): Promise<PolicyRun> {
  const packs = request.policyPacks ?? [];
  if (packs.length === 0) return { options: {}, environment: {} };
  const folder = policyFolder(request.runDir);
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

/** Colour marks of the engine stay in its messages even without colours. */
function plain(message: string, scrub: (text: string) => string): string {
  return scrub(message.replaceAll(/<\{%[^%]*%\}>/g, '').trim()).slice(0, MAX_MESSAGE_CHARS);
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
 * @param isUseful whether a diagnostic says why the process failed, and not just that it did.
 */
export function policyFailure(
  log: EventLog,
  context: ReportContext,
  error: unknown,
  isUseful: (message: string) => boolean,
): unknown {
  const phase = log.phases.at(-1);
  const isOver = phase?.summary !== undefined && phase.ended;
  if (!isOver || log.errors.some(({ message }) => isUseful(message))) return named(error, context.packs);
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
export function withOverridden(report: PolicyReport, keys: readonly string[]): PolicyReport {
  const overridden = new Set(keys);
  return {
    ...report,
    violations: report.violations.map((violation) =>
      overridden.has(violationKey(violation)) ? { ...violation, level: 'mandatory' as const } : violation,
    ),
  };
}

/** True when the report stops a plan until somebody overrides it. */
export function isStopped(report: PolicyReport): boolean {
  return mandatoryViolations(report).length > 0;
}
