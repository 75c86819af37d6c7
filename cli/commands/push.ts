import { readdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { parseReference, type Reference } from '#core/domain/reference.ts';
import { checkInstalled } from '#core/engine/installed-dependencies.ts';
import { ownPlatform } from '#core/oci/artifact-parts.ts';
import { pushProgram, type PartFolder, type PushedProgram } from '#core/oci/pack.ts';
import { createContext } from '../context.ts';
import { usage } from '../error.ts';
import { gitAnnotations } from '../git.ts';
import { withRegistry, type RegistryFlags } from '../registry-access.ts';

interface PushFlags extends RegistryFlags {
  annotation?: string[];
  withDependencies?: boolean;
  withPlugins?: string[];
  withPolicies?: string;
  /** Commander's name for `--no-git`. */
  git: boolean;
}

/** As the engine names the folders of plugins. */
const PLUGIN = /^(resource|analyzer|language|converter|tool)-[a-z0-9-]+-v[0-9]/;
const PLATFORM = /^([a-z0-9]+\/[a-z0-9]+)=(.+)$/;

/** The tag something is to get. @throws CliError usage: none, or a digest */
export function tagOf(reference: Reference, text: string): string {
  if (reference.digest !== undefined) throw usage(`${text}: a push makes the digest; name a tag instead`);
  if (reference.tag === undefined) throw usage(`${text} names no tag; write oci://host/name:tag`);
  return reference.tag;
}

/** What `--annotation` says. @throws CliError usage */
export function annotationsOf(texts: readonly string[]): Record<string, string> {
  const pairs = texts.map((text): [string, string] => {
    const at = text.indexOf('=');
    if (at < 1) throw usage(`--annotation takes key=value, not ${JSON.stringify(text)}`);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  return Object.fromEntries(pairs);
}

/**
 * `linux/arm64=DIR`, or `DIR` for the platform this runs on.
 * @throws CliError usage for a folder that is not laid out as $PULUMI_HOME/plugins: its runs would only stall
 */
async function pluginFolder(text: string): Promise<PartFolder> {
  const [, platform = ownPlatform(), dir = text] = PLATFORM.exec(text) ?? [];
  const names = await readdir(dir).catch(() => {
    throw usage(`--with-plugins: ${dir} is no folder that can be read`);
  });
  if (!names.some((name) => PLUGIN.test(name))) {
    throw usage(`--with-plugins: ${dir} holds no plugin; name a folder with resource-<name>-v<version> in it`);
  }
  return { part: 'plugins', dir, platform };
}

async function partsOf(dir: string, flags: PushFlags): Promise<PartFolder[]> {
  const installed = flags.withDependencies === true ? await checkInstalled(dir) : undefined;
  const platform = installed?.isPlatformBound === true ? ownPlatform() : undefined;
  return [
    ...(installed === undefined ? [] : [{ part: 'dependencies', dir: installed.dir, platform } as const]),
    ...(await Promise.all((flags.withPlugins ?? []).map(pluginFolder))),
    ...(flags.withPolicies === undefined ? [] : [{ part: 'policy', dir: flags.withPolicies } as const]),
  ];
}

function render(pushed: PushedProgram): string {
  const existed = pushed.existed ? ', which the registry had already' : '';
  const layers = pushed.layers.length > 1 ? ` in ${pushed.layers.length} layers` : '';
  return `pushed ${pushed.revision} (${pushed.files.length} files, ${pushed.size} bytes${layers}${existed})`;
}

async function push(folder: string, target: string, flags: PushFlags, command: Command): Promise<void> {
  const context = createContext(command);
  const dir = resolve(folder);
  const reference = parseReference(target);
  const { repository } = reference;
  const tag = tagOf(reference, target);
  const given = annotationsOf(flags.annotation ?? []);
  const annotations = { ...(flags.git ? await gitAnnotations(dir, context.env) : {}), ...given };
  const parts = await partsOf(dir, flags);
  const pushed = await withRegistry(repository, context, flags, (client, signal) =>
    pushProgram(client, { dir, repository, tag, annotations, parts }, signal),
  );
  context.print(pushed, () => render(pushed));
}

/** `plumb push`: it talks to the registry, never to the service. */
export function pushCommand(program: Command): void {
  program
    .command('push <dir> <oci://host/name:tag>')
    .description('pack the folder of a Pulumi program and push it')
    .option('--plain-http', 'reach this registry by plain HTTP')
    .option('--annotation <key=value...>', 'annotations of the manifest, over those from Pulumi.yaml and git')
    .option('--no-git', 'no source and revision annotations from git')
    .option('--with-dependencies', 'bring node_modules along as npm installed it, so that a run downloads no packages')
    .option(
      '--with-plugins <[os/arch=]dir...>',
      'bring provider plugins along: a folder laid out as $PULUMI_HOME/plugins, for this platform or the one named',
    )
    .option('--with-policies <dir>', 'bring policy packs along')
    .addHelpText(
      'after',
      `
The same files and annotations give the same digest. Left out are .git, node_modules, .env, .npmrc, Pulumi.<stack>.yaml
and what .sourceignore names, in the syntax of .gitignore.`,
    )
    .action(push);
}
