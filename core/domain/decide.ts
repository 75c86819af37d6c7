import { parseDuration } from './duration.ts';
import { unreachable } from './errors.ts';
import { DEFAULTS, type StackSpec } from './manifest.ts';
import type { Reason } from './reason.ts';
import { isExecuting, isWaiting, type Operation, type RunState, type Trigger } from './run.ts';
import { isTrusted, type Verification } from './verification.ts';

/** The unfinished run of a stack, as far as the decision needs it. */
export interface LiveRun {
  id: string;
  state: RunState;
  operation: Operation;
  trigger: Trigger;
  digest: string;
  generation: number;
  expiresAt: Date | null;
  cancelRequestedBy: string | null;
}

/** The newest finished run. */
export interface LastRun {
  state: RunState;
  reason: Reason | null;
  finishedAt: Date;
}

export interface ResolvedRevision {
  digest: string;
  revision: string;
  /** Order of first sighting; an earlier revision has a lower one. */
  ordinal: number;
}

/** Facts about one stack at one moment; `decide` needs nothing else. */
export interface Snapshot {
  now: Date;
  spec: StackSpec;
  generation: number;
  requestedSeq: number;
  handledSeq: number;
  resolved: ResolvedRevision | undefined;
  /** When the registry is asked again without being told to; undefined: at once. */
  sourceDueAt: Date | undefined;
  applied: (ResolvedRevision & { generation: number }) | undefined;
  /** Of digest, generation and secret versions: what a new run would attempt. Undefined while nothing is resolved. */
  desiredKey: string | undefined;
  /** What the last run attempted; null asks for a new attempt. */
  attemptedKey: string | null;
  /** What is known about the signatures of the resolved revision under today's policy; undefined: nothing yet. */
  verification: Pick<Verification, 'state' | 'nextAt'> | undefined;
  /** Whether an immutable tag moved and its new digest is not taken. */
  held: boolean;
  /** Reason of the `Stalled` condition, if there is one. */
  stalled: Reason | undefined;
  failures: number;
  run: LiveRun | undefined;
  last: LastRun | undefined;
  /** Who asked for everything to be destroyed. */
  destroyRequestedBy: string | null;
  /** How the newest finished run ended, if that was a destroy. */
  lastDestroy: RunState | undefined;
  healRequestedBy: string | null;
  /** Changed resources of the last drift check that a heal may repair. */
  healTargets: string[];
  /** A person let missing resources leave the state. */
  acceptsMissing: boolean;
  /** Operations an interrupted run left, and whether each has an answer. */
  pending: { open: number; answered: number };
}

/** The next needful thing; `rest` looks again at `until`. */
export type Action =
  | { type: 'rest'; until: Date | undefined }
  | { type: 'resolve' }
  | { type: 'cancel'; runId: string; by: string }
  | { type: 'supersede'; runId: string; state: RunState }
  | { type: 'expire'; runId: string }
  | { type: 'yield-to-heal'; runId: string }
  | { type: 'recover'; runId: string }
  | { type: 'abandon'; runId: string }
  | { type: 'answer-pending' }
  | { type: 'accept-missing' }
  | { type: 'verify' }
  | { type: 'hold-backward' }
  | { type: 'exhaust' }
  | { type: 'drop-heal' }
  | { type: 'drop-destroy' }
  | { type: 'plan'; operation: Operation; trigger: Trigger; digest: string; revision: string; targets: string[] }
  | { type: 'continue-plan'; runId: string }
  | { type: 'apply'; runId: string }
  | { type: 'exec'; runId: string };

/** How every key of a destroyed stack begins. */
export const DESTROYED_KEY = 'destroyed@';

/**
 * What `attempted_key` of a stack says once a destroy has begun to take things away: nothing is made again until a person
 * reconciles it, which forgets the key, or writes another spec, which is another generation.
 */
export function destroyedKey(generation: number): string {
  return `${DESTROYED_KEY}${generation}`;
}

/** Delay before the next attempt: exponential from `retry.interval`, at most one hour, in milliseconds. */
export function retryDelayMs(spec: StackSpec, failures: number): number {
  const base = parseDuration(spec.retry?.interval ?? DEFAULTS.retryInterval);
  return Math.min(base * 2 ** Math.max(0, failures - 1), 3_600_000);
}

function nextPoll(snapshot: Snapshot): Date {
  return snapshot.sourceDueAt ?? snapshot.now;
}

function isSourceDue(snapshot: Snapshot): boolean {
  return snapshot.requestedSeq > snapshot.handledSeq || nextPoll(snapshot) <= snapshot.now;
}

function earliest(...dates: (Date | null | undefined)[]): Date | undefined {
  const known = dates.filter((date): date is Date => date instanceof Date);
  return known.sort((a, b) => a.getTime() - b.getTime())[0];
}

/** The tag part of `tag@sha256:…`. */
function tagOf(revision: string): string {
  return revision.slice(0, Math.max(0, revision.lastIndexOf('@')));
}

/**
 * Whether the source went back by itself: an earlier revision under the same tag or range. A person who writes another
 * tag or a digest into the spec goes back on purpose.
 */
export function wentBack(snapshot: Snapshot): boolean {
  const { resolved, applied, spec } = snapshot;
  if (resolved === undefined || applied === undefined || spec.source.ref.digest !== undefined) return false;
  if (resolved.ordinal >= applied.ordinal) return false;
  return spec.source.ref.semver !== undefined || tagOf(resolved.revision) === tagOf(applied.revision);
}

function decideLive(snapshot: Snapshot, run: LiveRun): Action {
  // A live run that "executes" while we hold its lease is one whose worker died.
  if (run.state === 'applying' || run.state === 'interrupting') return { type: 'recover', runId: run.id };
  if (isExecuting(run.state)) return { type: 'abandon', runId: run.id };
  if (run.cancelRequestedBy !== null) return { type: 'cancel', runId: run.id, by: run.cancelRequestedBy };
  // What a person does by hand waits for nothing; past its beginning, its worker died.
  if (run.operation === 'exec') return { type: run.state === 'pending' ? 'exec' : 'abandon', runId: run.id };
  if (snapshot.spec.suspend === true) return { type: 'rest', until: undefined };
  if (isSourceDue(snapshot)) return { type: 'resolve' };
  const makesWay = snapshot.destroyRequestedBy !== null && run.operation !== 'destroy';
  if (makesWay) return { type: 'supersede', runId: run.id, state: run.state };
  if (isOutdated(snapshot, run)) return { type: 'supersede', runId: run.id, state: run.state };
  switch (run.state) {
    case 'pending':
      return { type: 'continue-plan', runId: run.id };
    case 'approved':
      return { type: 'apply', runId: run.id };
    case 'awaiting_approval':
    case 'policy_failed':
      return decideWaiting(snapshot, run);
    case 'planned':
    case 'applied':
    case 'superseded':
    case 'canceled':
    case 'discarded':
    case 'expired':
    case 'stale':
    case 'errored':
    case 'fetching':
    case 'verifying':
    case 'planning':
      throw new Error(`run ${run.id} is ${run.state}, which is not waiting for anything`);
    default:
      return unreachable(run.state);
  }
}

function decideWaiting(snapshot: Snapshot, run: LiveRun): Action {
  if (run.expiresAt !== null && run.expiresAt <= snapshot.now) return { type: 'expire', runId: run.id };
  const healWaits = snapshot.healRequestedBy !== null && run.trigger !== 'heal' && run.operation !== 'destroy';
  // The heal moves the state, so the waiting plan could not be applied anyway: it is made again afterwards.
  if (healWaits && snapshot.healTargets.length > 0) return { type: 'yield-to-heal', runId: run.id };
  if (snapshot.acceptsMissing && run.operation !== 'destroy') return { type: 'yield-to-heal', runId: run.id };
  return { type: 'rest', until: earliest(run.expiresAt, nextPoll(snapshot)) };
}

/** A heal repairs the applied revision, so a newer one that waits does not outdate it. */
function isOutdated(snapshot: Snapshot, run: LiveRun): boolean {
  if (run.trigger === 'heal') return false;
  if (run.generation !== snapshot.generation) return true;
  // What is destroyed is what the state holds, whatever the source names by now.
  if (run.operation === 'destroy') return false;
  // A new version of a secret outdates a plan nobody approved yet; an approved one becomes stale and says what differs.
  const { attemptedKey, desiredKey } = snapshot;
  if (isWaiting(run.state) && attemptedKey !== null && attemptedKey !== desiredKey) return true;
  return snapshot.resolved !== undefined && run.digest !== snapshot.resolved.digest;
}

function triggerOf(snapshot: Snapshot): Trigger {
  const { last, applied, resolved, attemptedKey, desiredKey } = snapshot;
  if (last?.state === 'stale') return 'stale';
  // Something new is no retry: its attempts are counted anew.
  if (last?.state === 'errored' && (attemptedKey === null || attemptedKey === desiredKey)) return 'retry';
  if (applied !== undefined && applied.digest === resolved?.digest) {
    return applied.generation === snapshot.generation ? 'manual' : 'spec';
  }
  return 'revision';
}

function decideHeal(snapshot: Snapshot): Action | undefined {
  const { applied, healTargets } = snapshot;
  if (snapshot.healRequestedBy === null) return undefined;
  if (applied === undefined || healTargets.length === 0) return { type: 'drop-heal' };
  const { digest, revision } = applied;
  return { type: 'plan', operation: 'update', trigger: 'heal', digest, revision, targets: healTargets };
}

/** Everything goes by the applied revision; one that never got that far may have left resources as well. */
function decideDestroy({ destroyRequestedBy, applied, resolved }: Snapshot): Action | undefined {
  if (destroyRequestedBy === null) return undefined;
  const source = applied ?? resolved;
  if (source === undefined) return { type: 'drop-destroy' };
  const { digest, revision } = source;
  return { type: 'plan', operation: 'destroy', trigger: 'manual', digest, revision, targets: [] };
}

/** A destroyed stack is not silently made again: not by a newer revision, a rotated secret or a heal. */
function decideDestroyed(snapshot: Snapshot): Action | undefined {
  if (snapshot.attemptedKey !== destroyedKey(snapshot.generation)) return undefined;
  return snapshot.healRequestedBy === null ? { type: 'rest', until: nextPoll(snapshot) } : { type: 'drop-heal' };
}

function decideRetry(snapshot: Snapshot, last: LastRun): Action | undefined {
  if (snapshot.stalled !== undefined) return { type: 'rest', until: nextPoll(snapshot) };
  const max = snapshot.spec.retry?.max ?? DEFAULTS.retryMax;
  if (snapshot.failures > max) return { type: 'exhaust' };
  const retryAt = new Date(last.finishedAt.getTime() + retryDelayMs(snapshot.spec, snapshot.failures));
  if (retryAt > snapshot.now) return { type: 'rest', until: earliest(retryAt, nextPoll(snapshot)) };
  return undefined;
}

/**
 * Looks at one stack and names the next needful thing. Pure: the same snapshot always gives the same action.
 * The caller holds the stack's lease, performs the action and asks again until `rest`.
 */
export function decide(snapshot: Snapshot): Action {
  if (snapshot.run !== undefined) return decideLive(snapshot, snapshot.run);
  if (snapshot.spec.suspend === true) return { type: 'rest', until: undefined };
  if (snapshot.pending.open > 0) {
    if (snapshot.pending.answered === snapshot.pending.open) return { type: 'answer-pending' };
    return { type: 'rest', until: undefined };
  }
  if (snapshot.acceptsMissing) return { type: 'accept-missing' };
  if (isSourceDue(snapshot)) return { type: 'resolve' };
  const first = decideDestroy(snapshot) ?? decideDestroyed(snapshot) ?? decideHeal(snapshot);
  if (first !== undefined) return first;
  const { resolved, desiredKey } = snapshot;
  if (resolved === undefined || desiredKey === undefined) return { type: 'rest', until: nextPoll(snapshot) };
  return decideDesired(snapshot, resolved, desiredKey);
}

/** Nothing is planned, let alone unpacked, before the revision is known to meet the policy. */
function decideUnverified({ verification, now, ...snapshot }: Snapshot): Action | undefined {
  if (verification === undefined) return { type: 'verify' };
  if (isTrusted(verification)) return undefined;
  const nextAt = verification.nextAt === null ? undefined : new Date(verification.nextAt);
  if (nextAt !== undefined && nextAt <= now) return { type: 'verify' };
  return { type: 'rest', until: earliest(nextAt, nextPoll({ ...snapshot, verification, now })) };
}

/** A person changed their mind about a destroy: what was true before is looked at again, and said again. */
function isDestroyDropped({ lastDestroy, last }: Snapshot): boolean {
  if (lastDestroy === undefined || lastDestroy === 'applied') return false;
  // A plan that made way for the destroy is missed.
  return lastDestroy !== 'errored' || last?.state === 'superseded';
}

function decideDesired(snapshot: Snapshot, resolved: ResolvedRevision, desiredKey: string): Action {
  const backward = wentBack(snapshot);
  const onBackward = snapshot.spec.source.onBackward ?? DEFAULTS.onBackward;
  if (backward && onBackward === 'hold') {
    if (snapshot.stalled !== 'RevisionWentBack') return { type: 'hold-backward' };
    return { type: 'rest', until: nextPoll(snapshot) };
  }
  const attempted = snapshot.attemptedKey === desiredKey && !isDestroyDropped(snapshot);
  if (attempted && snapshot.last?.state === 'errored') {
    const retry = decideRetry(snapshot, snapshot.last);
    if (retry !== undefined) return retry;
  } else if (attempted) {
    // A run of what is taken has said that all is well; that something is held has to be said again.
    if (snapshot.held && snapshot.stalled === undefined) return { type: 'resolve' };
    return { type: 'rest', until: nextPoll(snapshot) };
  }
  const unverified = decideUnverified(snapshot);
  if (unverified !== undefined) return unverified;
  return {
    type: 'plan',
    operation: backward ? 'rollback' : 'update',
    trigger: backward ? 'backward' : triggerOf(snapshot),
    digest: resolved.digest,
    revision: resolved.revision,
    targets: [],
  };
}
