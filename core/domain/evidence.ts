import type { ChangeSummary } from './plan.ts';
import type { Operation, RunState, Trigger } from './run.ts';

/** Predicate type of what Plumbline attaches to an artifact after a run; the name is ours, nothing is served there. */
export const EVIDENCE_TYPE = 'https://plumbline.dev/evidence/run/v1';
/** Annotation of the referrer: `<tenant>/<stack>/<run>`, so that one that was attached before is found again. */
export const EVIDENCE_RUN = 'dev.plumbline.run';

/** Ends of a run that are attached: what was applied, what failed on the way and what a person refused. */
export const EVIDENT_STATES = ['applied', 'errored', 'discarded'] as const satisfies readonly RunState[];

/** Plan, approvals and result of one run. Holds counts and digests; no inputs, outputs or names of resources. */
export interface Evidence {
  tenant: string;
  stack: string;
  run: number;
  operation: Operation;
  trigger: Trigger;
  revision: string;
  generation: number;
  requestedBy: string;
  /** Who vouched for the artifact. */
  signed: string;
  plan: { digest: string; summary: ChangeSummary; unknowns: number; at: string };
  approvals: { decision: string; actor: string; planDigest: string; at: string }[];
  result: { state: RunState; reason: string | null; startedAt: string; finishedAt: string };
}

/** Milliseconds one try may take: a signature and a few small requests. */
export const EVIDENCE_TRY_MS = 60_000;
/** After the end of a try, which is counted from its start: two workers at one run would attach two. */
const FIRST_RETRY_MS = 1.5 * EVIDENCE_TRY_MS;
const LONGEST_RETRY_MS = 3_600_000;
/** Tries before evidence is given up and said to be missing; with the pauses above about nine hours. */
export const EVIDENCE_TRIES = 14;

/** Milliseconds until evidence that could not be attached is tried again, from the start of the try on: 90 s, doubling to an hour. */
export function evidenceRetryMs(attempts: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** Math.max(0, attempts - 1), LONGEST_RETRY_MS);
}
