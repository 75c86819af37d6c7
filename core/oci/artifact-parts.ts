import { stalled } from '#core/domain/errors.ts';
import { archiveLayer, refuseArtifact, type ArchiveLayer } from './artifact-layers.ts';
import type { ContentDescriptor } from './manifest.ts';
import { DEPENDENCIES_LAYER, PLATFORM, PLUGINS_LAYER, POLICY_LAYER, PROGRAM_LAYER } from './media-types.ts';

/** What an artifact of ours may bring beside the program. */
export const PARTS = ['dependencies', 'plugins', 'policy'] as const;
export type Part = (typeof PARTS)[number];

export interface PartLayer {
  part: Part;
  layer: ArchiveLayer;
  /** `os/arch`; undefined: the same everywhere. */
  platform: string | undefined;
}

export const PART_TYPES: Readonly<Record<Part, string>> = {
  dependencies: DEPENDENCIES_LAYER,
  plugins: PLUGINS_LAYER,
  policy: POLICY_LAYER,
};

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** This machine as images name it: `linux/amd64`. */
export function ownPlatform(): string {
  return `${process.platform}/${ARCHITECTURES[process.arch] ?? process.arch}`;
}

function partLayer(layer: ContentDescriptor, what: string): PartLayer {
  const part = PARTS.find((each) => PART_TYPES[each] === layer.mediaType);
  if (part === undefined) throw refuseArtifact(what, `holds a layer of type ${layer.mediaType}, which is none of ours`);
  const platform = layer.annotations?.[PLATFORM];
  if (platform !== undefined && !/^[a-z0-9]+\/[a-z0-9]+$/.test(platform)) {
    throw refuseArtifact(what, `has a ${part} layer whose annotation ${PLATFORM} is not os/arch`);
  }
  return { part, layer: archiveLayer(layer, 'gzip', what), platform };
}

/**
 * The layers of an artifact of our own type: one program, and at most one of each part and platform.
 * @throws ReconcileError stalled ArtifactInvalid
 */
export function ownLayers(
  layers: readonly ContentDescriptor[],
  what: string,
): { program: ArchiveLayer; parts: PartLayer[] } {
  const [program, ...more] = layers.filter((layer) => layer.mediaType === PROGRAM_LAYER);
  if (program === undefined || more.length > 0) {
    const found = layers.map((each) => each.mediaType).join(', ') || 'none';
    throw refuseArtifact(what, `must hold one layer of type ${PROGRAM_LAYER}, it holds: ${found}`);
  }
  const parts = layers.filter((layer) => layer !== program).map((layer) => partLayer(layer, what));
  const seen = new Set<string>();
  for (const { part, platform } of parts) {
    const key = `${part} ${platform ?? 'any'}`;
    if (seen.has(key)) throw refuseArtifact(what, `has two layers of ${part} for ${platform ?? 'every platform'}`);
    seen.add(key);
  }
  return { program: archiveLayer(program, 'gzip', what), parts };
}

/**
 * The layer of each part that this platform uses: its own, else the one for all.
 * @throws ReconcileError stalled PluginUnavailable | DependenciesFailed when a part is there for other platforms only
 */
export function chooseParts(parts: readonly PartLayer[], platform: string, what: string): PartLayer[] {
  return PARTS.flatMap((part) => {
    const offered = parts.filter((each) => each.part === part);
    const chosen =
      offered.find((each) => each.platform === platform) ?? offered.find((each) => each.platform === undefined);
    if (chosen !== undefined || offered.length === 0) return chosen === undefined ? [] : [chosen];
    const others = offered.map((each) => each.platform).join(', ');
    throw stalled(
      part === 'plugins' ? 'PluginUnavailable' : 'DependenciesFailed',
      `${what} brings its ${part} for ${others}, and this worker runs on ${platform}; push it with a layer for ${platform}, or run a worker on another machine`,
    );
  });
}
