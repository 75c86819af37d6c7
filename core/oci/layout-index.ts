import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { stalled, transient } from '#core/domain/errors.ts';
import { Digest } from '#core/domain/manifest.ts';
import { hasCode, openFile, readFrom, UNFINISHED, writeFileWhole } from './blob-file.ts';
import { field, parseJson } from './body.ts';
import { OCI_INDEX } from './media-types.ts';

/** Annotation of an entry: the tag it goes by (image-spec image-layout.md, "index.json file"). */
const REF_NAME = 'org.opencontainers.image.ref.name';
const LAYOUT_FILE = 'oci-layout';
const LAYOUT_VERSION = '1.0.0';
const INDEX_FILE = 'index.json';
const LOCK_FILE = '.index.lock';
/** Bytes of an index.json that are read: some 100,000 entries. */
const MAX_INDEX_BYTES = 32 * 1024 * 1024;
const LOCK_WAIT_MS = 30_000;
const LOCK_POLL_MS = 20;
/** A lock this old was left by a process that died: an update takes milliseconds. */
const LOCK_STALE_MS = 20_000;
/** An unfinished blob nothing was added to for so long belongs to a process that died: tries and pauses take minutes. */
const UNFINISHED_STALE_MS = 15 * 60_000;

const Entry = Type.Object({
  mediaType: Type.String({ minLength: 1, maxLength: 255 }),
  digest: Digest,
  size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  artifactType: Type.Optional(Type.String()),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
});
/** One line of an index.json. */
export type LayoutEntry = Static<typeof Entry>;

const Index = Type.Object({ schemaVersion: Type.Literal(2), manifests: Type.Array(Entry) });

/** The tag of an entry. */
export function tagOf(entry: LayoutEntry): string | undefined {
  return entry.annotations?.[REF_NAME];
}

async function readSmall(path: string, what: string): Promise<Buffer | undefined> {
  const file = await openFile(path);
  if (file === undefined) return undefined;
  try {
    if (file.size > MAX_INDEX_BYTES)
      throw stalled('ArtifactTooLarge', `${what} is larger than ${MAX_INDEX_BYTES} bytes`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of readFrom(file.handle)) chunks.push(chunk);
    return Buffer.concat(chunks);
  } finally {
    await file.handle.close();
  }
}

function invalid(dir: string, why: string) {
  return stalled('ArtifactInvalid', `${dir} is no OCI image layout: ${why}; check which folder was meant`);
}

async function isLayout(dir: string): Promise<boolean> {
  const bytes = await readSmall(join(dir, LAYOUT_FILE), `${dir}/${LAYOUT_FILE}`);
  if (bytes === undefined) return false;
  if (field(parseJson(bytes), 'imageLayoutVersion') === LAYOUT_VERSION) return true;
  throw invalid(dir, `its ${LAYOUT_FILE} does not name version ${LAYOUT_VERSION}`);
}

async function readIndex(dir: string): Promise<{ manifests: LayoutEntry[] }> {
  const bytes = await readSmall(join(dir, INDEX_FILE), `${dir}/${INDEX_FILE}`);
  const index = bytes === undefined ? undefined : parseJson(bytes);
  if (!Value.Check(Index, index)) throw invalid(dir, `its ${INDEX_FILE} is no index`);
  return index;
}

/** @throws ReconcileError transient SourceNotFound where nothing is, stalled ArtifactInvalid where something else is */
export async function readEntries(dir: string): Promise<LayoutEntry[]> {
  if (await isLayout(dir)) return (await readIndex(dir)).manifests;
  const found = await readdir(dir).catch(() => []);
  if (found.length > 0) throw invalid(dir, `it has no file ${LAYOUT_FILE}`);
  throw transient('SourceNotFound', `there is no OCI image layout in ${dir}`);
}

async function writeJson(path: string, value: unknown): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(value));
  await writeFileWhole(
    path,
    (async function* () {
      yield bytes;
    })(),
  );
}

async function removeStaleLock(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined || Date.now() - info.mtimeMs < LOCK_STALE_MS) return;
  // Taken away under a name of our own, so that two who see it stale do not remove a fresh one.
  const aside = `${path}${UNFINISHED}${randomUUID()}`;
  await rename(path, aside).catch(() => undefined);
  await rm(aside, { force: true });
}

async function locked<T>(dir: string, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
  const path = join(dir, LOCK_FILE);
  const until = Date.now() + LOCK_WAIT_MS;
  for (;;) {
    signal.throwIfAborted();
    try {
      await (await open(path, 'wx')).close();
      break;
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    if (Date.now() > until) throw transient('StateLocked', `somebody else keeps ${path}; remove it if nobody does`);
    await removeStaleLock(path);
    await sleep(LOCK_POLL_MS, undefined, { signal }).catch(() => {
      throw signal.reason;
    });
  }
  try {
    return await act();
  } finally {
    await rm(path, { force: true });
  }
}

/** Makes an empty layout where nothing is; a folder that holds something else is left alone. */
export async function ensureLayout(dir: string, signal: AbortSignal): Promise<void> {
  if (await isLayout(dir)) return;
  await mkdir(dir, { recursive: true });
  await locked(dir, signal, async () => {
    const found = (await readdir(dir)).filter((name) => !name.startsWith('.'));
    // The index comes first, so a layout that was begun is not a strange folder.
    if (found.some((name) => ![INDEX_FILE, LAYOUT_FILE, 'blobs'].includes(name))) {
      throw invalid(dir, 'it holds other files');
    }
    if (!found.includes(INDEX_FILE)) {
      await writeJson(join(dir, INDEX_FILE), { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] });
    }
    await writeJson(join(dir, LAYOUT_FILE), { imageLayoutVersion: LAYOUT_VERSION });
  });
}

/** The entries once `descriptor` goes by `tag`, or is merely listed; what the tag named before stays, without it. */
export function withEntry(
  entries: readonly LayoutEntry[],
  descriptor: LayoutEntry,
  tag: string | undefined,
): LayoutEntry[] {
  if (tag === undefined) {
    return entries.some(({ digest }) => digest === descriptor.digest) ? [...entries] : [...entries, descriptor];
  }
  const kept = entries.map((entry) => (tagOf(entry) === tag ? withoutTag(entry) : entry));
  const listed = new Set(
    [descriptor, ...kept.filter((entry) => tagOf(entry) !== undefined)].map(({ digest }) => digest),
  );
  const others = kept.filter((entry) => {
    if (tagOf(entry) !== undefined) return true;
    if (listed.has(entry.digest)) return false;
    listed.add(entry.digest);
    return true;
  });
  return [...others, { ...descriptor, annotations: { ...descriptor.annotations, [REF_NAME]: tag } }];
}

function withoutTag({ annotations = {}, ...entry }: LayoutEntry): LayoutEntry {
  const rest = Object.fromEntries(Object.entries(annotations).filter(([key]) => key !== REF_NAME));
  return Object.keys(rest).length === 0 ? entry : { ...entry, annotations: rest };
}

/** Changes index.json for every process that shares the folder, one after the other; readers see before or after. */
export async function updateEntries(
  dir: string,
  change: (entries: LayoutEntry[]) => LayoutEntry[],
  signal: AbortSignal,
): Promise<void> {
  await locked(dir, signal, async () => {
    const index = await readIndex(dir);
    await writeJson(join(dir, INDEX_FILE), { ...index, manifests: change(index.manifests) });
    await removeUnfinished(join(dir, 'blobs'));
  });
}

/** What a killed copy had begun would be carried along for ever. */
async function removeUnfinished(blobs: string): Promise<void> {
  for (const name of await readdir(blobs, { recursive: true })) {
    if (!basename(name).startsWith(UNFINISHED)) continue;
    const path = join(blobs, name);
    const info = await stat(path).catch(() => undefined);
    if (info !== undefined && Date.now() - info.mtimeMs > UNFINISHED_STALE_MS) await rm(path, { force: true });
  }
}
