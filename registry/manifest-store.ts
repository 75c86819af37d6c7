import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ifPresent, listDirectory, removeDurably, writeDurably } from './durable-file.ts';
import { manifestPath, referrersPath, repositoryPath, tagPath, type Layout } from './layout.ts';
import type { ParsedManifest } from './manifest.ts';
import { isTag, parseDigest, type Digest } from './names.ts';

/** A manifest as it was pushed. */
export interface StoredManifest {
  digest: Digest;
  mediaType: string;
  bytes: Buffer;
}

/** What a referrers list holds for one referrer (distribution-spec 1.1 "Listing Referrers"). */
export interface ReferrerDescriptor {
  mediaType: string;
  digest: string;
  size: number;
  artifactType?: string | undefined;
  annotations?: Record<string, string> | undefined;
}

/**
 * Stores a manifest and, where one is given, moves the tag to it. The order keeps a crash harmless: a referrer without
 * its manifest is not listed, and a tag is moved last. Calls for one repository must not overlap.
 */
export async function putManifest(
  layout: Layout,
  name: string,
  manifest: StoredManifest & { parsed: ParsedManifest },
  tag: string | undefined,
): Promise<void> {
  const { digest, mediaType, bytes, parsed } = manifest;
  const referrer = referrerPath(layout, name, parsed.subject, digest);
  if (referrer !== undefined) {
    const { artifactType, annotations } = parsed;
    const entry: ReferrerDescriptor = { mediaType, digest: digest.text, size: bytes.length, artifactType, annotations };
    await writeDurably(layout.temporary, referrer, JSON.stringify(entry));
  }
  const header = JSON.stringify({ mediaType, subject: parsed.subject });
  await writeDurably(
    layout.temporary,
    manifestPath(layout, name, digest),
    Buffer.concat([Buffer.from(`${header}\n`), bytes]),
  );
  if (tag !== undefined) await writeDurably(layout.temporary, tagPath(layout, name, tag), digest.text);
}

/** Reads a manifest by tag or digest; undefined when there is none. */
export async function findManifest(
  layout: Layout,
  name: string,
  reference: { tag: string } | { digest: Digest },
): Promise<StoredManifest | undefined> {
  const digest = 'tag' in reference ? await findTag(layout, name, reference.tag) : reference.digest;
  const record = digest && (await readRecord(layout, name, digest));
  return record && { digest: record.digest, mediaType: record.mediaType, bytes: record.bytes };
}

/** True when the repository has this manifest. */
export async function hasManifest(layout: Layout, name: string, digest: Digest): Promise<boolean> {
  return exists(manifestPath(layout, name, digest));
}

/** True when something was ever pushed to the repository. */
export async function hasRepository(layout: Layout, name: string): Promise<boolean> {
  const path = repositoryPath(layout, name);
  return (await exists(join(path, '_manifests'))) || (await exists(join(path, '_blobs')));
}

/** All tags in code unit order. */
export async function listTags(layout: Layout, name: string): Promise<string[]> {
  return (await listDirectory(tagPath(layout, name))).filter(isTag);
}

/** Removes a tag, not its manifest. @returns false when there was none. */
export async function deleteTag(layout: Layout, name: string, tag: string): Promise<boolean> {
  return removeDurably(tagPath(layout, name, tag));
}

/** Removes a manifest with every tag on it. Calls for one repository must not overlap. @returns false when there was none. */
export async function deleteManifest(layout: Layout, name: string, digest: Digest): Promise<boolean> {
  const record = await readRecord(layout, name, digest);
  if (record === undefined) return false;
  for (const tag of await listTags(layout, name)) {
    if ((await findTag(layout, name, tag))?.text === digest.text) await deleteTag(layout, name, tag);
  }
  await removeDurably(manifestPath(layout, name, digest));
  const referrer = referrerPath(layout, name, record.subject, digest);
  if (referrer !== undefined) await removeDurably(referrer);
  return true;
}

/** Descriptors of the manifests whose subject this is, in the order of their digests. */
export async function listReferrers(layout: Layout, name: string, subject: Digest): Promise<ReferrerDescriptor[]> {
  const folder = referrersPath(layout, name, subject);
  const referrers: ReferrerDescriptor[] = [];
  for (const file of await listDirectory(folder)) {
    const digest = parseDigest(file.replace('-', ':'));
    if (digest === undefined || !(await hasManifest(layout, name, digest))) continue;
    const text = await ifPresent(readFile(join(folder, file), 'utf8'));
    // Written by `putManifest` alone.
    if (text !== undefined) referrers.push(JSON.parse(text) as ReferrerDescriptor);
  }
  return referrers;
}

async function findTag(layout: Layout, name: string, tag: string): Promise<Digest | undefined> {
  const text = await ifPresent(readFile(tagPath(layout, name, tag), 'utf8'));
  return text === undefined ? undefined : parseDigest(text.trim());
}

async function readRecord(
  layout: Layout,
  name: string,
  digest: Digest,
): Promise<(StoredManifest & { subject: string | undefined }) | undefined> {
  const record = await ifPresent(readFile(manifestPath(layout, name, digest)));
  if (record === undefined) return undefined;
  const end = record.indexOf('\n');
  // Written by `putManifest` alone.
  const header = JSON.parse(record.toString('utf8', 0, end)) as { mediaType: string; subject?: string };
  return { digest, mediaType: header.mediaType, subject: header.subject, bytes: record.subarray(end + 1) };
}

function referrerPath(layout: Layout, name: string, subject: string | undefined, digest: Digest): string | undefined {
  const about = subject === undefined ? undefined : parseDigest(subject);
  return about && join(referrersPath(layout, name, about), `${digest.algorithm}-${digest.hex}`);
}

async function exists(path: string): Promise<boolean> {
  return (await ifPresent(access(path).then(() => true))) ?? false;
}
