import { stalled } from '#core/domain/errors.ts';
import { parseImageIndex, parseImageManifest, type ContentDescriptor, type ImageManifest } from './manifest.ts';
import {
  bareType,
  DOCKER_IMAGE_CONFIG,
  DOCKER_TAR_GZIP,
  FLUX_CONFIG,
  FLUX_LAYER,
  INDEX_TYPES,
  OCI_IMAGE_CONFIG,
  OCI_TAR,
  OCI_TAR_GZIP,
  OCI_TAR_ZSTD,
  PROGRAM_ARTIFACT,
  PROGRAM_LAYER,
  TITLE,
} from './media-types.ts';
import type { Descriptor } from './port.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

/** How a layer becomes part of the program's folder. */
export type ProgramLayer =
  | { type: 'archive'; descriptor: Descriptor; compression: Compression; unpackedDigest?: string }
  | { type: 'file'; descriptor: Descriptor; path: string };

/** What a manifest turned out to be. */
export type Artifact =
  | {
      type: 'program';
      format: 'plumbline' | 'flux' | 'generic';
      layers: ProgramLayer[];
      annotations: Record<string, string>;
    }
  /** An index that points to the one manifest to look at instead. */
  | { type: 'index'; descriptor: Descriptor; annotations: Record<string, string> };

const COMPRESSIONS: Readonly<Record<string, Compression>> = {
  [OCI_TAR]: 'none',
  [OCI_TAR_GZIP]: 'gzip',
  [OCI_TAR_ZSTD]: 'zstd',
  [DOCKER_TAR_GZIP]: 'gzip',
  [FLUX_LAYER]: 'gzip',
  [PROGRAM_LAYER]: 'gzip',
};

/** Things that people push by mistake, by a part of their artifact or config type. */
const KNOWN_OTHERS: ReadonlyArray<[RegExp, string]> = [
  [/helm/, 'a Helm chart'],
  [/cosign|sigstore|dsse/, 'a signature or attestation'],
  [/notary/, 'a Notation signature'],
  [/in-toto/, 'an attestation'],
  [/spdx|cyclonedx|sbom/, 'a bill of materials'],
  [/wasm/, 'a WebAssembly module'],
  [/docker\.plugin/, 'a Docker plugin'],
];

/** ORAS annotations (oras-go content/file): whether a layer is a folder, and the digest of its tar. */
const UNPACK = 'io.deis.oras.content.unpack';
const UNPACKED_DIGEST = 'io.deis.oras.content.digest';

const HOW_TO = 'push a program with `plumb push`, `flux push artifact` or `oras push`';

function refuse(what: string, why: string) {
  return stalled('ArtifactInvalid', `${what} ${why}; ${HOW_TO}`);
}

function knownOther(types: Array<string | undefined>): string | undefined {
  return KNOWN_OTHERS.find(([pattern]) => types.some((type) => type !== undefined && pattern.test(type)))?.[1];
}

function archive(layer: ContentDescriptor, compression: Compression): ProgramLayer {
  const unpackedDigest = layer.annotations?.[UNPACKED_DIGEST];
  return {
    type: 'archive',
    descriptor: layer,
    compression,
    ...(unpackedDigest === undefined ? {} : { unpackedDigest }),
  };
}

/**
 * ORAS gives every plain file the type of a tar unless told otherwise, so a title without the unpack mark is a file,
 * except where its type or name says that it is an archive after all.
 */
function genericLayer(layer: ContentDescriptor, what: string): ProgramLayer {
  const compression = COMPRESSIONS[layer.mediaType];
  const title = layer.annotations?.[TITLE];
  const isFolder = layer.annotations?.[UNPACK] === 'true';
  const isFile = title !== undefined && !isFolder && (compression === undefined || compression === 'none');
  if (isFile && !(compression === 'none' && title.endsWith('.tar'))) {
    return { type: 'file', descriptor: layer, path: title };
  }
  if (compression === undefined)
    throw refuse(what, `holds a layer of type ${layer.mediaType}, which is no archive of files`);
  return archive(layer, compression);
}

/** The one layer of a format that has exactly one. */
function onlyLayer(manifest: ImageManifest, mediaType: string, what: string): ProgramLayer {
  const [layer, ...more] = manifest.layers;
  if (layer === undefined || more.length > 0 || layer.mediaType !== mediaType) {
    const found = manifest.layers.map((each) => each.mediaType).join(', ') || 'none';
    throw refuse(what, `must hold one layer of type ${mediaType}, it holds: ${found}`);
  }
  return archive(layer, COMPRESSIONS[mediaType] ?? 'none');
}

function programOf(
  manifest: ImageManifest,
  what: string,
): { format: 'plumbline' | 'flux' | 'generic'; layers: ProgramLayer[] } {
  const configType = bareType(manifest.config.mediaType);
  const type = manifest.artifactType ?? configType;
  const other = knownOther([manifest.artifactType, configType, ...manifest.layers.map((layer) => layer.mediaType)]);
  if (other !== undefined) throw refuse(what, `is ${other}, not a Pulumi program`);
  if (manifest.layers.some((layer) => layer.urls !== undefined && layer.urls.length > 0)) {
    throw refuse(what, 'has a layer that lives elsewhere (urls), which is never fetched');
  }
  if (type === PROGRAM_ARTIFACT) return { format: 'plumbline', layers: [onlyLayer(manifest, PROGRAM_LAYER, what)] };
  if (configType === FLUX_CONFIG) return { format: 'flux', layers: [onlyLayer(manifest, FLUX_LAYER, what)] };
  const isImage = configType === OCI_IMAGE_CONFIG || configType === DOCKER_IMAGE_CONFIG;
  if (isImage && manifest.layers.length !== 1) {
    throw refuse(what, `is a container image of ${manifest.layers.length} layers, not a Pulumi program`);
  }
  if (manifest.layers.length === 0) throw refuse(what, 'has no layers');
  return { format: 'generic', layers: manifest.layers.map((layer) => genericLayer(layer, what)) };
}

/** BuildKit adds attestations to an index as manifests for no platform (attestation-storage.md). */
function isAttestation(entry: ContentDescriptor): boolean {
  return entry.annotations?.['vnd.docker.reference.type'] !== undefined || entry.platform?.os === 'unknown';
}

/**
 * Decides what a manifest holds and which layers make the program; pure, nothing is fetched. `what` names the artifact.
 * @throws ReconcileError stalled ArtifactInvalid, naming what was pushed instead of a program
 */
export function readArtifact(manifest: { bytes: Buffer; mediaType: string }, what: string): Artifact {
  if (!INDEX_TYPES.has(manifest.mediaType)) {
    const parsed = parseImageManifest(manifest.bytes, what);
    return { type: 'program', ...programOf(parsed, what), annotations: parsed.annotations ?? {} };
  }
  const index = parseImageIndex(manifest.bytes, what);
  const candidates = index.manifests.filter((entry) => !isAttestation(entry));
  const [only, ...more] = candidates;
  if (only === undefined || more.length > 0) {
    throw refuse(what, `is an index of ${candidates.length} manifests and a program is exactly one`);
  }
  return { type: 'index', descriptor: only, annotations: index.annotations ?? {} };
}
