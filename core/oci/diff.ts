import { createReadStream } from 'node:fs';
import { readFile, readlink } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { createTwoFilesPatch } from 'diff';
import type { PartLayer } from './artifact-parts.ts';
import type { PackedFile } from './pack-files.ts';

/** One side of a comparison: a folder, and what is known of the artifact it came from. */
export interface DiffSide {
  dir: string;
  files: readonly PackedFile[];
  /** Undefined for a folder that is not pushed yet: it has no annotations and layers to compare. */
  artifact: { annotations: Readonly<Record<string, string>>; parts: readonly PartLayer[] } | undefined;
}

export interface FileDiff {
  path: string;
  change: 'added' | 'removed' | 'changed';
  /** What kind of difference it is: text has a patch, unless it is too large or takes too long to compare. */
  kind: 'text' | 'binary' | 'mode' | 'link' | 'type';
  /** Unified diff, for text only. As the artifacts have it: control characters and all. */
  patch?: string;
}

/** A name that means something else on either side; undefined where it is not there. */
export interface ValueDiff {
  name: string;
  before: string | undefined;
  after: string | undefined;
}

export interface ArtifactDiff {
  same: boolean;
  files: FileDiff[];
  annotations: ValueDiff[];
  /** Dependencies, plugins and policy packs, by part and platform: the digests of their layers. */
  layers: ValueDiff[];
}

const MAX_TEXT_BYTES = 256 * 1024;
const CONTEXT_LINES = 3;
const PATCH_MS = 1_000;

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  const bytes: AsyncIterable<Uint8Array> = createReadStream(path);
  for await (const chunk of bytes) hash.update(chunk);
  return hash.digest('hex');
}

/** The text of a file; undefined when it is none, or a large one. */
async function textOf(dir: string, file: PackedFile | undefined): Promise<string | undefined> {
  if (file === undefined) return '';
  if (file.type !== 'file' || file.size > MAX_TEXT_BYTES) return undefined;
  const bytes = await readFile(join(dir, file.path));
  const text = bytes.toString('utf8');
  return bytes.includes(0) || !Buffer.from(text).equals(bytes) ? undefined : text;
}

async function patchOf(a: DiffSide, b: DiffSide, before: PackedFile | undefined, after: PackedFile | undefined) {
  const [old, now] = [await textOf(a.dir, before), await textOf(b.dir, after)];
  if (old === undefined || now === undefined) return undefined;
  const nameOf = (prefix: string, file: PackedFile | undefined) =>
    file === undefined ? '/dev/null' : `${prefix}/${file.path}`;
  const options = { context: CONTEXT_LINES, timeout: PATCH_MS };
  return createTwoFilesPatch(nameOf('a', before), nameOf('b', after), old, now, undefined, undefined, options);
}

async function withPatch(
  found: Pick<FileDiff, 'path' | 'change'>,
  sides: [DiffSide, DiffSide],
  files: [PackedFile | undefined, PackedFile | undefined],
): Promise<FileDiff> {
  const patch = await patchOf(...sides, ...files);
  return patch === undefined ? { ...found, kind: 'binary' } : { ...found, kind: 'text', patch };
}

async function hasSameContent(a: DiffSide, b: DiffSide, { path, size }: PackedFile, other: PackedFile) {
  if (size !== other.size) return false;
  return (await hashOf(join(a.dir, path))) === (await hashOf(join(b.dir, path)));
}

async function compareFile(a: DiffSide, b: DiffSide, before: PackedFile, after: PackedFile): Promise<FileDiff[]> {
  const found = { path: before.path, change: 'changed' } as const;
  if (before.type !== after.type) return [{ ...found, kind: 'type' }];
  if (before.type === 'symlink') {
    const [old, now] = [await readlink(join(a.dir, before.path)), await readlink(join(b.dir, after.path))];
    return old === now ? [] : [{ ...found, kind: 'link' }];
  }
  if (!(await hasSameContent(a, b, before, after))) return [await withPatch(found, [a, b], [before, after])];
  return before.executable === after.executable ? [] : [{ ...found, kind: 'mode' }];
}

async function compareFiles(a: DiffSide, b: DiffSide): Promise<FileDiff[]> {
  const [before, after] = [a, b].map(({ files }) => new Map(files.map((file) => [file.path, file] as const)));
  const found: FileDiff[] = [];
  for (const path of [...new Set([...(before?.keys() ?? []), ...(after?.keys() ?? [])])].toSorted()) {
    const [old, now] = [before?.get(path), after?.get(path)];
    if (old !== undefined && now !== undefined) found.push(...(await compareFile(a, b, old, now)));
    else {
      const change = old === undefined ? 'added' : 'removed';
      const isLink = (old ?? now)?.type === 'symlink';
      if (isLink) found.push({ path, change, kind: 'link' });
      else found.push(await withPatch({ path, change }, [a, b], [old, now]));
    }
  }
  return found;
}

function compareValues(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): ValueDiff[] {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].toSorted();
  return names.filter((name) => a[name] !== b[name]).map((name) => ({ name, before: a[name], after: b[name] }));
}

function layersOf(parts: readonly PartLayer[]): Record<string, string> {
  return Object.fromEntries(
    parts.map(({ part, platform, layer }) => [
      platform === undefined ? part : `${part} ${platform}`,
      layer.descriptor.digest,
    ]),
  );
}

/** Compares two programs, file by file; nothing is followed or executed. */
export async function diffPrograms(a: DiffSide, b: DiffSide): Promise<ArtifactDiff> {
  const files = await compareFiles(a, b);
  const [old, now] = [a.artifact, b.artifact];
  const isKnown = old !== undefined && now !== undefined;
  const annotations = isKnown ? compareValues(old.annotations, now.annotations) : [];
  const layers = isKnown ? compareValues(layersOf(old.parts), layersOf(now.parts)) : [];
  return { same: files.length + annotations.length + layers.length === 0, files, annotations, layers };
}
