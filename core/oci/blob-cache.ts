import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import { isDigest } from '#core/domain/reference.ts';
import { hasCode, openFile, readFrom, UNFINISHED, writeFileWhole } from './blob-file.ts';
import { manifestStream, nameOf } from './content.ts';
import { checked } from './digest.ts';
import { MANIFEST_TYPES } from './media-types.ts';
import type { Descriptor, Fetcher } from './port.ts';

const GIB = 1024 ** 3;
const DEFAULT_MAX_BYTES = 2 * GIB;
/** Other processes fill the same folder, so it is looked through at least this often. */
const SCAN_EVERY_MS = 60_000;
/** An unfinished file this old belongs to a process that is dead: no download lasts so long. */
const UNFINISHED_MAX_AGE_MS = 24 * 3_600_000;

export interface BlobCacheOptions {
  /** Folder of the cache, made when missing; nothing else may live in it. */
  dir: string;
  /** Bytes of all tenants together before the least recently used go; somewhat more for as long as a minute. */
  maxBytes?: number;
}

/** Content by tenant and digest in a folder that many processes may share. */
export interface BlobCache {
  /** Bytes of one blob that are worth keeping. */
  maxBytes: number;
  /** Where the content of a digest would lie. @throws ReconcileError stalled for what is no digest or no tenant */
  pathOf(tenant: string, digest: string): string;
  /** Makes room for `path`, which was just written and stays itself. */
  makeRoom(path: string, size: number): Promise<void>;
}

interface Kept {
  path: string;
  size: number;
  usedAt: number;
}

/** What another process removes meanwhile is simply not there. */
async function unlessGone<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** All complete entries; unfinished ones of dead processes are removed. */
async function scan(dir: string, now: number): Promise<Kept[]> {
  const kept: Kept[] = [];
  for (const tenant of (await unlessGone(readdir(dir))) ?? []) {
    for (const name of (await unlessGone(readdir(join(dir, tenant)))) ?? []) {
      const path = join(dir, tenant, name);
      const info = await unlessGone(stat(path));
      if (info === undefined) continue;
      if (!name.startsWith(UNFINISHED)) kept.push({ path, size: info.size, usedAt: info.mtimeMs });
      else if (now - info.mtimeMs > UNFINISHED_MAX_AGE_MS) await rm(path, { force: true });
    }
  }
  return kept;
}

/** Makes a cache; nothing is touched before the first use. */
export function createBlobCache({ dir, maxBytes = DEFAULT_MAX_BYTES }: BlobCacheOptions): BlobCache {
  let total = 0;
  let scannedAt = Number.NEGATIVE_INFINITY;

  return {
    maxBytes,
    pathOf(tenant, digest) {
      if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no digest`);
      if (!/^[a-z0-9][a-z0-9-]*$/.test(tenant)) {
        throw stalled('SpecInvalid', `${JSON.stringify(tenant)} cannot be the name of a tenant's folder`);
      }
      return join(dir, tenant, digest.replace(':', '-'));
    },
    async makeRoom(fresh, size) {
      total += size;
      const now = Date.now();
      if (total <= maxBytes && now - scannedAt < SCAN_EVERY_MS) return;
      scannedAt = now;
      const kept = await scan(dir, now);
      total = kept.reduce((sum, each) => sum + each.size, 0);
      for (const each of kept.toSorted((a, b) => a.usedAt - b.usedAt)) {
        if (total <= maxBytes) return;
        // The clock of files is too coarse to tell what was written just now from what was used just now.
        if (each.path === fresh) continue;
        // Who reads it has it open, and keeps it until it is closed.
        await rm(each.path, { force: true });
        total -= each.size;
      }
    },
  };
}

/** Whether the entry is whole and right, by its size and every byte. Undefined when there is none. */
async function isRight(path: string, { digest, size }: Descriptor): Promise<boolean | undefined> {
  try {
    const file = await openFile(path);
    if (file === undefined) return undefined;
    try {
      let seen = 0;
      if (file.size !== size) return false;
      for await (const chunk of checked(readFrom(file.handle), { digest, size, what: path })) seen += chunk.byteLength;
      return seen === size;
    } finally {
      await file.handle.close();
    }
  } catch {
    // Spoilt, no file at all, or on a disk that cannot be read: what was fetched anew tells.
    return false;
  }
}

/**
 * Puts a cache in front of a fetcher, for one tenant: what is kept is never seen by another. A hit is checked byte by
 * byte before any is given out; a spoilt entry is dropped and fetched again.
 * @throws ReconcileError as the fetcher does; transient DiskFull naming the disk
 */
export function cachedFetcher(source: Fetcher, { cache, tenant }: { cache: BlobCache; tenant: string }): Fetcher {
  async function* stored(
    path: string,
    ...[repository, descriptor, signal]: Parameters<Fetcher['fetch']>
  ): AsyncGenerator<Uint8Array, void> {
    const file = await openFile(path);
    // Evicted between the check and now.
    if (file === undefined) {
      yield* await source.fetch(repository, descriptor, signal);
      return;
    }
    const { digest, size } = descriptor;
    try {
      yield* checked(readFrom(file.handle), { digest, size, what: nameOf(repository, digest) });
    } finally {
      await file.handle.close();
    }
  }

  return {
    async fetch(repository, descriptor, signal) {
      const path = cache.pathOf(tenant, descriptor.digest);
      if (descriptor.size > cache.maxBytes) return source.fetch(repository, descriptor, signal);
      const right = await isRight(path, descriptor);
      const now = new Date();
      if (right === true) await unlessGone(utimes(path, now, now));
      if (right === false) await rm(path, { recursive: true, force: true });
      if (right !== true) {
        await writeFileWhole(path, await source.fetch(repository, descriptor, signal));
        await cache.makeRoom(path, descriptor.size);
      }
      const stream = stored(path, repository, descriptor, signal);
      if (!MANIFEST_TYPES.has(descriptor.mediaType)) return stream;
      return manifestStream(stream, descriptor, nameOf(repository, descriptor.digest));
    },
  };
}
