import { parseDuration } from '#core/domain/duration.ts';
import { stalled, transient } from '#core/domain/errors.ts';
import { formatRevision, parseRepository } from '#core/domain/reference.ts';
import { DEFAULTS, type SourceRef, type StackSpec } from '#core/domain/manifest.ts';
import { selectTag } from '#core/oci/semver.ts';
import type { Reason } from '#core/domain/reason.ts';
import type { Repository } from '#core/oci/port.ts';
import { outcomeOf } from '#core/domain/summarize.ts';
import { clock, clockPlus } from '#core/store/clock.ts';
import { lastDesiredRun, liveRun } from '#core/store/runs.ts';
import { seeRevision } from '#core/store/revisions.ts';
import type { StackPatch, StackRow } from '#core/store/stacks.ts';
import { readSecret } from '../secrets.ts';
import type { Registry, WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record, type EventInput, type StatusChange } from '../record.ts';

async function wantedReference(registry: Registry, repository: Repository, ref: SourceRef, signal: AbortSignal) {
  if (ref.digest !== undefined) return ref.digest;
  if (ref.semver === undefined) return ref.tag ?? 'latest';
  const tag = selectTag(await registry.tags(repository, signal), ref.semver);
  if (tag === undefined) {
    // Like a missing tag: whatever is missing may be pushed any moment.
    throw transient(
      'SourceNotFound',
      `no tag of ${repository.host}/${repository.name} is in the range ${ref.semver}; push one or change spec.source.ref`,
    );
  }
  return tag;
}

/** The registry client of a stack's source, with its named credentials. */
export async function sourceRegistry(deps: WorkerDeps, stack: StackRow): Promise<Registry> {
  const name = stack.spec.source.credentials;
  if (name === undefined) return deps.registry(undefined);
  const secret = await readSecret(deps, stack.tenant, name);
  const { username, password } = secret.data;
  if (username === undefined || password === undefined) {
    throw stalled('SecretNotFound', `secret ${name} needs the keys username and password to be used for a registry`);
  }
  return deps.registry({ username, password });
}

function sightings(stack: StackRow, next: { digest: string; revision: string; reference: string }): EventInput[] {
  if (stack.resolved_digest === next.digest) return [];
  const events: EventInput[] = [
    { type: 'RevisionFound', message: `source resolved to ${next.revision}`, data: { digest: next.digest } },
  ];
  const sameTag = stack.resolved_revision?.startsWith(`${next.reference}@`) ?? false;
  if (!sameTag) return events;
  const message = `tag ${next.reference} moved from ${stack.resolved_digest} to ${next.digest}`;
  const data = { tag: next.reference, from: stack.resolved_digest, to: next.digest };
  return [{ type: 'TagMoved', reason: 'TagMoved', severity: 'warning', message, data }, ...events];
}

/** Milliseconds to the next poll, spread by up to a tenth, so that stacks made together do not ask together. */
function pollMs(spec: StackSpec): number {
  const interval = parseDuration(spec.source.interval ?? DEFAULTS.sourceInterval);
  return Math.ceil(interval * (1 - Math.random() / 10));
}

const SOURCE_FAILURES: ReadonlySet<Reason> = new Set([
  'SourceNotFound',
  'SourceUnauthorized',
  'SourceUnreachable',
  'InvalidReference',
  'SecretNotFound',
  'TimedOut',
]);

/** What is true of the stack again, after a source that failed answers. */
async function afterSourceFailure(
  deps: WorkerDeps,
  stack: StackRow,
): Promise<Pick<StatusChange, 'outcome'> & { patch?: StackPatch }> {
  const ready = stack.conditions.find((condition) => condition.type === 'Ready');
  if (ready?.status !== 'False' || !SOURCE_FAILURES.has(ready.reason)) return {};
  const run = (await liveRun(deps.db, stack.id)) ?? (await lastDesiredRun(deps.db, stack.id));
  // A run that failed for such a reason has its own retries.
  if (run === undefined || run.message === ready.message) return {};
  if (run.state === 'errored') return { patch: { attempted_key: null } };
  const outcome = outcomeOf(run.state, run.message);
  return outcome === undefined ? {} : { outcome };
}

/**
 * Asks the configured registry what the source names now and writes the answer down. Requests that arrive meanwhile are
 * not lost: only those counted before the question are marked as handled.
 */
export async function resolveSource(deps: WorkerDeps, lease: HeldLease, stack: StackRow): Promise<void> {
  const { source } = stack.spec;
  const repository = parseRepository(source.repository);
  const registry = await sourceRegistry(deps, stack);
  const reference = await wantedReference(registry, repository, source.ref, lease.signal);
  const descriptor = await registry.resolve(repository, reference, lease.signal);
  const revision = formatRevision(reference, descriptor.digest);
  const events = sightings(stack, { digest: descriptor.digest, revision, reference });
  const { outcome, patch } = await afterSourceFailure(deps, stack);
  await record(deps, lease, {
    ...(outcome && { outcome }),
    stack: {
      ...patch,
      resolved_digest: descriptor.digest,
      resolved_revision: revision,
      resolved_at: clock(),
      // From the answer on: a registry that takes longer than the interval must not be all the stack ever does.
      source_due_at: clockPlus(pollMs(stack.spec)),
      handled_seq: stack.requested_seq,
    },
    events,
    also: async (trx) => {
      await seeRevision(trx, {
        tenant: stack.tenant,
        stackId: stack.id,
        digest: descriptor.digest,
        revision,
        annotations: {},
      });
    },
  });
}
