import { createGzip } from 'node:zlib';
import { readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import { parse } from 'yaml';
import { stalled } from '#core/domain/errors.ts';
import { formatRevision, isTag, type Repository } from '#core/domain/reference.ts';
import { field } from './body.ts';
import { contentOf } from './content.ts';
import { digestOf } from './digest.ts';
import { createEntryTable } from './entry-table.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import {
  EMPTY_CONFIG,
  EMPTY_CONFIG_BYTES,
  OCI_MANIFEST,
  PROGRAM_ARTIFACT,
  PROGRAM_LAYER,
  TITLE,
} from './media-types.ts';
import { listProgram, type ProgramFile } from './pack-files.ts';
import type { Pusher } from './port.ts';

export interface PackOptions {
  /** Folder with Pulumi.yaml. */
  dir: string;
  /** For the manifest, such as `org.opencontainers.image.source` and `.revision`. A time would make every push another. */
  annotations?: Readonly<Record<string, string>>;
}

export interface PackedProgram {
  layer: Buffer;
  manifest: Buffer;
  /** Of the manifest: the program's identity. */
  digest: string;
  /** Paths in the layer, in their order. */
  files: string[];
}

export interface PushOptions extends PackOptions {
  repository: Repository;
  tag: string;
}

export interface PushedProgram {
  digest: string;
  /** `tag@sha256:…` */
  revision: string;
  /** Bytes of the layer. */
  size: number;
  files: string[];
  /** The registry had this program already; only the tag was set. */
  existed: boolean;
}

/** Epoch: a time would make every package of the same files another one. */
const EPOCH = new Date(0);
const GZIP_OS_BYTE = 9;
/** "unknown" (RFC 1952), since zlib writes the system it was built on. */
const GZIP_OS_UNKNOWN = 255;
/** What `oras pull` names the file. */
const LAYER_TITLE = 'program.tar.gz';
const MAX_PROJECT_BYTES = 1024 * 1024;

async function assertProject(dir: string): Promise<void> {
  const file = join(dir, 'Pulumi.yaml');
  const info = await stat(file).catch(() => undefined);
  if (info === undefined || !info.isFile()) {
    throw stalled('ProgramInvalid', `${dir} has no Pulumi.yaml; name the folder of a Pulumi program`);
  }
  if (info.size > MAX_PROJECT_BYTES)
    throw stalled('ProgramInvalid', `${file} is larger than ${MAX_PROJECT_BYTES} bytes`);
  const project = parseYaml(await readFile(file, 'utf8'), file);
  const name = field(project, 'name');
  const runtime = field(project, 'runtime');
  if (typeof name !== 'string' || name === '') throw stalled('ProgramInvalid', `${file} has no name`);
  if (typeof runtime !== 'string' && typeof field(runtime, 'name') !== 'string') {
    throw stalled('ProgramInvalid', `${file} names no runtime, such as nodejs or yaml`);
  }
}

function parseYaml(text: string, file: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw stalled('ProgramInvalid', `${file} is not valid YAML: ${why}`, error);
  }
}

async function addFile(archive: Pack, dir: string, file: ProgramFile): Promise<void> {
  const { path: name, type } = file;
  const common = { name, type, uid: 0, gid: 0, mtime: EPOCH, mode: type === 'file' && file.executable ? 0o755 : 0o644 };
  const content = type === 'file' ? await readFile(join(dir, name)) : undefined;
  const header = type === 'symlink' ? { ...common, mode: 0o777, linkname: await readlink(join(dir, name)) } : common;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const done = (error?: Error | null) => (error ? reject(error) : resolve());
  if (content === undefined) archive.entry(header, done);
  else archive.entry({ ...header, size: content.byteLength }, content, done);
  await promise;
}

async function addFiles(archive: Pack, dir: string, files: readonly ProgramFile[]): Promise<void> {
  for (const file of files) await addFile(archive, dir, file);
  archive.finalize();
}

/** The layer: sorted names, no times, owners or stray modes, a gzip header without system or time. */
async function packLayer(dir: string, files: readonly ProgramFile[], signal: AbortSignal): Promise<Buffer> {
  const archive = pack();
  const chunks: Buffer[] = [];
  let size = 0;
  const filling = addFiles(archive, dir, files).catch((error: unknown) => {
    archive.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  });
  const collecting = pipeline(
    archive,
    createGzip({ level: 9 }),
    async (gzipped: AsyncIterable<Buffer>) => {
      for await (const chunk of gzipped) {
        size += chunk.byteLength;
        if (size > DEFAULT_LIMITS.maxCompressedBytes) {
          throw stalled(
            'ArtifactTooLarge',
            `${dir} packs to more than ${DEFAULT_LIMITS.maxCompressedBytes} bytes; see .sourceignore`,
          );
        }
        chunks.push(chunk);
      }
    },
    { signal },
  );
  await Promise.all([filling, collecting]);
  const layer = Buffer.concat(chunks, size);
  layer[GZIP_OS_BYTE] = GZIP_OS_UNKNOWN;
  return layer;
}

/** Holds what is packed to the rules of unpacking, so that no worker refuses later what was pushed. */
async function assertUnpackable(dir: string, files: readonly ProgramFile[]): Promise<void> {
  const table = createEntryTable(DEFAULT_LIMITS);
  for (const file of files) {
    if (file.type === 'symlink') table.addSymlink(file.path, await readlink(join(dir, file.path)));
    else table.addFile(file.path);
  }
  table.links();
}

function manifestOf(layer: Buffer, annotations: Readonly<Record<string, string>>): Buffer {
  const sorted = Object.fromEntries(Object.entries(annotations).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: PROGRAM_ARTIFACT,
    config: {
      mediaType: EMPTY_CONFIG,
      digest: digestOf(EMPTY_CONFIG_BYTES),
      size: EMPTY_CONFIG_BYTES.byteLength,
      data: 'e30=',
    },
    layers: [
      {
        mediaType: PROGRAM_LAYER,
        digest: digestOf(layer),
        size: layer.byteLength,
        annotations: { [TITLE]: LAYER_TITLE },
      },
    ],
    ...(Object.keys(sorted).length > 0 ? { annotations: sorted } : {}),
  };
  return Buffer.from(JSON.stringify(manifest));
}

/**
 * Packs the folder of a program into a layer and its manifest. The same files and annotations give the same digest, on
 * every machine with the same zlib (the bytes of a compression are not specified). Left out: `DEFAULT_IGNORE` and what
 * `.sourceignore` names.
 * @throws ReconcileError stalled ProgramInvalid | UnpackRefused | ArtifactTooLarge
 */
export async function packProgram(options: PackOptions, signal: AbortSignal): Promise<PackedProgram> {
  await assertProject(options.dir);
  const files = await listProgram(options.dir);
  await assertUnpackable(options.dir, files);
  const layer = await packLayer(options.dir, files, signal);
  const manifest = manifestOf(layer, options.annotations ?? {});
  return { layer, manifest, digest: digestOf(manifest), files: files.map((file) => file.path) };
}

/**
 * Packs a program and pushes it under a tag, blobs first, so that whoever sees the tag finds everything.
 * @throws ReconcileError as `packProgram` and the client do
 */
export async function pushProgram(client: Pusher, options: PushOptions, signal: AbortSignal): Promise<PushedProgram> {
  const { repository, tag } = options;
  if (!isTag(tag)) throw stalled('InvalidReference', `${JSON.stringify(tag)} is no valid tag`);
  const { layer, manifest, digest, files } = await packProgram(options, signal);
  const stored = await client.pushBlob(repository, contentOf(layer, PROGRAM_LAYER), signal);
  await client.pushBlob(repository, contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG), signal);
  await client.pushManifest(repository, tag, { bytes: manifest, mediaType: OCI_MANIFEST }, signal);
  return { digest, revision: formatRevision(tag, digest), size: layer.byteLength, files, existed: stored.existed };
}
