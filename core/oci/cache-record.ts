import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { stalled } from '#core/domain/errors.ts';
import { parseJson } from './body.ts';
import type { ArtifactLimits } from './limits.ts';
import type { NamedManifest } from './program-manifest.ts';

/** Written into an entry of the cache beside its folders: what they are and what they weigh. */
export const RECORD = 'artifact.json';

const Named = Type.Object({ mediaType: Type.String(), digest: Type.String() });
const EntryRecord = Type.Object({
  format: Type.String(),
  annotations: Type.Record(Type.String(), Type.String()),
  compressedBytes: Type.Number(),
  unpackedBytes: Type.Number(),
  entries: Type.Number(),
  /** Part → digest of its layer. */
  parts: Type.Record(Type.String(), Type.String()),
  manifest: Named,
  chosen: Type.Optional(Named),
});
export type EntryRecord = Static<typeof EntryRecord>;

type Manifests = { manifest: NamedManifest; chosen: NamedManifest | undefined };
type Said = Omit<EntryRecord, 'manifest' | 'chosen'>;

const nameOnly = ({ mediaType, digest }: NamedManifest) => ({ mediaType, digest });

/** Writes the record and the manifests an entry came from. */
export async function writeRecord(entry: string, said: Said, { manifest, chosen }: Manifests): Promise<void> {
  await writeFile(join(entry, 'manifest.json'), manifest.bytes);
  if (chosen !== undefined) await writeFile(join(entry, 'chosen.json'), chosen.bytes);
  const record: EntryRecord = {
    ...said,
    manifest: nameOnly(manifest),
    ...(chosen === undefined ? {} : { chosen: nameOnly(chosen) }),
  };
  await writeFile(join(entry, RECORD), JSON.stringify(record));
}

/** Undefined when an earlier version wrote it, or nobody: the entry is none then. */
export async function readRecord(entry: string): Promise<EntryRecord | undefined> {
  const record = parseJson(await readFile(join(entry, RECORD)));
  return Value.Check(EntryRecord, record) ? record : undefined;
}

/** The manifests an entry came from, byte for byte. */
export async function readManifests(entry: string, { manifest, chosen }: EntryRecord): Promise<Manifests> {
  const read = async (name: string, named: Static<typeof Named>) => ({
    ...named,
    bytes: await readFile(join(entry, name)),
  });
  return {
    manifest: await read('manifest.json', manifest),
    chosen: chosen === undefined ? undefined : await read('chosen.json', chosen),
  };
}

/** Holds what is in the cache to limits that may have been lowered since. @throws ReconcileError stalled ArtifactTooLarge */
export function assertWithin(record: EntryRecord, limits: ArtifactLimits, what: string): void {
  const { compressedBytes, unpackedBytes, entries } = record;
  const isOver =
    compressedBytes > limits.maxCompressedBytes ||
    unpackedBytes > limits.maxUnpackedBytes ||
    entries > limits.maxEntries;
  if (!isOver) return;
  throw stalled(
    'ArtifactTooLarge',
    `${what} has ${compressedBytes} bytes, ${unpackedBytes} unpacked, and ${entries} files, and this tenant may use ${limits.maxCompressedBytes}, ${limits.maxUnpackedBytes} and ${limits.maxEntries}; raise spec.artifacts of the tenant, or leave files out and push again`,
  );
}
