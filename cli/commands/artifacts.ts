import type { Command } from 'commander';
import { parseReference, type Reference } from '#core/domain/reference.ts';
import { readManifest } from '#core/oci/content.ts';
import { pushProgram } from '#core/oci/pack.ts';
import { createContext } from '../context.ts';
import { usage } from '../error.ts';
import { withRegistry, type RegistryFlags } from '../registry-access.ts';

function tagOf(reference: Reference, text: string): string {
  if (reference.digest !== undefined) throw usage(`${text}: a push makes the digest; name a tag instead`);
  if (reference.tag === undefined) throw usage(`${text} names no tag; write oci://host/name:tag`);
  return reference.tag;
}

async function push(dir: string, target: string, flags: RegistryFlags & { annotation?: string[] }, command: Command) {
  const context = createContext(command);
  const reference = parseReference(target);
  const tag = tagOf(reference, target);
  const pairs = (flags.annotation ?? []).map((text): [string, string] => {
    const at = text.indexOf('=');
    if (at < 1) throw usage(`--annotation takes key=value, not ${JSON.stringify(text)}`);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  const options = { dir, repository: reference.repository, tag, annotations: Object.fromEntries(pairs) };
  const pushed = await withRegistry(reference.repository, context, flags, (client, signal) =>
    pushProgram(client, options, signal),
  );
  context.print(pushed, () => {
    const existed = pushed.existed ? ', which the registry had already' : '';
    return `pushed ${pushed.revision} (${pushed.files.length} files, ${pushed.size} bytes${existed})`;
  });
}

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

/** `plumb push` and `plumb tag`: they talk to the registry, never to the service. */
export function artifactCommands(program: Command): void {
  const plainHttp = ['--plain-http', 'reach this registry by plain HTTP'] as const;
  program
    .command('push <dir> <oci://host/name:tag>')
    .description('pack the folder of a Pulumi program and push it')
    .option(...plainHttp)
    .option('--annotation <key=value...>', 'annotations of the manifest, such as org.opencontainers.image.source')
    .action(push);
  program
    .command('tag <oci://host/name@digest|:tag> <new-tag>')
    .description('let another tag name a program that is in the registry')
    .option(...plainHttp)
    .action(tag);
}
