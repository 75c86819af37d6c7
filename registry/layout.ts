import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureDirectory } from './durable-file.ts';
import type { Digest } from './names.ts';

/**
 * Where things lie on disk. Names start with `_` because no component of a repository name can, so a repository's own
 * folders never collide with repositories below it.
 *
 *     content/<alg>/<hex>                               every blob once, found by mounts that name no repository
 *     repositories/<name>/_blobs/<alg>/<hex>            hard link: the file system counts the references
 *     repositories/<name>/_manifests/<alg>/<hex>        a line of JSON, then the manifest's bytes
 *     repositories/<name>/_tags/<tag>                   a digest
 *     repositories/<name>/_referrers/<alg>-<hex>/…      one descriptor a referrer
 *     uploads/  temporary/  events/
 */
export interface Layout {
  content: string;
  repositories: string;
  uploads: string;
  temporary: string;
  events: string;
}

/** Makes the folders below `root` and empties the temporary one: what lies there was cut short by a crash. */
export async function openLayout(root: string): Promise<Layout> {
  const layout = {
    content: join(root, 'content'),
    repositories: join(root, 'repositories'),
    uploads: join(root, 'uploads'),
    temporary: join(root, 'temporary'),
    events: join(root, 'events'),
  };
  await rm(layout.temporary, { recursive: true, force: true });
  for (const folder of Object.values(layout)) await ensureDirectory(folder);
  return layout;
}

/** Folder of one repository; `name` must have passed `isRepositoryName`. */
export function repositoryPath(layout: Layout, name: string): string {
  return join(layout.repositories, name);
}

/** The blob as one repository sees it. */
export function blobPath(layout: Layout, name: string, digest: Digest): string {
  return join(repositoryPath(layout, name), '_blobs', digest.algorithm, digest.hex);
}

/** The blob whatever repository it is in. */
export function contentPath(layout: Layout, digest: Digest): string {
  return join(layout.content, digest.algorithm, digest.hex);
}

/** A manifest with its media type. */
export function manifestPath(layout: Layout, name: string, digest: Digest): string {
  return join(repositoryPath(layout, name), '_manifests', digest.algorithm, digest.hex);
}

/** Folder of the tags, or the file of one. */
export function tagPath(layout: Layout, name: string, tag = ''): string {
  return join(repositoryPath(layout, name), '_tags', tag);
}

/** Folder of the descriptors of everything that has `subject` as its subject. */
export function referrersPath(layout: Layout, name: string, subject: Digest): string {
  return join(repositoryPath(layout, name), '_referrers', `${subject.algorithm}-${subject.hex}`);
}
