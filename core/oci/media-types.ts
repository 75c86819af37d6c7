/** Media types, with the specification each comes from (image-spec v1.1.1 media-types.md unless said otherwise). */
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
/** Of image-spec v1.1.0-rc1 to rc3; never written, but old referrers are. */
export const OCI_ARTIFACT_MANIFEST = 'application/vnd.oci.artifact.manifest.v1+json';

export const MANIFEST_TYPES: ReadonlySet<string> = new Set([
  OCI_MANIFEST,
  OCI_INDEX,
  DOCKER_MANIFEST,
  DOCKER_LIST,
  OCI_ARTIFACT_MANIFEST,
]);
export const INDEX_TYPES: ReadonlySet<string> = new Set([OCI_INDEX, DOCKER_LIST]);

/** The empty descriptor of manifest.md ("Guidance for an Empty Descriptor"): `{}`. */
export const EMPTY_CONFIG = 'application/vnd.oci.empty.v1+json';
export const EMPTY_CONFIG_BYTES: Uint8Array = Buffer.from('{}');

/** Ours: a Pulumi program, as `plumb push` writes it. */
export const PROGRAM_ARTIFACT = 'application/vnd.plumbline.program.v1';
export const PROGRAM_LAYER = 'application/vnd.plumbline.program.layer.v1.tar+gzip';
/** Ours: what a program needs beside its own files, so that running it downloads nothing. */
export const DEPENDENCIES_LAYER = 'application/vnd.plumbline.dependencies.layer.v1.tar+gzip';
export const PLUGINS_LAYER = 'application/vnd.plumbline.plugins.layer.v1.tar+gzip';
export const POLICY_LAYER = 'application/vnd.plumbline.policy.layer.v1.tar+gzip';
/** Annotation of such a layer, `os/arch` in the words of Go; absent: it is the same on every platform. */
export const PLATFORM = 'dev.plumbline.platform';

/** `flux push artifact` (fluxcd/pkg oci); its static layers are the bare type, or that and the ending of a file. */
export const FLUX_CONFIG = 'application/vnd.cncf.flux.config.v1+json';
export const FLUX_CONTENT = 'application/vnd.cncf.flux.content.v1';
export const FLUX_LAYER = `${FLUX_CONTENT}.tar+gzip`;

export const OCI_IMAGE_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const DOCKER_IMAGE_CONFIG = 'application/vnd.docker.container.image.v1+json';
export const OCI_TAR = 'application/vnd.oci.image.layer.v1.tar';
export const OCI_TAR_GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
export const OCI_TAR_ZSTD = 'application/vnd.oci.image.layer.v1.tar+zstd';
export const DOCKER_TAR_GZIP = 'application/vnd.docker.image.rootfs.diff.tar.gzip';

/**
 * ORAS annotations (oras-go content/file): whether a layer is a folder, whose entries then begin with its title, and the
 * digest of its tar.
 */
export const UNPACK = 'io.deis.oras.content.unpack';
export const UNPACKED_DIGEST = 'io.deis.oras.content.digest';

/** Annotation of a layer: the path of the file or folder it holds (image-spec annotations.md). */
export const TITLE = 'org.opencontainers.image.title';

/** The media type without parameters, lower-case; undefined for an absent header. */
export function bareType(contentType: string | undefined): string | undefined {
  return contentType?.split(';')[0]?.trim().toLowerCase();
}
