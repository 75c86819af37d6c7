import { parseDuration } from '#core/domain/duration.ts';
import { transient } from '#core/domain/errors.ts';
import { formatRevision, parseRepository } from '#core/domain/reference.ts';
import { DEFAULTS, type SourceRef, type StackSpec } from '#core/domain/manifest.ts';
import { selectTag } from '#core/oci/semver.ts';
import type { Reason } from '#core/domain/reason.ts';
import { cachedFetcher } from '#core/oci/blob-cache.ts';
import { credentialsFromSecret } from '#core/oci/docker-config.ts';
import type { Pusher, Repository } from '#core/oci/port.ts';
import { outcomeOf } from '#core/domain/summarize.ts';
import { isImmutableTag, isTrusted, SIGNATURE_FAILURES } from '#core/domain/verification.ts';
import { clock, clockPlus } from '#core/store/clock.ts';
import { lastDesiredRun, liveRun } from '#core/store/runs.ts';
import { believeTag, lastDigestOf, seeRevision, type SourceTag } from '#core/store/revisions.ts';
import { isDestroyed, type StackPatch, type StackRow } from '#core/store/stacks.ts';
import { readSecret } from '../secrets.ts';
import type { Registry, WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record, type EventInput, type StatusChange } from '../record.ts';
import { planAgain } from './destroy.ts';

async function wantedReference(registry: Registry, repository: Repository, ref: SourceRef, signal: AbortSignal) {
  if (ref.digest !== undefined) return ref.digest;
  if (ref.semver === undefined) return ref.tag ?? 'latest';
  const { semver: range, prerelease, filter } = ref;
  const tag = selectTag(await registry.tags(repository, signal), { range, prerelease, filter });
  if (tag === undefined) {
    // Like a missing tag: whatever is missing may be pushed any moment.
    throw transient(
      'SourceNotFound',
      `no tag of ${repository.host}/${repository.name} is in the range ${range}${filter === undefined ? '' : ` and matches ${filter}`}; push one or change spec.source.ref`,
    );
  }
  return tag;
}

/** The registry client of a stack's source, behind the tenant's cache of content. */
export async function sourceRegistry(
  deps: WorkerDeps,
  stack: Pick<StackRow, 'tenant' | 'spec'>,
  signal: AbortSignal,
): Promise<Registry & Pusher> {
  const registry = await bareRegistry(deps, stack, signal);
  return { ...registry, ...cachedFetcher(registry, { cache: deps.blobs, tenant: stack.tenant }) };
}

/** With the stack's named credentials, or the identity of the worker's cloud. */
async function bareRegistry(
  deps: WorkerDeps,
  stack: Pick<StackRow, 'tenant' | 'spec'>,
  signal: AbortSignal,
): Promise<Registry & Pusher> {
  const { credentials: name, workloadIdentity, repository } = stack.spec.source;
  const { host } = parseRepository(repository);
  if (workloadIdentity !== undefined) return deps.registry(await deps.cloudIdentity(workloadIdentity, host, signal));
  if (name === undefined) return deps.registry(undefined);
  const secret = await readSecret(deps, stack.tenant, name);
  return deps.registry(credentialsFromSecret(secret.data, host));
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
  const immutable = isImmutableTag(next.reference, stack.spec.source.immutableTags ?? DEFAULTS.immutableTags);
  if (!immutable) return [{ type: 'TagMoved', message, data }, ...events];
  return [{ type: 'ImmutableTagMoved', reason: 'ImmutableTagMoved', severity: 'error', message, data }, ...events];
}

/** With every poll and request a signature that was not there is looked for again, whenever the next look would be. */
function lookAgain({ verification }: StackRow): StackPatch {
  if (verification === null || isTrusted(verification)) return {};
  return { verification: JSON.stringify({ ...verification, nextAt: new Date(0).toISOString() }) };
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
  'ImmutableTagMoved',
]);

/** What is true of the stack again, after a source that failed answers. */
async function afterSourceFailure(
  deps: WorkerDeps,
  stack: StackRow,
  digest: string,
): Promise<Pick<StatusChange, 'outcome'> & { patch?: StackPatch }> {
  const ready = stack.conditions.find((condition) => condition.type === 'Ready');
  const over = digest === stack.resolved_digest ? SOURCE_FAILURES : SOURCE_FAILURES.union(SIGNATURE_FAILURES);
  if (ready?.status !== 'False' || !over.has(ready.reason)) return {};
  const live = await liveRun(deps.db, stack.id);
  // Of a destroyed stack no run towards the source speaks any more, and nothing may make it again by itself.
  if (live === undefined && isDestroyed(stack))
    return { outcome: planAgain(stack, 'the source answers again').outcome };
  const run = live ?? (await lastDesiredRun(deps.db, stack.id));
  // A run that failed for such a reason has its own retries.
  if (run === undefined || run.message === ready.message) return {};
  if (run.state === 'errored') return { patch: { attempted_key: null } };
  const outcome = outcomeOf(run.state, run.message);
  return outcome === undefined ? {} : { outcome };
}

function tagOf({ id, repository }: StackRow, tag: string): SourceTag {
  return { stackId: id, repository, tag };
}

/**
 * The digest an immutable tag named before, where it now names another one and the stack holds such tags: that tag was
 * overwritten, and nobody can say by whom.
 */
async function overwritten(
  deps: WorkerDeps,
  stack: StackRow,
  next: { reference: string; digest: string },
): Promise<string | undefined> {
  const { immutableTags, onTagMoved, ref } = stack.spec.source;
  if (ref.digest !== undefined || (onTagMoved ?? DEFAULTS.onTagMoved) === 'apply') return undefined;
  if (!isImmutableTag(next.reference, immutableTags ?? DEFAULTS.immutableTags)) return undefined;
  const known = await lastDigestOf(deps.db, tagOf(stack, next.reference));
  return known === next.digest ? undefined : known;
}

async function holdOverwritten(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  moved: { reference: string; from: string; to: string },
): Promise<void> {
  const { reference: tag, from, to } = moved;
  const message = `the tag ${tag}, which is promised never to move, moved from ${from} to ${to}; the new digest is not taken. Push a new version, or accept it with spec.source.onTagMoved: apply`;
  await record(deps, lease, {
    outcome: { type: 'failed', kind: 'stalled', reason: 'ImmutableTagMoved', message },
    stack: { held_digest: to, source_due_at: clockPlus(pollMs(stack.spec)), handled_seq: stack.requested_seq },
    events:
      stack.held_digest === to
        ? []
        : [
            {
              type: 'ImmutableTagMoved',
              reason: 'ImmutableTagMoved',
              severity: 'error',
              message,
              data: { tag, from, to },
            },
          ],
  });
}

/**
 * Asks the configured registry what the source names now and writes the answer down. Requests that arrive meanwhile are
 * not lost: only those counted before the question are marked as handled.
 */
export async function resolveSource(deps: WorkerDeps, lease: HeldLease, stack: StackRow): Promise<void> {
  const { source } = stack.spec;
  const repository = parseRepository(source.repository);
  const registry = await sourceRegistry(deps, stack, lease.signal);
  const reference = await wantedReference(registry, repository, source.ref, lease.signal);
  const descriptor = await registry.resolve(repository, reference, lease.signal);
  const before = await overwritten(deps, stack, { reference, digest: descriptor.digest });
  if (before !== undefined)
    return await holdOverwritten(deps, lease, stack, { reference, from: before, to: descriptor.digest });
  const revision = formatRevision(reference, descriptor.digest);
  const events = sightings(stack, { digest: descriptor.digest, revision, reference });
  const { outcome, patch } = await afterSourceFailure(deps, stack, descriptor.digest);
  await record(deps, lease, {
    ...(outcome && { outcome }),
    stack: {
      ...patch,
      resolved_digest: descriptor.digest,
      resolved_revision: revision,
      resolved_at: clock(),
      held_digest: null,
      ...lookAgain(stack),
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
      if (source.ref.digest === undefined) await believeTag(trx, tagOf(stack, reference), descriptor.digest);
    },
  });
}
