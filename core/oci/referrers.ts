import { ReconcileError, stalled, transient } from '#core/domain/errors.ts';
import { isDigest, type Repository } from '#core/domain/reference.ts';
import type { KeyedLock } from '#core/keyed-lock.ts';
import { errorText, readAll } from './body.ts';
import { nameOf, readManifest } from './content.ts';
import type { HttpResponse } from './http.ts';
import { MAX_MANIFEST_BYTES } from './manifest.ts';
import { bareType, OCI_INDEX } from './media-types.ts';
import { listPages } from './pages.ts';
import type { Descriptor, Fetcher, Pusher, ReferrerLister, Resolver } from './port.ts';
import { artifactTypeOf, createReferrerList, referrerDescriptor } from './referrer-list.ts';
import type { Session } from './session.ts';
import { assertAnswered } from './status.ts';

/** How long a registry counts as one without the API before it is asked again: they are upgraded while we run. */
const REMEMBERED_MS = 600_000;
const MAX_REMEMBERED = 1000;
/** Entries of old indexes whose type must be read from their manifest; more are left out of a filtered list. */
const MAX_UNTYPED = 100;
/** Somebody else may write the same tag at the same time. */
const ADD_ATTEMPTS = 5;

/** Which repositories answered that they have no referrers API, and until when that counts (epoch milliseconds). */
export type ReferrersMemory = Map<string, number>;

export interface Referrers extends ReferrerLister {
  /** Enters a pushed manifest into the referrers tag of its subject. */
  add(
    repository: Repository,
    subject: string,
    pushed: { bytes: Buffer; descriptor: Descriptor },
    signal: AbortSignal,
  ): Promise<void>;
}

/** `sha256-<hex>`, cut as the specification cuts it ("Referrers Tag Schema"). */
export function referrersTag(digest: string): string {
  const colon = digest.indexOf(':');
  return `${digest.slice(0, colon).slice(0, 32)}-${digest.slice(colon + 1).slice(0, 64)}`;
}

interface Page {
  bytes: Buffer;
  filtered: boolean;
}

/** A page of the API; undefined where the registry has no such API. */
async function readPage(response: HttpResponse, what: string): Promise<Page | undefined> {
  if (response.status === 404 || response.status === 405) {
    const detail = await errorText(response);
    if (!detail.startsWith('NAME_UNKNOWN')) return undefined;
    throw transient(
      'SourceNotFound',
      `${what} answered ${response.status} (${detail}); push it, or correct spec.source`,
    );
  }
  await assertAnswered(response, what);
  if (bareType(response.header('content-type')) !== OCI_INDEX) {
    await response.discard();
    return undefined;
  }
  const applied = (response.header('oci-filters-applied') ?? '').split(',').map((filter) => filter.trim());
  return { bytes: await readAll(response, MAX_MANIFEST_BYTES, what), filtered: applied.includes('artifactType') };
}

/** What the referrers API lists; undefined where there is no such API. */
async function fromApi(
  session: Session,
  asked: { repository: Repository; digest: string; artifactType?: string; limitMs: number; signal: AbortSignal },
): Promise<{ descriptors: Descriptor[]; filtered: boolean } | undefined> {
  const { repository, digest, artifactType, limitMs, signal } = asked;
  const what = `referrers of ${nameOf(repository, digest)}`;
  const query = artifactType === undefined ? '' : `?${new URLSearchParams({ artifactType }).toString()}`;
  const first = `/v2/${repository.name}/referrers/${digest}${query}`;
  const list = createReferrerList(what);
  let filtered = true;
  const headers = { accept: OCI_INDEX };
  for await (const response of listPages({ session, repository, first, what, headers, limitMs, signal })) {
    const page = await readPage(response, what);
    if (page === undefined) return undefined;
    list.addPage(page.bytes);
    filtered &&= page.filtered;
  }
  return { descriptors: list.all(), filtered };
}

/** The index under the referrers tag; empty where nobody attached anything. */
async function fromTag(reader: Resolver & Fetcher, repository: Repository, digest: string, signal: AbortSignal) {
  const tag = referrersTag(digest);
  let descriptor: Descriptor;
  try {
    descriptor = await reader.resolve(repository, tag, signal);
  } catch (error) {
    if (error instanceof ReconcileError && error.reason === 'SourceNotFound') return [];
    throw error;
  }
  const what = `the referrers tag ${nameOf(repository, tag)}`;
  if (descriptor.mediaType !== OCI_INDEX) {
    throw stalled('ArtifactInvalid', `${what} is ${descriptor.mediaType}, not an index; remove the tag`);
  }
  const list = createReferrerList(what);
  list.addPage((await readManifest(reader, repository, descriptor, signal)).bytes);
  return list.all();
}

function writtenIndex(manifests: Descriptor[]): { bytes: Buffer; mediaType: string } {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  return { bytes, mediaType: OCI_INDEX };
}

/** Keeps what is of the type; where the list does not say, the manifest does. */
async function ofType(
  reader: Resolver & Fetcher,
  repository: Repository,
  descriptors: Descriptor[],
  artifactType: string,
  signal: AbortSignal,
): Promise<Descriptor[]> {
  const kept: Descriptor[] = [];
  let read = 0;
  for (const descriptor of descriptors) {
    let type = descriptor.artifactType;
    if (type === undefined && read < MAX_UNTYPED) {
      read += 1;
      type = artifactTypeOf((await readManifest(reader, repository, descriptor, signal)).bytes);
    }
    if (type === artifactType) kept.push({ ...descriptor, artifactType });
  }
  return kept;
}

export interface ReferrersOptions {
  /** One writer of a referrers tag at a time: two that read the same index would each leave the other's entry out. */
  writing: KeyedLock;
  session: Session;
  reader: Resolver & Fetcher;
  /** Pushes an index as it is, without looking for a subject. */
  pushIndex: Pusher['pushManifest'];
  memory: ReferrersMemory;
  limitMs: number;
}

/** Lists and enters referrers (distribution-spec v1.1.1, "Listing Referrers" and "Unavailable Referrers API"). */
export function createReferrers({ session, reader, pushIndex, memory, writing, limitMs }: ReferrersOptions): Referrers {
  const keyOf = (repository: Repository) => `${repository.host}/${repository.name}`;

  function remember(repository: Repository): void {
    const [oldest] = memory.keys();
    if (memory.size >= MAX_REMEMBERED && oldest !== undefined) memory.delete(oldest);
    memory.set(keyOf(repository), Date.now() + REMEMBERED_MS);
  }

  async function listed(repository: Repository, digest: string, artifactType: string | undefined, signal: AbortSignal) {
    const until = memory.get(keyOf(repository)) ?? 0;
    if (until <= Date.now()) {
      const asked = { repository, digest, limitMs, signal, ...(artifactType === undefined ? {} : { artifactType }) };
      const answered = await fromApi(session, asked);
      if (answered !== undefined) return answered;
      remember(repository);
    }
    return { descriptors: await fromTag(reader, repository, digest, signal), filtered: false };
  }

  /** Other processes may write the tag too, so what was written is read again. */
  async function enter(repository: Repository, subject: string, entry: Descriptor, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; attempt < ADD_ATTEMPTS; attempt += 1) {
      const present = await fromTag(reader, repository, subject, signal);
      if (present.some(({ digest }) => digest === entry.digest)) return;
      await pushIndex(repository, referrersTag(subject), writtenIndex([...present, entry]), signal);
    }
    throw transient(
      'SourceUnreachable',
      `others keep writing the referrers tag of ${nameOf(repository, subject)}; push ${entry.digest} again`,
    );
  }

  return {
    async referrers(repository, digest, { artifactType }, signal) {
      if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no digest`);
      const { descriptors, filtered } = await listed(repository, digest, artifactType, signal);
      if (artifactType === undefined || filtered) return descriptors;
      return ofType(reader, repository, descriptors, artifactType, signal);
    },
    add: (repository, subject, { bytes, descriptor }, signal) =>
      writing(`${keyOf(repository)}@${subject}`, () =>
        enter(repository, subject, referrerDescriptor(bytes, descriptor), signal),
      ),
  };
}
