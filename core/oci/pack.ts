import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import { formatRevision, isTag, type Repository } from '#core/domain/reference.ts';
import { PART_TYPES, type Part } from './artifact-parts.ts';
import { contentOf } from './content.ts';
import { digestOf } from './digest.ts';
import { IGNORE_FILE } from './ignore.ts';
import {
  EMPTY_CONFIG,
  EMPTY_CONFIG_BYTES,
  OCI_MANIFEST,
  PLATFORM,
  PROGRAM_ARTIFACT,
  PROGRAM_LAYER,
  TITLE,
} from './media-types.ts';
import { listPart, listProgram } from './pack-files.ts';
import { packLayer } from './pack-layer.ts';
import { readPackedProject, type PackedProject } from './pack-project.ts';
import type { Content, Descriptor, Pusher } from './port.ts';

/** A folder that becomes a layer beside the program's. */
export interface PartFolder {
  part: Part;
  dir: string;
  /** `os/arch`; undefined: the same everywhere. */
  platform?: string | undefined;
}

export interface PackOptions {
  /** Folder with Pulumi.yaml. */
  dir: string;
  /** For the manifest, such as `org.opencontainers.image.source` and `.revision`. A time would make every push another. */
  annotations?: Readonly<Record<string, string>>;
  parts?: readonly PartFolder[];
}

export interface PackedProgram {
  /** The program's first; they are read from the scratch folder. */
  layers: [Content, ...Content[]];
  manifest: Buffer;
  /** Of the manifest: the program's identity. */
  digest: string;
  /** Paths in the program's layer, in their order. */
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
  /** Bytes of the layers. */
  size: number;
  files: string[];
  layers: Descriptor[];
  /** The registry had this program already; only the tag was set. */
  existed: boolean;
}

/** What `oras pull` names the files. */
const TITLES: Readonly<Record<Part | 'program', string>> = {
  program: 'program.tar.gz',
  dependencies: 'node_modules.tar.gz',
  plugins: 'plugins.tar.gz',
  policy: 'policy.tar.gz',
};
/** A program is small and read often, the rest is neither. */
const LEVEL = { program: 9, part: 6 } as const;

/** Annotations that tell people and tools what the program is (image-spec annotations.md; the runtime is ours). */
function describe({ name, runtime, description }: PackedProject): Record<string, string> {
  return {
    'org.opencontainers.image.title': name,
    'dev.plumbline.runtime': runtime,
    ...(description === undefined ? {} : { 'org.opencontainers.image.description': description }),
  };
}

function manifestOf(layers: readonly Content[], annotations: Readonly<Record<string, string>>): Buffer {
  const sorted = Object.fromEntries(Object.entries(annotations).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  const config = { ...contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG).descriptor, data: 'e30=' };
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: PROGRAM_ARTIFACT,
    config,
    layers: layers.map(({ descriptor }) => descriptor),
    annotations: sorted,
  };
  return Buffer.from(JSON.stringify(manifest));
}

async function packPart({ part, dir, platform }: PartFolder, target: string, signal: AbortSignal): Promise<Content> {
  const annotations = { [TITLE]: TITLES[part], ...(platform === undefined ? {} : { [PLATFORM]: platform }) };
  const files = await listPart(part, dir);
  return await packLayer({ dir, files, mediaType: PART_TYPES[part], annotations, level: LEVEL.part }, target, signal);
}

/**
 * Packs the folder of a program, and of what it needs, into layers and their manifest. The same files and annotations give
 * the same digest, on every machine with the same zlib (the bytes of a compression are not specified).
 * @param scratch a folder of the caller's; the layers stay there for as long as they are needed
 * @throws ReconcileError stalled ProgramInvalid | SpecInvalid | UnpackRefused | ArtifactTooLarge
 */
export async function packProgram(options: PackOptions, scratch: string, signal: AbortSignal): Promise<PackedProgram> {
  const { dir, parts = [] } = options;
  const project = await readPackedProject(dir);
  const files = await listProgram(dir);
  if (!files.some(({ path }) => path === project.file)) {
    throw stalled(
      'ProgramInvalid',
      `${IGNORE_FILE} of ${dir} leaves ${project.file} out; name it there with a leading !`,
    );
  }
  const annotations = { [TITLE]: TITLES.program };
  const program = { dir, files, mediaType: PROGRAM_LAYER, annotations, level: LEVEL.program };
  const target = () => join(scratch, `layer-${randomUUID()}`);
  const layers: [Content, ...Content[]] = [await packLayer(program, target(), signal)];
  for (const part of parts) layers.push(await packPart(part, target(), signal));
  const manifest = manifestOf(layers, { ...describe(project), ...options.annotations });
  return { layers, manifest, digest: digestOf(manifest), files: files.map((file) => file.path) };
}

/**
 * Packs a program and pushes it under a tag, blobs first, so that whoever sees the tag finds everything.
 * @throws ReconcileError as `packProgram` and the client do
 */
export async function pushProgram(client: Pusher, options: PushOptions, signal: AbortSignal): Promise<PushedProgram> {
  const { repository, tag } = options;
  if (!isTag(tag)) throw stalled('InvalidReference', `${JSON.stringify(tag)} is no valid tag`);
  const scratch = await mkdtemp(join(tmpdir(), 'plumb-push-'));
  try {
    const { layers, manifest, digest, files } = await packProgram(options, scratch, signal);
    let existed = true;
    for (const layer of layers) existed = (await client.pushBlob(repository, layer, signal)).existed && existed;
    await client.pushBlob(repository, contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG), signal);
    await client.pushManifest(repository, tag, { bytes: manifest, mediaType: OCI_MANIFEST }, signal);
    const descriptors = layers.map(({ descriptor }) => descriptor);
    const size = descriptors.reduce((sum, descriptor) => sum + descriptor.size, 0);
    return { digest, revision: formatRevision(tag, digest), size, files, layers: descriptors, existed };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
