import { stalled } from '#core/domain/errors.ts';
import { archiveLayer, compressionOf, fluxLayer, genericLayer, refuseArtifact } from './artifact-layers.ts';
import type { ProgramLayer } from './artifact-layers.ts';
import { ownLayers, type PartLayer } from './artifact-parts.ts';
import { parseImageIndex, parseImageManifest, type ContentDescriptor, type ImageManifest } from './manifest.ts';
import {
  bareType,
  DOCKER_IMAGE_CONFIG,
  EMPTY_CONFIG,
  FLUX_CONFIG,
  INDEX_TYPES,
  OCI_IMAGE_CONFIG,
  PROGRAM_ARTIFACT,
} from './media-types.ts';

/** What of an artifact is used: the parts of a stack's source that change the tree. */
export interface Selection {
  /** Only the first layer of exactly this type. */
  layerSelector?: { mediaType: string };
  /** Folder of a container image. */
  imagePath?: string;
  /** gitignore lines. */
  ignore?: string;
}

/** A manifest that holds a program. */
export interface ProgramArtifact {
  type: 'program';
  format: 'plumbline' | 'flux' | 'generic' | 'image';
  /** `image`: applied one over the other, deletions among them, and only `imagePath` is kept. */
  layers: ProgramLayer[];
  parts: PartLayer[];
  annotations: Record<string, string>;
}

/** What a manifest turned out to be. */
export type Artifact =
  | ProgramArtifact
  /** An index that points to the one manifest to look at instead. */
  | { type: 'index'; descriptor: ContentDescriptor; annotations: Record<string, string> };

/** Things that people push by mistake, by a part of their artifact, config or layer type. */
const KNOWN_OTHERS: ReadonlyArray<[RegExp, string]> = [
  [/helm/, 'a Helm chart'],
  [/cosign|sigstore|dsse/, 'a signature or attestation'],
  [/notary/, 'a Notation signature'],
  [/in-toto/, 'an attestation'],
  [/spdx|cyclonedx|sbom|syft/, 'a bill of materials'],
  [/wasm/, 'a WebAssembly module'],
  [/docker\.plugin/, 'a Docker plugin'],
  [/openpolicyagent/, 'a bundle of the Open Policy Agent'],
  [/cnab/, 'a CNAB bundle'],
  [/devcontainer/, 'a development container'],
  [/\.model|ollama|modelpack/, 'a machine-learning model'],
  [/opentofu|terraform/, 'an OpenTofu or Terraform package'],
  [/nondistributable|rootfs\.foreign/, 'an image with layers that may not be distributed'],
];

const MAX_LISTED = 10;

function knownOther(types: Array<string | undefined>): string | undefined {
  return KNOWN_OTHERS.find(([pattern]) => types.some((type) => type !== undefined && pattern.test(type)))?.[1];
}

/** The layers the rest looks at: all, or the one that was asked for. */
function selected(manifest: ImageManifest, selection: Selection, what: string): ContentDescriptor[] {
  const wanted = selection.layerSelector?.mediaType;
  if (wanted === undefined) return manifest.layers;
  const layer = manifest.layers.find((each) => each.mediaType === wanted);
  if (layer !== undefined) return [layer];
  const found = manifest.layers.map((each) => each.mediaType).join(', ') || 'none';
  throw stalled(
    'ArtifactInvalid',
    `${what} has no layer of type ${wanted}, which spec.source.layerSelector asks for, it has: ${found}; correct the selector or push that layer`,
  );
}

type Contents = Omit<ProgramArtifact, 'type' | 'annotations'>;

/** A layer a person named by its type needs no type we know. */
function selectedLayer(layer: ContentDescriptor, what: string): ProgramLayer {
  const isKnown = compressionOf(layer.mediaType) !== undefined || layer.annotations !== undefined;
  return isKnown ? genericLayer(layer, what) : archiveLayer(layer, 'none', what);
}

function imageContents(layers: readonly ContentDescriptor[], selection: Selection, what: string): Contents {
  if (selection.imagePath === undefined && selection.layerSelector === undefined) {
    throw refuseArtifact(
      what,
      `is a container image of ${layers.length} layers; name the folder of the image that holds the program in spec.source.imagePath, such as /program`,
      'or',
    );
  }
  const archives = layers.map((layer) => archiveLayer(layer, compressionOf(layer.mediaType) ?? 'none', what));
  return { format: selection.imagePath === undefined ? 'generic' : 'image', layers: archives, parts: [] };
}

function otherContents(manifest: ImageManifest, layers: ContentDescriptor[], selection: Selection, what: string) {
  if (selection.layerSelector !== undefined) return layers.map((layer) => selectedLayer(layer, what));
  if (bareType(manifest.config.mediaType) === FLUX_CONFIG) return [fluxLayer(layers, what)];
  return layers.map((layer) => genericLayer(layer, what));
}

function contentsOf(manifest: ImageManifest, selection: Selection, what: string): Contents {
  const configType = bareType(manifest.config.mediaType) ?? '';
  const other = knownOther([manifest.artifactType, configType, ...manifest.layers.map((layer) => layer.mediaType)]);
  if (other !== undefined) throw refuseArtifact(what, `is ${other}, not a Pulumi program`);
  if (manifest.layers.some((layer) => layer.urls !== undefined && layer.urls.length > 0)) {
    throw refuseArtifact(what, 'has a layer that lives elsewhere (urls), which is never fetched');
  }
  const layers = selected(manifest, selection, what).filter((layer) => layer.mediaType !== EMPTY_CONFIG);
  const type = manifest.artifactType ?? configType;
  if (type === OCI_IMAGE_CONFIG || type === DOCKER_IMAGE_CONFIG) return imageContents(layers, selection, what);
  if (selection.imagePath !== undefined) {
    throw stalled(
      'ArtifactInvalid',
      `spec.source.imagePath is for container images and ${what} is of type ${type}; remove it, or name a folder in spec.source.path`,
    );
  }
  if (type === PROGRAM_ARTIFACT && selection.layerSelector === undefined) {
    const { program, parts } = ownLayers(layers, what);
    return { format: 'plumbline', layers: [program], parts };
  }
  if (layers.length === 0) throw refuseArtifact(what, 'has no layers');
  const format = configType === FLUX_CONFIG ? 'flux' : 'generic';
  return { format, layers: otherContents(manifest, layers, selection, what), parts: [] };
}

/** BuildKit adds attestations to an index as manifests for no platform (attestation-storage.md). */
function isAttestation(entry: ContentDescriptor): boolean {
  return entry.annotations?.['vnd.docker.reference.type'] !== undefined || entry.platform?.os === 'unknown';
}

function sayCandidate({ digest, platform, artifactType, mediaType }: ContentDescriptor): string {
  const { os = '', architecture = '' } = platform ?? {};
  return `${digest} (${os === '' ? (artifactType ?? mediaType) : `${os}/${architecture}`})`;
}

/**
 * The one manifest an index stands for, attestations passed over; undefined for a manifest that is no index.
 * @throws ReconcileError stalled ArtifactInvalid, listing the candidates
 */
export function onlyCandidate(
  manifest: { bytes: Buffer; mediaType: string },
  what: string,
): Extract<Artifact, { type: 'index' }> | undefined {
  if (!INDEX_TYPES.has(manifest.mediaType)) return undefined;
  const index = parseImageIndex(manifest.bytes, what);
  const candidates = index.manifests.filter((entry) => !isAttestation(entry));
  const [only, ...more] = candidates;
  if (only === undefined || more.length > 0) {
    const listed = candidates.slice(0, MAX_LISTED).map(sayCandidate).join(', ');
    const choice = listed === '' ? '' : `; name one of these in spec.source.ref.digest: ${listed}`;
    throw refuseArtifact(
      what,
      `is an index of ${candidates.length} manifests and a program is exactly one${choice}`,
      choice === '' ? undefined : 'or',
    );
  }
  return { type: 'index', descriptor: only, annotations: index.annotations ?? {} };
}

/**
 * Decides what a manifest holds and which layers make the program; pure, nothing is fetched. `what` names the artifact.
 * @throws ReconcileError stalled ArtifactInvalid, naming what was pushed instead of a program
 */
export function readArtifact(
  manifest: { bytes: Buffer; mediaType: string },
  what: string,
  selection: Selection = {},
): Artifact {
  const index = onlyCandidate(manifest, what);
  if (index !== undefined) return index;
  const parsed = parseImageManifest(manifest.bytes, what);
  return { type: 'program', ...contentsOf(parsed, selection, what), annotations: parsed.annotations ?? {} };
}
