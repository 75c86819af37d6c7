import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What the launchers run. */
export interface LauncherTargets {
  /** Absolute path of our Node.js. */
  node: string;
  /** Absolute folder of the language host. */
  hostDir: string;
}

const launchers = {
  'pulumi-language-nodejs': 'main.ts',
  'pulumi-resource-pulumi-nodejs': 'dynamic-provider.ts',
};

/**
 * Lays the Node.js language host and the dynamic provider beside the engine: there they count as bundled, and ambient
 * plugins can stay off. A launcher that names another Node.js or checkout is replaced, whole.
 */
export async function layLaunchers(dir: string, { node, hostDir }: LauncherTargets): Promise<void> {
  for (const [name, script] of Object.entries(launchers)) {
    const file = join(dir, name);
    const wanted = `#!/bin/sh\nexec ${quote(node)} ${quote(join(hostDir, script))} "$@"\n`;
    const present = await readFile(file, 'utf8').catch(() => undefined);
    if (present === wanted) continue;
    const draft = `${file}.${randomUUID()}`;
    await writeFile(draft, wanted, { mode: 0o755 });
    await rename(draft, file);
  }
}

/** Quotes for sh: nothing is special within single quotes but the single quote. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
