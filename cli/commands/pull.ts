import { chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { formatRevision, parseReference } from '#core/domain/reference.ts';
import type { Selection } from '#core/oci/artifact.ts';
import { pullProgram, type PulledProgram } from '#core/oci/pull.ts';
import { TREE } from '#core/oci/unpack-artifact.ts';
import { createContext, type Context } from '../context.ts';
import { usage } from '../error.ts';
import { printable } from '../printable.ts';
import { withRegistry, type RegistryFlags } from '../registry-access.ts';

/** What of an artifact is meant, as `spec.source` of a Stack has it. */
export interface SelectionFlags {
  imagePath?: string;
  layer?: string;
}

/** The options for `SelectionFlags`. */
export function selectionOptions(command: Command): Command {
  return command
    .option('--image-path <folder>', 'folder of a container image that holds the program')
    .option('--layer <media-type>', 'only the first layer of this type');
}

export function selectionOf({ imagePath, layer }: SelectionFlags): Selection {
  return {
    ...(imagePath === undefined ? {} : { imagePath }),
    ...(layer === undefined ? {} : { layerSelector: { mediaType: layer } }),
  };
}

/** Unpacks what `text` names into `tree` of `scratch`. @throws CliError usage when it names no tag and no digest */
export async function pullReference(
  text: string,
  scratch: string,
  context: Context,
  flags: RegistryFlags & SelectionFlags,
): Promise<PulledProgram & { revision: string }> {
  const { repository, tag, digest } = parseReference(text);
  const reference = digest ?? tag;
  if (reference === undefined) throw usage(`${text} names no tag and no digest`);
  const pulled = await withRegistry(repository, context, flags, (client, signal) =>
    pullProgram({ client, repository, reference, selection: selectionOf(flags), signal }, scratch),
  );
  return { ...pulled, revision: formatRevision(tag, pulled.digest) };
}

/** @throws CliError usage for what is there and is no empty folder */
async function assertFree(target: string): Promise<void> {
  const found = await readdir(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    if (error.code === 'ENOTDIR') throw usage(`${target} is a file; name a new folder`);
    throw error;
  });
  if (found !== undefined && found.length > 0) throw usage(`${target} is not empty; name a new folder`);
}

function render(target: string, { revision, artifact, parts }: PulledProgram & { revision: string }): string {
  const { annotations } = artifact;
  const from = [annotations['org.opencontainers.image.source'], annotations['org.opencontainers.image.revision']];
  const known = from.filter((text) => text !== undefined).join(' at ');
  const lines = [`pulled ${revision} into ${target}`];
  if (known !== '') lines.push(`made from ${printable(known)}`);
  if (parts.length > 0) lines.push(`not unpacked: layers of ${parts.map(({ part }) => part).join(', ')}`);
  return lines.join('\n');
}

async function pull(
  reference: string,
  dir: string,
  flags: RegistryFlags & SelectionFlags,
  command: Command,
): Promise<void> {
  const context = createContext(command);
  const target = resolve(dir);
  await assertFree(target);
  await mkdir(dirname(target), { recursive: true });
  // Beside the target, so that it can be renamed into place whole.
  const scratch = await mkdtemp(join(dirname(target), '.plumb-pull-'));
  try {
    const pulled = await pullReference(reference, scratch, context, flags);
    const tree = join(scratch, TREE);
    await chmod(tree, 0o777 & ~process.umask());
    await rename(tree, target);
    const { revision, digest, artifact } = pulled;
    const parts = pulled.parts.map(({ part, platform, layer }) => ({
      part,
      platform,
      digest: layer.descriptor.digest,
    }));
    const said = { revision, digest, dir: target, format: artifact.format, annotations: artifact.annotations, parts };
    context.print(said, () => render(target, pulled));
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** `plumb pull`: a program out of the registry, to look at. */
export function pullCommand(program: Command): void {
  selectionOptions(
    program
      .command('pull <oci://host/name:tag|@digest> <dir>')
      .description('unpack a program from a registry into a new folder')
      .option('--plain-http', 'reach this registry by plain HTTP'),
  ).action(pull);
}
