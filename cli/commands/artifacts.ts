import type { Command } from 'commander';
import { parseReference } from '#core/domain/reference.ts';
import { readManifest } from '#core/oci/content.ts';
import { createContext } from '../context.ts';
import { usage } from '../error.ts';
import { withRegistry, type RegistryFlags } from '../registry-access.ts';
import { diffCommand } from './diff.ts';
import { pullCommand } from './pull.ts';
import { pushCommand, tagOf } from './push.ts';

async function tag(source: string, newTag: string, flags: RegistryFlags, command: Command) {
  const context = createContext(command);
  const { repository, tag: from, digest } = parseReference(source);
  const wanted = digest ?? from;
  if (wanted === undefined) throw usage(`${source} names no tag and no digest`);
  const target = tagOf(parseReference(`oci://${repository.host}/${repository.name}:${newTag}`), newTag);
  const descriptor = await withRegistry(repository, context, flags, async (client, signal) => {
    const resolved = await client.resolve(repository, wanted, signal);
    const manifest = await readManifest(client, repository, resolved, signal);
    return await client.pushManifest(repository, target, manifest, signal);
  });
  context.print({ tag: target, digest: descriptor.digest }, () => `${target} is now ${descriptor.digest}`);
}

/** Commands about programs in a registry: they talk to it, never to the service. */
export function artifactCommands(program: Command): void {
  pushCommand(program);
  pullCommand(program);
  program
    .command('tag <oci://host/name@digest|:tag> <new-tag>')
    .description('let another tag name a program that is in the registry')
    .option('--plain-http', 'reach this registry by plain HTTP')
    .action(tag);
  diffCommand(program);
}
