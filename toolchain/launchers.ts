import { randomUUID } from 'node:crypto';
import { copyFile, link, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PRIVATE_VARIABLES } from '../core/engine/host/private-variables.ts';
import { foreignPrefix } from '../core/engine/host/privilege.ts';
import { FORWARDED_HOSTS } from '../core/engine/versions.ts';

/** What the launchers run. */
export interface LauncherTargets {
  /** Absolute path of our Node.js. */
  node: string;
  /** Absolute folder of the language host. */
  hostDir: string;
}

const host = { name: 'pulumi-language-nodejs', entry: 'main.ts' };
const dynamicProvider = { name: 'pulumi-resource-pulumi-nodejs', entry: 'dynamic-provider.ts' };

/**
 * The dynamic provider runs the program's code in its own process, so what is private must never enter it: a variable deleted
 * by the process itself stays readable in its /proc/self/environ.
 */
function asProgram(command: string[]): string[] {
  const without = [...PRIVATE_VARIABLES].flatMap((name) => ['-u', name]);
  return ['/usr/bin/env', ...without, ...foreignPrefix('program'), ...command];
}

/** How every launcher begins, and no real host does. */
const script = "#!/bin/sh\nexec '";

/** A language host that is not ours; what has a second dash is a part of one (`pulumi-language-python-exec`). */
const foreignHost = /^pulumi-language-(?!nodejs$)[a-z0-9]+$/;

/** Folder of the real hosts. The engine looks for hosts beside itself and nowhere else. */
export function hostsDir(engineDir: string): string {
  return join(engineDir, FORWARDED_HOSTS);
}

/**
 * Lays our language host, the dynamic provider and, before every host that is not ours, the forwarding host beside the
 * engine: there they count as bundled, and ambient plugins can stay off. A launcher that names another Node.js or checkout is
 * replaced, whole; a real host that lies beside the engine moves out of its sight.
 */
export async function layLaunchers(dir: string, { node, hostDir }: LauncherTargets): Promise<void> {
  await lay(join(dir, host.name), [node, join(hostDir, host.entry)]);
  await lay(join(dir, dynamicProvider.name), asProgram([node, join(hostDir, dynamicProvider.entry)]));
  await mkdir(hostsDir(dir), { recursive: true });
  for (const name of await readdir(dir)) if (foreignHost.test(name)) await takeHost(dir, name);
  for (const name of await readdir(hostsDir(dir))) {
    if (foreignHost.test(name))
      await lay(join(dir, name), [node, join(hostDir, 'forward-main.ts'), join(hostsDir(dir), name)]);
  }
}

async function lay(file: string, command: string[]): Promise<void> {
  const wanted = `#!/bin/sh\nexec ${command.map(quote).join(' ')} "$@"\n`;
  if ((await isLauncher(file)) && (await readFile(file, 'utf8')) === wanted) return;
  const draft = `${file}.${randomUUID()}`;
  await writeFile(draft, wanted, { mode: 0o755 });
  await rename(draft, file);
}

/** Another process may lay its launcher at the same moment: what is looked at is what is kept. */
async function takeHost(dir: string, name: string): Promise<void> {
  const draft = join(hostsDir(dir), `.${name}.${randomUUID()}`);
  await link(join(dir, name), draft).catch(() => copyFile(join(dir, name), draft));
  if (!(await isLauncher(draft))) await rename(draft, join(hostsDir(dir), name));
  // A rename between two names of one file does nothing, and leaves both.
  await rm(draft, { force: true });
}

async function isLauncher(file: string): Promise<boolean> {
  const handle = await open(file).catch(() => undefined);
  if (handle === undefined) return false;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(script.length), 0, script.length, 0);
    return buffer.subarray(0, bytesRead).toString() === script;
  } finally {
    await handle.close();
  }
}

/** Quotes for sh: nothing is special within single quotes but the single quote. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
