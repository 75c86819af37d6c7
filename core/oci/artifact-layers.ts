import { isDigest } from '#core/domain/reference.ts';
import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import type { ContentDescriptor } from './manifest.ts';
import { FLUX_CONTENT, TITLE, UNPACK, UNPACKED_DIGEST } from './media-types.ts';
import type { Descriptor } from './port.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

/** A tar that is unpacked. */
export interface ArchiveLayer {
  type: 'archive';
  descriptor: Descriptor;
  compression: Compression;
  /** Digest of the tar itself, where the artifact states one. */
  unpackedDigest?: string;
  /** Folder that every entry must lie in, where the artifact states one. */
  prefix?: string;
}

/** How a layer becomes part of the program's folder. */
export type ProgramLayer = ArchiveLayer | { type: 'file'; descriptor: Descriptor; path: string };

const HOW_TO = 'push a program with `plumb push`, `flux push artifact` or `oras push`';

/** Why something is no program, as an error that stalls and says how one is pushed. */
export function refuseArtifact(what: string, why: string, or?: 'or'): ReconcileError {
  return stalled('ArtifactInvalid', `${what} ${why}; ${or === undefined ? '' : 'or '}${HOW_TO}`);
}

/** By the structured end of a media type: `…tar`, `…tar+gzip`, `…tar.gzip`, `…tar+zstd`; undefined for anything else. */
export function compressionOf(mediaType: string): Compression | undefined {
  if (/(tar[.+](gzip|gz)|[.+/]tgz)$/.test(mediaType)) return 'gzip';
  if (/tar[.+]zstd?$/.test(mediaType)) return 'zstd';
  return /[./-]tar$/.test(mediaType) ? 'none' : undefined;
}

/** @throws ReconcileError stalled ArtifactInvalid when the stated digest of the tar is none */
export function archiveLayer(layer: ContentDescriptor, compression: Compression, what: string): ArchiveLayer {
  const unpackedDigest = layer.annotations?.[UNPACKED_DIGEST];
  if (unpackedDigest !== undefined && !isDigest(unpackedDigest)) {
    throw refuseArtifact(what, `has a layer whose annotation ${UNPACKED_DIGEST} is no digest`);
  }
  const isFolder = layer.annotations?.[UNPACK] === 'true';
  const prefix = isFolder ? layer.annotations?.[TITLE] : undefined;
  return {
    type: 'archive',
    descriptor: layer,
    compression,
    ...(unpackedDigest === undefined ? {} : { unpackedDigest }),
    ...(prefix === undefined ? {} : { prefix }),
  };
}

/** ORAS packs a folder with gzip, whatever type it is told to say. */
function folderCompression(layer: ContentDescriptor): Compression {
  return compressionOf(layer.mediaType) === 'zstd' ? 'zstd' : 'gzip';
}

/**
 * ORAS gives every plain file the type of a tar unless told otherwise, so a title without the unpack mark is a file,
 * except where its type or name says that it is an archive after all.
 */
export function genericLayer(layer: ContentDescriptor, what: string): ProgramLayer {
  const isFolder = layer.annotations?.[UNPACK] === 'true';
  const compression = isFolder ? folderCompression(layer) : compressionOf(layer.mediaType);
  const title = layer.annotations?.[TITLE];
  const isFile = title !== undefined && !isFolder && (compression === undefined || compression === 'none');
  if (isFile && !(compression === 'none' && title.endsWith('.tar'))) {
    return { type: 'file', descriptor: layer, path: title };
  }
  if (compression === undefined) {
    throw refuseArtifact(what, `holds a layer of type ${layer.mediaType}, which is no archive of files`);
  }
  return archiveLayer(layer, compression, what);
}

/** The one layer of a Flux artifact; a static one without an ending is a plain tar or nothing we can use. */
export function fluxLayer(layers: readonly ContentDescriptor[], what: string): ProgramLayer {
  const [layer, ...more] = layers;
  const ending = layer?.mediaType.startsWith(FLUX_CONTENT) === true ? layer.mediaType.slice(FLUX_CONTENT.length) : '?';
  const compression = ending === '' ? 'none' : compressionOf(ending);
  if (layer === undefined || more.length > 0 || compression === undefined) {
    const found = layers.map((each) => each.mediaType).join(', ') || 'none';
    throw refuseArtifact(what, `must hold one layer of type ${FLUX_CONTENT}.tar+gzip or .tar, it holds: ${found}`);
  }
  return archiveLayer(layer, compression, what);
}
